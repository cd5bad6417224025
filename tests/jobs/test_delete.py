"""``moee delete``: gone for good, and what was not there is said."""

from __future__ import annotations

import pytest

from pipeline import EmbeddingSpec, VectorTable
from pipeline.table.companions.deleted import read_deleted


@pytest.fixture
def table(tmp_path):
    made = VectorTable.create(tmp_path / "lake" / "docs", spec=EmbeddingSpec(model="elsewhere"), dim=2)
    made.add(["a", "b", "c", "line two"], [[1, 0], [0, 1], [1, 1], [2, 1]], texts=list("abcd"))
    return made


def ids(table):
    return sorted(table.dataset().to_table(columns=["id"])["id"].to_pylist())


def test_named_documents_go(moee, table):
    outcome = moee("delete", table.location, "a", "c", "a", "--json")
    assert (outcome.status, ids(table)) == (0, ["b", "line two"])
    figures = {name: outcome.json[name] for name in ("documents", "rows", "before", "unknown", "table_rows")}
    assert figures == {"documents": 2, "rows": 2, "before": [], "unknown": [], "table_rows": 2}
    again = moee("delete", table.location, "a")
    assert (again.status, again.out) == (
        0,
        f"0 documents deleted, 1 had been deleted before; {table.location} holds 2 rows\n",
    )
    assert sorted(read_deleted(table.location)["id"].to_pylist()) == ["a", "c"]


def test_unknown_ids_are_an_error_after_the_others_went(moee, table):
    outcome = moee("delete", table.location, "b", "nobody", *(f"n{number}" for number in range(12)))
    assert (outcome.status, ids(table)) == (1, ["a", "c", "line two"])
    assert outcome.out.startswith("1 document deleted; ")
    assert "has no documents 'nobody', 'n0'" in outcome.error
    assert "and 3 others" in outcome.error


def test_ids_from_a_file(moee, table, tmp_path):
    listed = tmp_path / "ids.txt"
    listed.write_text("\ufeffa\r\n\nline two\n", encoding="utf-8")
    assert moee("delete", table.location, "--from-file", listed).status == 0
    assert ids(table) == ["b", "c"]
    listed.write_text("b\u2028c\n", encoding="utf-8")
    assert moee("delete", table.location, "--from-file", listed).status == 1
    assert ids(table) == ["b", "c"], "one id that is not there, not two that are"


@pytest.mark.parametrize(
    ("arguments", "status", "what"),
    [
        ((), 2, "no ID given"),
        (("--from-file", "nowhere.txt"), 2, "nowhere.txt: cannot be read"),
    ],
)
def test_wrong_calls(moee, table, arguments, status, what):
    outcome = moee("delete", table.location, *arguments)
    assert (outcome.status, ids(table)) == (status, ["a", "b", "c", "line two"])
    assert what in outcome.error


def test_no_table(moee, tmp_path):
    outcome = moee("delete", tmp_path / "lake" / "none", "a")
    assert outcome.status == 1
    assert "there is no table" in outcome.error


def test_an_index_run_may_drop_what_was_deleted_from_the_disk(moee, table):
    moee("delete", table.location, "a")
    outcome = moee("index", table.location, "--clean", 0, "--json")
    assert outcome.status == 0
    assert outcome.json["cleaned"]["versions"] > 0
    assert len(table.dataset().versions()) == 1
    assert ids(table) == ["b", "c", "line two"]
    assert moee("index", table.location, "--clean", 7).out.endswith("0 older versions dropped, 0.0 MB freed\n")
    assert moee("index", table.location, "--clean", -1).status == 2
