"""What a run says of metadata that it left out, and of ids that are unique in their file only."""

from __future__ import annotations

import json

import lance
import pytest
from in_process import InProcessEngine

from pipeline import embed
from pipeline.errors import UsageError
from pipeline.table import TableLocation, VectorTable


@pytest.fixture
def run(stub, stub_model, tmp_path):
    def to(*names, **options):
        spec = {"model": stub_model, "max_tokens": 8, "pooling": "last"}
        sources = [str(tmp_path / name) for name in names]
        return embed(sources, str(tmp_path / "lake" / "docs"), spec, engine=stub.planted(InProcessEngine()), **options)

    return to


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_later_run_that_meets_a_wider_type_says_what_was_left_out(run, tmp_path):
    write(tmp_path / "a.jsonl", [{"id": f"a{row}", "text": f"w{row}", "score": row} for row in range(6)])
    write(tmp_path / "b.jsonl", [{"id": f"b{row}", "text": f"w{row}", "score": row / 2} for row in range(6)])
    assert "did not fit" not in run("a.jsonl", keep=("score",)).summary()
    report = run("b.jsonl")
    assert (report.documents, report.rejects, report.misfits) == (6, 0, {"score": 3})
    assert "score: 3 values did not fit int64" in report.summary()
    table = VectorTable.open(TableLocation.parse(tmp_path / "lake" / "docs"))
    assert json.loads(table.runs()["command"][-1].as_py())["notes"] == ["score: 3 values did not fit int64"]
    stored = lance.dataset(str(tmp_path / "lake" / "docs.lance")).to_table(columns=["id", "score"]).to_pylist()
    assert {row["id"]: row["score"] for row in stored} == {f"a{row}": row for row in range(6)} | {
        f"b{row}": None if row % 2 else row // 2 for row in range(6)
    }


def test_ids_that_are_unique_in_their_file_only(run, tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        write(tmp_path / name, [{"id": row, "text": f"w{row}"} for row in range(6)])
    write(tmp_path / "c.jsonl", [{"id": row, "text": f"w{row}"} for row in range(5, 12)])
    report = run("a.jsonl", "b.jsonl", "c.jsonl")
    assert [uri.rpartition("/")[2] for uri in report.duplicate_files] == ["b.jsonl"]
    assert "--id ''" in report.summary()
    with pytest.raises(UsageError, match=r"--id '': .* was made with id column 'id'"):
        run("a.jsonl", id="")


def test_ids_are_derived_where_that_is_asked_for(run, tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        write(tmp_path / name, [{"id": row, "text": f"w{row}"} for row in range(6)])
    report = run("a.jsonl", "b.jsonl", id="")
    assert (report.documents, report.rejects, report.duplicate_files) == (12, 0, ())
    assert run("a.jsonl", "b.jsonl", id="").nothing_to_do
