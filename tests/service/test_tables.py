"""What a service keeps of its tables: replicas go with the last table of their meaning, caches are bounded."""

from __future__ import annotations

import asyncio
import gc
import shutil
import threading
import weakref

import numpy as np
import psutil
import pytest

from pipeline.models import reference_texts
from pipeline.service import tables as module
from pipeline.service.settings import ServiceSettings
from pipeline.service.tables import ServedTables
from pipeline.table import VectorTable
from pipeline.table.query.question import Question


def opened(*uris, **limits):
    return ServedTables(ServiceSettings(tables=uris, limits=limits), lambda _: None)


def searched(tables, *questions):
    async def search():
        return await tables.get(None).search([Question.of(**each) for each in questions], asyncio.to_thread)

    hits, together = asyncio.run(search())
    return [each.column("id").to_pylist() for each in hits], together


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "lake" / "t")


def remove(uri):
    for companion in ("", ".calibration", ".files", ".slices", ".rejects", ".deleted", ".runs"):
        shutil.rmtree(f"{uri}{companion}.lance", ignore_errors=True)


def test_a_replica_goes_with_the_last_table_of_its_meaning(make_table, encoder, uri):
    make_table(uri)
    tables = opened(uri)
    tables.warm_up()
    found, together = searched(tables, {"query": "rocket", "k": 3}, {"query": "oven", "k": 2})
    assert (len(found), together) == (2, 2)
    loaded = weakref.ref(tables.get(None).table.encoder)
    assert loaded() is not None
    assert any(thread.name.startswith("replica") for thread in threading.enumerate())
    remove(uri)
    VectorTable.create(uri, spec=encoder.spec, dim=4).add(["x"], np.ones((1, 4)))
    assert searched(tables, {"query": np.ones(4)}) == ([["x"]], 0)
    gc.collect()
    assert loaded() is None


def test_a_table_made_anew_with_the_same_meaning_is_another(make_table, uri):
    make_table(uri).index(min_bytes=1)
    tables = opened(uri)
    before = tables.get(None)
    assert len(searched(tables, {"query": "rocket", "mode": "text", "k": 30})[0][0]) == 10
    remove(uri)
    make_table(uri, ["a rocket of another table"])
    VectorTable.open(uri).index(min_bytes=1)
    assert tables.get(None).table.fingerprint == before.table.fingerprint
    for mode in ("text", "vector"):
        assert searched(tables, {"query": "rocket", "mode": mode})[0] == [["d/0"]]


@pytest.mark.slow
def test_files_of_indexes_that_are_no_more_are_not_kept_open(encoder, tmp_path, monkeypatch):
    texts = [f"{text} oven" for text in reference_texts()[:300]]

    def files_after_many_versions(versions):
        monkeypatch.setattr(module, "_VERSIONS", versions)
        uri = str(tmp_path / f"lake{versions}" / "t")
        VectorTable.create(uri, spec=encoder.spec, dim=4)
        tables = opened(uri)
        for turn in range(12):
            table = VectorTable.open(uri)  # another one each time: its files go with it
            table.add([f"{turn}/{number}" for number in range(300)], np.ones((300, 4)), texts=texts)
            table.index()
            assert searched(tables, {"query": "oven", "mode": "text", "k": 10})[0][0]
        del table
        gc.collect()
        return sum(uri in file.path for file in psutil.Process().open_files())

    few, many = files_after_many_versions(3), files_after_many_versions(10**9)
    assert few < many / 2, (few, many)


def test_what_is_kept_of_indexes_is_bounded(encoder, uri):
    rng = np.random.default_rng(0)
    table = VectorTable.create(uri, spec=encoder.spec, dim=128)
    table.add([str(number) for number in range(30_000)], rng.normal(size=(30_000, 128)).astype(np.float32))
    table.index(min_bytes=1)

    def kept(**limits):
        tables = opened(uri, **limits)
        searched(tables, *({"query": rng.normal(size=128)} for _ in range(20)))
        return tables.get(None).table._session.size_bytes()

    assert kept() > 2 << 20
    assert kept(cached_bytes=1 << 20) < 2 << 20
