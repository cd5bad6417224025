"""Input that changes between runs: changed files are exchanged, gone ones pruned, nothing is embedded twice."""

from __future__ import annotations

import gzip

import lancedb
import pytest

from pipeline import VectorTable, embed
from pipeline.errors import SourceError
from pipeline.flow.embed import plan_embed
from pipeline.table.companions.journal import read_journal


def by_file(lab, table):
    """Name of the file → its rows' texts by id."""
    found = {}
    for name, row in lab.stored(table, ["id", "text", "source"]).items():
        found.setdefault(lab.name_of(row["source"]), {})[name] = row["text"]
    return found


def texts(rows):
    return {row["id"]: row["text"] for row in rows}


@pytest.mark.cluster
def test_changed_files_are_exchanged_and_gone_ones_pruned(ray_cluster, lab, tmp_path):
    corpus, table = tmp_path / "corpus", str(tmp_path / "lake" / "docs")
    lab.write(corpus / "kept.jsonl", [*lab.documents(5, "k"), {"id": "k-empty", "text": "", "theme": "none"}])
    lab.write(corpus / "shrinks.parquet", [*lab.documents(9, "s"), {"id": "s-empty", "text": "", "theme": "none"}])
    lab.write(corpus / "breaks.jsonl.gz", lab.documents(7, "b"))
    lab.write(corpus / "empties.jsonl", lab.documents(3, "e"))
    lab.write(corpus / "goes.csv", lab.documents(4, "g"))
    elsewhere = lab.write(tmp_path / "elsewhere.jsonl", lab.documents(2, "x"))
    first = embed([str(corpus), str(elsewhere)], table, lab.SPEC)
    assert (first.documents, first.rejects, first.changed_files) == (30, 2, ())
    kept = lab.stored(table)

    new = [*lab.documents(3, "s", 40), lab.documents(1, "s")[0] | {"text": "another text under the same id"}]
    lab.write(corpus / "shrinks.parquet", new)
    (corpus / "breaks.jsonl.gz").write_bytes(gzip.compress((b'{"id": "b-9", "text": "new"}\n') * 400)[:-20])
    (corpus / "empties.jsonl").write_bytes(b"")
    (corpus / "goes.csv").unlink()
    elsewhere.unlink()
    plan = plan_embed(str(corpus), table, prune=True).work.to_json()
    assert [lab.name_of(uri) for uri in plan["changed_files"]] == [
        "breaks.jsonl.gz",
        "empties.jsonl",
        "shrinks.parquet",
    ]
    assert [lab.name_of(uri) for uri in plan["gone_files"]] == ["goes.csv"]

    second = embed(str(corpus), table, prune=True)
    found = by_file(lab, table)
    assert found == {
        "kept.jsonl": texts(lab.documents(5, "k")),
        "shrinks.parquet": texts(new),
        "breaks.jsonl.gz": texts(lab.documents(7, "b")),
        "elsewhere.jsonl": texts(lab.documents(2, "x")),
    }
    assert {name: row for name, row in lab.stored(table).items() if name.startswith("k-")} == {
        name: row for name, row in kept.items() if name.startswith("k-")
    }
    assert [lab.name_of(uri) for uri in second.replaced_files] == ["empties.jsonl", "shrinks.parquet"]
    assert [lab.name_of(uri) for uri in second.kept_files] == ["breaks.jsonl.gz"]
    assert (second.replaced_rows, second.pruned.files, second.pruned.rows) == (12, 1, 4)
    assert second.unfinished_files == ()
    rejects = VectorTable.open(table).rejects().to_pylist()
    assert sorted((lab.name_of(row["source"]), row["reason"]) for row in rejects) == [
        ("breaks.jsonl.gz", "unreadable"),
        ("kept.jsonl", "empty"),
    ]
    for words in ("2 files had changed: 12 older rows went", "1 file had gone: 4 rows pruned", "older rows stay"):
        assert words in second.summary()
    assert embed(str(corpus), table, prune=True).nothing_to_do

    for sources in ([corpus, tmp_path / "none"], [tmp_path / "lake"], [tmp_path / "*.jsonl"]):
        with pytest.raises(SourceError):
            embed([str(each) for each in sources], table, prune=True)
    (corpus / "kept.jsonl").rename(corpus / "moved.jsonl")
    assert plan_embed(str(corpus / "breaks.jsonl.gz"), table, prune=True).work.gone == ()
    moved = embed(str(corpus), table, prune=True, retry_rejects=True)
    assert (moved.documents, moved.rejects, moved.pruned.rows) == (5, 2, 5)
    assert [lab.name_of(uri) for uri in moved.kept_files] == ["breaks.jsonl.gz"]
    assert by_file(lab, table) == {"moved.jsonl": found.pop("kept.jsonl"), **found}


@pytest.mark.slow  # histories do the same at random
def test_a_changed_file_is_not_begun_anew_deleted_documents_stay_away_and_copies_are_dropped(
    embed_on, lab, tmp_path, monkeypatch
):
    monkeypatch.setattr("pipeline.flow.options.SLICE_ROWS", 4)
    source, table = tmp_path / "a.parquet", str(tmp_path / "lake" / "docs")
    lab.write(source, lab.documents(12))
    embed_on(str(source), table, lab.SPEC)
    assert VectorTable.open(table).delete(["d-1", "d-2"]) == 2
    before = lab.stored(table)
    new = [row | {"text": f"changed {row['text']}"} for row in lab.documents(16)]
    lab.write(source, new)

    begun = embed_on(str(source), table, limit=8)
    assert (begun.documents, begun.replaced_files, begun.staged_slices) == (0, (), 2)
    assert "2 slices of changed files staged, older rows stay until all are" in begun.summary()
    assert lab.stored(table) == before
    assert read_journal(VectorTable.open(table).location).num_rows == 2

    done = embed_on(str(source), table)
    assert done.tokens < begun.tokens * 1.5
    assert (done.documents, done.replaced_rows, done.staged_slices) == (14, 10, 0)
    assert by_file(lab, table) == {"a.parquet": texts(row for row in new if row["id"] not in {"d-1", "d-2"})}
    assert read_journal(VectorTable.open(table).location).num_rows == 0

    copies = [row | {"id": f"copy-{row['id']}"} for row in new[3:7]]
    twin = copies[0] | {"text": "the id of a copy, but a text of its own"}
    copied = lab.write(tmp_path / "b.jsonl", [*copies, twin, *lab.documents(2, "b", 90)])
    dropped = embed_on(str(copied), table, drop_duplicates=True)
    assert (dropped.documents, dropped.rejects) == (3, 4)
    assert lab.stored(table)[twin["id"]]["text"] == twin["text"]
    reasons = {row["id"]: row["reason"] for row in VectorTable.open(table).rejects().to_pylist()}
    assert reasons["copy-d-4"] == "duplicate of d-4"
    assert embed_on(str(copied), table, drop_duplicates=True).nothing_to_do


def test_a_table_that_is_dropped_and_made_anew_starts_from_nothing(embed_on, lab, tmp_path, monkeypatch):
    """Also where making it anew was interrupted: what companions tell is of the table that was dropped."""
    monkeypatch.setattr("pipeline.flow.options.SLICE_ROWS", 4)
    source, folder = lab.write(tmp_path / "a.parquet", [*lab.documents(12), lab.documents(1)[0]]), tmp_path / "lake"
    embed_on(str(source), f"{folder}/docs", lab.SPEC)
    lancedb.connect(str(folder)).drop_table("docs")
    assert embed_on(str(source), f"{folder}/docs", lab.SPEC, limit=4).documents == 4
    done = embed_on(str(source), f"{folder}/docs")
    assert (done.table_rows, done.reasons) == (12, {"duplicate id": 1})


@pytest.mark.slow  # histories do the same at random
def test_documents_that_move_between_files_are_never_lost(embed_on, lab, tmp_path, monkeypatch):
    """A corpus that is partitioned anew: rows go from changed files to changed, new and unchanged ones."""
    monkeypatch.setattr("pipeline.flow.options.SLICE_ROWS", 4)
    corpus, table = tmp_path / "corpus", str(tmp_path / "lake" / "docs")
    rows = lab.documents(24)
    lab.write(corpus / "a.parquet", rows[:12])
    lab.write(corpus / "b.parquet", rows[12:])
    lab.write(corpus / "c.jsonl", [*lab.documents(3, "c"), rows[0]])
    first = embed_on(str(corpus), table, lab.SPEC)
    assert (first.documents, first.reasons) == (27, {"duplicate id": 1})

    lab.write(corpus / "a.parquet", [*rows[6:12], *rows[14:20]])  # half of it swapped with b, without rows 0 to 5
    lab.write(corpus / "b.parquet", [*rows[20:], *rows[2:6]])
    lab.write(corpus / "0-new.jsonl", [rows[1], rows[12], rows[13], rows[23]])
    second = embed_on(str(corpus), table, commit_rows=1)
    found = by_file(lab, table)
    assert sorted(name for file in found.values() for name in file) == sorted(["c-0", "c-1", "c-2", *texts(rows)])
    assert found["c.jsonl"].keys() == {"c-0", "c-1", "c-2", "d-0"}
    assert found["0-new.jsonl"].keys() >= {"d-1", "d-12", "d-13"}
    assert (second.documents, second.rejects, second.reasons) == (24, 1, {"duplicate id": 1})
    assert embed_on(str(corpus), table).nothing_to_do

    (corpus / "0-new.jsonl").rename(corpus / "renamed.jsonl")
    renamed = embed_on(str(corpus), table)
    assert (renamed.documents, renamed.rejects) == (0, 4)
    pruned = embed_on(str(corpus), table, prune=True)
    held = len(found["0-new.jsonl"])
    assert (pruned.documents, pruned.pruned.rows) == (held, held)
    assert embed_on(str(corpus), table).table_rows == 27
