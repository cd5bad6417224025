"""A registered table in plain LanceDB, with and without this package."""

from __future__ import annotations

import json
import subprocess
import sys

import lancedb
import numpy as np
import pytest

from pipeline.embedding.calibration import Calibration
from pipeline.embedding.encoder import Encoder
from pipeline.errors import UsageError
from pipeline.table import VectorTable
from pipeline.table.fragments.compaction import join_some
from pipeline.table.lancedb_registry import is_registered, register_table, unregister_table

TEXTS = ["rockets reach the orbit", "the engine of a car", "a church and a prayer"]


@pytest.fixture
def table(uri):
    encoder = Encoder("mini")
    random = np.random.default_rng(0)
    calibration = Calibration.fit(*(random.standard_normal((9, size)) for size in encoder.halves))
    made = VectorTable.create(
        uri, spec=encoder.spec, meaning=encoder.meaning, calibration=calibration, halves=encoder.halves
    )
    made.add(list("abc"), made.encoder.encode(TEXTS), texts=TEXTS)
    register_table(made)
    return made


def opened(table):
    return lancedb.connect(table.location.directory).open_table(table.name)


def test_lancedb_searches_by_words_after_commits_joins_and_indexing(table):
    assert is_registered(table)
    table.add(["d"], table.encoder.encode(["wheels of a car"]), texts=["wheels of a car"])
    join_some(table.location, table.dataset())
    table.index(min_bytes=0)
    metadata = json.loads(table.dataset().schema.metadata[b"embedding_functions"])
    assert metadata == [{"name": "moee", "model": {"table": str(table.location)}, "source_column": "text",
                         "vector_column": "vector"}]  # fmt: skip
    hits = opened(table).search("car engine").distance_type("cosine").limit(2).to_arrow()
    assert hits.column("id").to_pylist() == table.search("car engine", k=2).column("id").to_pylist()
    unregister_table(table)
    assert not is_registered(table)
    assert b"embedding_functions" not in table.dataset().schema.metadata
    assert table.fingerprint == VectorTable.open(table.location).fingerprint


def test_without_this_package_all_but_words_and_additions_works(table):
    code = (
        "import sys, lancedb; table = lancedb.connect(sys.argv[1]).open_table(sys.argv[2])\n"
        "print(table.search([0.0] * int(sys.argv[3])).limit(1).to_arrow().num_rows)\n"
        "try: table.search('words')\nexcept KeyError as error: print(error)"
    )
    arguments = [table.location.directory, table.name, str(table.dim)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n'moee'\n"


def test_tables_that_cannot_be_registered(table_lab, uri):
    elsewhere = VectorTable.create(f"{uri}2", spec=table_lab.spec(), dim=8)
    with pytest.raises(UsageError, match="made elsewhere"):
        register_table(elsewhere)
    textless = VectorTable.create(f"{uri}3", spec=table_lab.spec(), dim=8, with_text=False)
    with pytest.raises(UsageError, match="stores no texts"):
        register_table(textless)
