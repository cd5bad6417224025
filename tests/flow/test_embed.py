"""The job as a function, on a real cluster: formats, rejects, resumption, and what a second run does."""

from __future__ import annotations

import shutil
from pathlib import Path

import lancedb
import numpy as np
import pytest

from pipeline import EmbeddingSpec, VectorTable, embed
from pipeline.errors import FingerprintError
from pipeline.flow.embed import plan_embed
from pipeline.table import TableLocation

pytestmark = pytest.mark.cluster


@pytest.fixture
def copied(mixed, tmp_path):
    """The table of `mixed`, to be changed."""
    shutil.copytree(Path(mixed.table).parent, tmp_path / "lake")
    return str(tmp_path / "lake" / "docs")


def test_every_format_gives_its_documents_once(mixed, lab):
    rows = lab.stored(mixed.table, ["id", "text", "theme", "source", "row"])
    assert set(rows) == {*mixed.accepted, "p-0"}
    for name, row in mixed.accepted.items():
        assert (rows[name]["text"], rows[name]["theme"]) == (row["text"], row["theme"])
    places = {name: (lab.name_of(rows[name]["source"]), rows[name]["row"]) for name in ("p-6", "z-3", "c-quoted")}
    assert places == {"p-6": ("corpus.parquet", 7), "z-3": ("packed.jsonl.zst", 3), "c-quoted": ("rows.csv", 3)}


def test_every_other_row_is_rejected_once_with_its_reason(mixed, lab):
    rejects = VectorTable.open(mixed.table).rejects().to_pylist()
    found = [(lab.name_of(row["source"]), row["row"], row["reason"]) for row in rejects]
    twins = {("corpus.parquet", 0, "duplicate id"), ("twins.jsonl", 0, "duplicate id")}
    assert len(found) == len(set(found)) == len(mixed.rejected) + 1
    assert len(set(found) & twins) == 1
    assert set(found) - twins == mixed.rejected
    assert {row["run"] for row in rejects} == {mixed.report.run}


def test_a_duplicate_names_the_row_that_has_the_id(mixed, lab):
    rejects = VectorTable.open(mixed.table).rejects().to_pylist()
    (twin,) = (row for row in rejects if row["id"] == "p-0")
    holder = lab.stored(mixed.table, ["id", "source", "row"])["p-0"]
    assert twin["stage"] in {"check", "commit"}
    assert f"{lab.name_of(holder['source'])}:{holder['row']}" in twin["detail"]


def test_the_report_says_what_the_table_holds(mixed):
    report, table = mixed.report, VectorTable.open(mixed.table)
    assert (report.documents, report.table_rows, table.count_rows()) == (len(mixed.accepted) + 1,) * 3
    assert (report.rejects, report.table_rejects, sum(report.reasons.values())) == (len(mixed.rejected) + 1,) * 3
    assert report.reasons["unreadable"] == report.reasons["duplicate id"] == 2
    assert report.fingerprint == table.fingerprint
    assert report.files == 8
    (run,) = table.runs().to_pylist()
    assert (run["run"], run["status"]) == (report.run, "finished")
    assert (run["documents"], run["tokens"], run["rejects"]) == (report.documents, report.tokens, report.rejects)


def test_vectors_are_those_of_the_encoder(mixed, lab):
    table = VectorTable.open(mixed.table)
    rows = list(lab.stored(mixed.table).values())
    encoded = table.encoder.encode([row["text"] for row in rows])
    cosine = np.sum(lab.vectors(rows) * encoded, axis=1)
    assert np.median(cosine) >= 0.999
    assert cosine.min() >= 0.99
    assert not np.isnan([[row["hs_norm"], row["rw_norm"]] for row in rows]).any()


def test_plain_lancedb_opens_the_table(mixed):
    path = Path(mixed.table)
    table = lancedb.connect(path.parent).open_table(path.name)
    assert table.count_rows() == mixed.report.table_rows
    assert table.schema.field("vector").type.list_size == VectorTable.open(mixed.table).dim


def test_a_second_run_changes_nothing_and_says_so(mixed, lab, monkeypatch):
    monkeypatch.setattr("pipeline.flow.embed.choose_engine", None)  # not even an engine is asked for
    before = VectorTable.open(mixed.table)
    report = embed(str(mixed.corpus), mixed.table, lab.SPEC, keep=("theme",))
    after = VectorTable.open(mixed.table)
    assert report.nothing_to_do
    assert report.summary().startswith("nothing new to embed in 8 files")
    assert report.table_rows == mixed.report.table_rows
    assert after.dataset().version == before.dataset().version
    assert after.runs().num_rows == 1


def test_only_a_new_file_is_embedded(mixed, copied, lab, tmp_path):
    new = lab.write(tmp_path / "new.jsonl", [*lab.documents(5, "n"), lab.documents(1, "g")[0]])
    report = embed([str(mixed.corpus), str(new)], copied, replicas=2)
    assert (report.documents, report.rejects) == (5, 1)
    assert report.finished_files == 8
    before, after = lab.stored(mixed.table), lab.stored(copied)
    assert set(after) - set(before) == {f"n-{number}" for number in range(5)}
    assert {name: after[name] for name in before} == before
    assert embed([str(mixed.corpus), str(new)], copied).nothing_to_do


@pytest.mark.parametrize(
    ("field", "other"), [("pooling", "mean"), ("max_tokens", 48), ("alpha", 2.0), ("prompt", "none")]
)
def test_another_meaning_is_refused_and_named(mixed, field, other):
    before = VectorTable.open(mixed.table).dataset().version
    with pytest.raises(FingerprintError, match=rf"do not compare .*: {field}: the table has .*, this is "):
        embed(str(mixed.corpus), mixed.table, {field: other})
    assert VectorTable.open(mixed.table).dataset().version == before


def test_a_whole_spec_must_be_the_tables(mixed, lab):
    with pytest.raises(FingerprintError, match="max_tokens"):
        embed(str(mixed.corpus), mixed.table, EmbeddingSpec(pooling="last"))
    assert embed(str(mixed.corpus), mixed.table, EmbeddingSpec(**lab.SPEC)).nothing_to_do


def test_texts_from_folder_and_glob_first_a_few_then_the_rest(embed_on, lab, tmp_path):
    corpus, table = tmp_path / "texts", str(tmp_path / "lake" / "texts")
    for number, row in enumerate(lab.documents(9)):
        path = corpus / "folder" / ("deep" if number % 2 else "") / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row["text"], encoding="utf-8")
    (corpus / "folder" / "blank.txt").write_text("\n \n", encoding="utf-8")
    (corpus / "folder" / "latin.md").write_bytes(b"caf\xe9")
    (corpus / "a.md").write_text("a document found by the glob", encoding="utf-8")
    (corpus / "b.markdown").write_text("and one that is not", encoding="utf-8")
    sources = [str(corpus / "folder"), str(corpus / "*.md")]

    first = embed_on(sources, table, lab.SPEC, limit=4, with_text=False)
    assert 4 <= first.documents + first.rejects < 12
    rest = embed_on(sources, table)
    assert (rest.table_rows, rest.table_rejects) == (10, 2)
    assert rest.documents == 10 - first.documents
    assert rest.reasons == {"empty": 1, "not UTF-8": 1}
    rows = lab.stored(table)
    assert {lab.name_of(row["source"]) for row in rows.values()} == {"a.md", *(f"{n}.txt" for n in range(9))}
    assert all(name.startswith(f"{lab.name_of(row['source'])}-") for name, row in rows.items())
    assert "text" not in VectorTable.open(table).schema.names

    (corpus / "a.md").write_text("a document that has changed since", encoding="utf-8")
    changed = embed_on(sources, table)
    assert (changed.documents, changed.replaced_rows) == (1, 1)
    assert [lab.name_of(uri) for uri in changed.replaced_files] == ["a.md"]
    again = lab.stored(table)
    others = {name for name, row in rows.items() if lab.name_of(row["source"]) != "a.md"}
    assert set(again) == set(rows)
    assert {name: again[name] for name in others} == {name: rows[name] for name in others}


def test_a_plan_of_an_existing_table_counts_what_is_left(mixed, lab, tmp_path):
    assert plan_embed(str(mixed.corpus), mixed.table).work.to_json()["units"] == 0
    new = lab.write(tmp_path / "new.parquet", lab.documents(5, "n"))
    plan = plan_embed([str(mixed.corpus), str(new)], mixed.table).work.to_json()
    assert (plan["files"], plan["finished_files"], plan["units"], plan["rows"]) == (9, 8, 1, 5)


def test_a_plan_of_a_new_table_makes_nothing(lab, tmp_path):
    lab.write(tmp_path / "in" / "a.parquet", lab.documents(5))
    plan = plan_embed(str(tmp_path / "in"), str(tmp_path / "lake" / "docs")).work.to_json()
    assert (plan["text"], plan["id"], plan["rows"], plan["finished_files"]) == ("text", "id", 5, 0)
    assert not (tmp_path / "lake").exists()
    assert TableLocation.parse(tmp_path / "lake" / "docs").directory == str(tmp_path / "lake")
