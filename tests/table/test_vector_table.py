from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pytest

from pipeline.embedding.calibration import Calibration
from pipeline.errors import FingerprintError, TableError, TableNotFoundError, UsageError
from pipeline.spec import EmbeddingSpec
from pipeline.table import Committer, TableLocation, VectorTable, stage
from pipeline.table.companions.deleted import read_deleted
from pipeline.table.companions.runs import finish_run, new_run, start_run
from pipeline.table.creation import store_calibration


def a_calibration(seed, sizes=(5, 3)):
    random = np.random.default_rng(seed)
    return Calibration.fit(*(random.standard_normal((10, size)) for size in sizes))


@pytest.fixture
def table(table_lab, uri):
    made = table_lab.create(uri)
    made.add(["a", "b", "c"], table_lab.vectors(3), texts=["one", "two", "three"])
    return made


def test_plain_lancedb_opens_it_without_this_package(table):
    code = (
        "import lancedb, sys;"
        "t = lancedb.connect(sys.argv[1]).open_table(sys.argv[2]);"
        "print(t.count_rows(), t.schema.field('vector').type, 'pipeline' in sys.modules)"
    )
    command = [sys.executable, "-c", code, table.location.directory, table.name]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert shown.stdout.split() == ["3", "fixed_size_list<item:", "halffloat>[8]", "False"]


def test_searches_share_what_was_read_of_the_indexes(table):
    assert table.dataset().session().is_same_as(table.dataset().session())
    assert not table.dataset().session().is_same_as(VectorTable.open(table.location).dataset().session())


def test_a_table_that_was_made_anew_at_its_place_shows_its_new_rows(table, table_lab, uri):
    table.index()
    shutil.rmtree(f"{uri}.lance")
    table_lab.create(uri).add(["x"], table_lab.vectors(1), texts=["new"])
    assert table.search(table_lab.vectors(1)[0], 5).column("id").to_pylist() == ["x"]


def test_what_is_stored_with_the_table(table_lab, uri):
    calibration = a_calibration(1)
    table = table_lab.create(
        uri, calibration=calibration, keep=pa.schema([pa.field("lang", pa.string(), nullable=False)])
    )
    again = VectorTable.open(uri)
    assert again.spec == table.spec == table_lab.spec()
    assert again.meaning == table_lab.MEANING
    assert again.fingerprint == table.fingerprint
    assert again.calibration.hash == calibration.hash
    assert again.calibration.hidden_mean == pytest.approx(calibration.hidden_mean)
    assert (again.halves, again.dim, again.reader, again.count_rows()) == ((5, 3), 8, {"slice_rows": 8}, 0)
    assert again.schema.field("lang").nullable
    assert {key.decode() for key in again.schema.metadata} == {
        f"moee.{key}" for key in ("spec", "meaning", "calibration", "fingerprint", "layout", "reader", "halves")
    }


def test_metadata_survives_commits(table):
    assert VectorTable.open(table.location).fingerprint == table.fingerprint
    assert table.versions[-1]["version"] >= 2


def test_first_to_create_wins(table_lab, uri):
    def create(seed):
        return table_lab.create(uri, calibration=a_calibration(seed))

    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(create, range(4)))
    assert len({table.fingerprint for table in tables}) == 1
    winner = tables[0].calibration.hash
    assert winner in {a_calibration(seed).hash for seed in range(4)}
    assert {table.calibration.hash for table in tables} == {winner}


def test_calibration_left_by_a_creator_that_died(table_lab, uri):
    store_calibration(TableLocation.parse(uri), a_calibration(1, (7, 2)))
    assert table_lab.create(uri, calibration=a_calibration(2)).calibration.hash == a_calibration(2).hash


def test_check_names_the_fields(table, table_lab):
    table.check(table_lab.MEANING)
    with pytest.raises(FingerprintError, match="tokenizer: the files of the model are not those"):
        table.check({**table_lab.MEANING, "tokenizer": "other"})
    with pytest.raises(FingerprintError, match="calibration"):
        table.check(table_lab.MEANING, "abc")


def test_missing_table_names_those_there(table, tmp_path):
    with pytest.raises(TableNotFoundError, match=r"has lab$"):
        VectorTable.open(f"{table.location.directory}/docs")
    with pytest.raises(TableNotFoundError, match="has no tables"):
        VectorTable.open(str(tmp_path / "none" / "docs"))
    assert not (tmp_path / "none").exists()


def test_tables_of_others(table, tmp_path):
    lance.write_dataset(pa.table({"a": [1]}), str(tmp_path / "other.lance"))
    with pytest.raises(TableError, match=r"not made by this package"):
        VectorTable.open(str(tmp_path / "other"))
    lance.dataset(table.location.uri).update_schema_metadata({"moee.layout": "1"})
    with pytest.raises(TableError, match="layout 1"):
        VectorTable.open(table.location)


def test_place_that_cannot_be_written(table_lab, tmp_path):
    (tmp_path / "file").write_text("")
    for uri in [f"{tmp_path}/file/docs", "nosuch://bucket/docs"]:
        with pytest.raises(TableError) as caught:
            table_lab.create(uri)
        assert "\n" not in str(caught.value)
        assert ".rs" not in str(caught.value)
        assert uri in str(caught.value)


def test_names_and_columns_that_cannot_be(table_lab, uri):
    for name in ["docs.rejects", "docs.topics"]:
        with pytest.raises(UsageError, match="companions"):
            table_lab.create(f"{uri}/{name}")
    with pytest.raises(UsageError, match="'text' cannot be kept"):
        table_lab.create(uri, keep=pa.schema([("text", pa.string())]))
    with pytest.raises(UsageError, match="names with dots"):
        table_lab.create(uri, keep=pa.schema([("a.b", pa.string())]))


def test_add_is_exactly_once_and_checked(table, table_lab):
    added = table.add(["a", "b", "c"], table_lab.vectors(3), texts=["one", "two", "three"])
    assert (added.rows, added.rejects) == (0, 0)
    added = table.add(["c", "d", "d"], table_lab.vectors(3, seed=1))
    assert (added.rows, added.rejects) == (1, 2)
    assert table.count_rows() == 4
    with pytest.raises(UsageError, match="shape"):
        table.add(["e"], np.zeros((1, 3)))
    with pytest.raises(UsageError, match="finite"):
        table.add(["e"], np.full((1, 8), 1e9))
    with pytest.raises(UsageError, match="2 texts"):
        table.add(["e"], np.ones((1, 8)), texts=["x", "y"])
    with pytest.raises(UsageError, match="'id'"):
        table.add(["e"], np.ones((1, 8)), metadata=pa.table({"id": ["x"]}))
    with pytest.raises(UsageError, match="1 of 1 ids are missing"):
        table.add([None], np.ones((1, 8)))
    with pytest.raises(UsageError, match="zeros"):
        table.add(["e"], np.zeros((1, 8)))
    assert table.add([], np.zeros((0, 8))).rows == 0


def test_deleted_documents_stay_away(table_lab, uri):
    table_lab.drive(uri)
    table = VectorTable.open(uri)
    whole = [f"f2-s3-r{row}" for row in (0, 1, 3, 4)] + ["f2-s3-twins"]
    before = table.count_rows()
    assert table.delete([*whole, "f0-s0-r0", "it's not there"]) == 6
    assert table.delete(whole) == 0
    table_lab.drive(uri, run="again")
    assert table.count_rows() == before - 6
    with Committer(table.location, "changed file") as committer:
        rows = [
            {"id": name, "text": "t", "source": "s", "slice": 5, "row": row} for row, name in enumerate([whole[0], "n"])
        ]
        committer.add(stage(table.location, table_lab.as_rows(rows)))
    assert table.count_rows() == before - 5
    reasons = {reject["id"]: reject["reason"] for reject in table.rejects().to_pylist()}
    assert reasons[whole[0]] == "deleted"
    assert "f0-s0-r0" not in reasons, "rejects tell of documents that came, not of those that went"


def test_what_was_deleted_outlives_the_rejects_of_a_late_rival(table_lab, uri):
    table_lab.drive(uri)
    table = VectorTable.open(uri)
    (place,) = table.dataset().to_table(columns=["source", "slice", "row"], filter="id = 'f0-s0-r0'").to_pylist()
    table.delete(["f0-s0-r0"])
    late = {"id": "f0-s0-r0", **place, "stage": "check", "reason": "duplicate id", "detail": ""}
    with Committer(table.location, "late rival") as committer:
        committer.add(None, table_lab.as_rejects([late]))
    assert table.delete(["f0-s0-r0"]) == 0
    assert read_deleted(table.location).column("id").to_pylist() == ["f0-s0-r0"]


def test_info(table_lab, uri):
    table_lab.drive(uri)
    table = VectorTable.open(uri)
    run = new_run()
    start_run(
        table.location, run, {"sources": ["s3://key:pass@b/x"], "storage_options": {"secret": "x"}, "max_tokens": 5}
    )
    finish_run(table.location, run, "finished", documents=3, tokens=9, rejects=1)
    info = table.info()
    assert json.loads(json.dumps(info)) == info
    assert info["rows"] == len(table_lab.expected_ids())
    assert info["rejects"]["total"] == table.rejects().num_rows
    assert set(info["rejects"]["reasons"]) == {"empty", "duplicate id"}
    assert info["files"] == table_lab.FILES
    assert info["companions"] == ["files", "rejects", "runs", "slices"]
    assert info["spec"]["alpha"] == 2.5
    (shown,) = info["runs"]
    assert (shown["status"], shown["documents"], shown["tokens"]) == ("finished", 3, 9)
    assert json.loads(shown["command"]) == {"sources": ["s3://b/x"], "max_tokens": 5}


def test_an_open_table_sees_later_commits(table, table_lab):
    table.search(np.ones(8))
    VectorTable.open(table.location).add(["new"], table_lab.vectors(1, seed=5))
    assert "new" in table.search(np.ones(8), k=10).column("id").to_pylist()
    assert lancedb.connect(table.location.directory).open_table("lab").count_rows() == 4


def test_vectors_made_elsewhere_need_a_name_and_a_dimension(tmp_path):
    table = VectorTable.create(tmp_path / "lake" / "mine", spec=EmbeddingSpec(model="my-model"), dim=3)
    vectors = np.eye(3, dtype=np.float32)
    assert table.add(["a", "b", "c"], vectors, texts=["x", "y", "z"]).rows == 3
    hits = table.search(vectors[1], k=1)
    assert hits.column("id").to_pylist() == ["b"]
    with pytest.raises(UsageError, match="dim=D"):
        VectorTable.create(tmp_path / "lake" / "other", spec=EmbeddingSpec(model="my-model"))
