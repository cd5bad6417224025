from __future__ import annotations

import pytest

pytestmark = pytest.mark.cluster


def test_what_a_table_holds_for_programs(moee, news):
    info = moee("inspect", news.table, "--json").json
    assert (info["rows"], info["rejects"]) == (90, {"total": 1, "reasons": {"empty": 1}})
    assert info["spec"]["max_tokens"] == 24
    assert info["reader"]["keep"] == ["theme"]
    assert info["runs"][-1]["status"] == "finished"
    assert info["runs"][-1]["documents"] == 90


def test_what_a_table_holds_for_people(moee, news):
    outcome = moee("inspect", news.table)
    assert (outcome.status, outcome.err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert lines["rows"].startswith("90 in ")
    assert lines["rejects"] == "1 (1 empty)"
    assert "model=mini" in lines["spec"]
    assert ": finished, 90 documents, " in lines["run"]


def test_rejects_are_listed_with_reason_and_place(moee, news):
    outcome = moee("inspect", news.table, "--rejects")
    assert outcome.out.splitlines() == ["        1  empty", f"check   empty  file://{news.source}:90"]
    assert moee("inspect", news.table, "--reason", "unreadable").out.splitlines() == ["        1  empty"]
    (listed,) = moee("inspect", news.table, "--rejects", "--json").json["listed_rejects"]
    assert (listed["id"], listed["row"], listed["reason"]) == ("nothing", 90, "empty")


def test_indexes_are_built_and_listed(moee, news, lab, tmp_path):
    import shutil
    from pathlib import Path

    shutil.copytree(Path(news.table).parent, tmp_path / "lake")
    table = tmp_path / "lake" / "news"
    outcome = moee("index", table, "--json")
    assert outcome.status == 0
    built = {index["column"] for index in outcome.json["indexes"]}
    assert {"id", "text"} <= built
    assert {index["column"] for index in moee("inspect", table, "--json").json["indexes"]} == built
    for mode in ("text", "hybrid"):
        hits = moee("search", table, "rocket", "--mode", mode, "-k", 3, "--json").json["hits"]
        assert len(hits) == 3
        assert mode == "hybrid" or all("rocket" in hit["text"] for hit in hits)
