"""What a run leaves of the indexes that its table has."""

from __future__ import annotations

import json

import pytest

from pipeline.errors import TableError
from pipeline.flow.embed import embed
from pipeline.flow.progress import Quiet
from pipeline.table import VectorTable


class Phases(Quiet):
    def __init__(self):
        self.names = []

    def phase(self, name):
        self.names.append(name)


@pytest.fixture
def run(stub, stub_model, lab, load, tmp_path):
    engine = load("flow/in_process.py").InProcessEngine

    def to(name, **options):
        lab.write(tmp_path / "in" / f"{name}.jsonl", lab.documents(12, name))
        spec = {"model": stub_model, "max_tokens": 8, "pooling": "last"}
        table = str(tmp_path / "lake" / "docs")
        return embed(str(tmp_path / "in"), table, spec, engine=stub.planted(engine()), **options), VectorTable.open(
            table
        )

    return to


def missing(table):
    return {index["missing"] for index in table.info()["indexes"]}


def test_a_run_brings_indexes_up_to_date_and_makes_none_of_its_own(run):
    phases = Phases()
    report, table = run("a", listener=phases)
    assert (report.index_seconds, missing(table)) == (0, set())
    assert "bringing indexes up to date" not in phases.names
    table.index()
    report, table = run("b", listener=phases)
    assert report.index_seconds > 0
    assert missing(table) == {0}
    assert phases.names[-1] == "bringing indexes up to date"
    (note,) = json.loads(table.runs()["command"][-1].as_py())["notes"]
    assert note.endswith(" s for indexes")
    assert report.to_json()["version"] == table.dataset().version


def test_a_run_leaves_indexes_as_they_are_when_told_to(run):
    run("a")[1].index()
    report, table = run("b", index=False)
    assert report.index_seconds == 0
    assert missing(table) == {12}
    assert missing(run("c")[1]) == {0}


def test_a_run_whose_rows_are_in_does_not_fail_with_its_indexes(run, monkeypatch, caplog):
    def fail(*_, **__):
        raise TableError("cannot index lake/docs: no space left")

    run("a")[1].index()
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.flow.job.refresh_indexes", fail)
        report, table = run("b")
    assert report.documents == 12
    assert table.runs()["status"][-1].as_py() == "finished"
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith("indexes are not up to date, try moee index ")
    assert said.endswith(": cannot index lake/docs: no space left")
    assert missing(table) == {12}
