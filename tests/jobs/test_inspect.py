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


def test_runs_are_listed_with_what_they_waited_for(moee, news, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    header, run = moee("inspect", news.table, "--runs").out.splitlines()
    assert header.split()[:3] == ["run", "status", "documents"]
    assert run.split()[1:3] == ["finished", "90"]
    (listed,) = moee("inspect", news.table, "--runs", "--json").json["runs"]
    assert (listed["rows_read"], listed["deaths"], listed["engine"]) == (91, 0, "ray")


def test_watching_a_table_at_which_nobody_works_shows_its_last_run(moee, news):
    outcome = moee("inspect", news.table, "--watch")
    assert outcome.out.startswith("no run is at work; the last one:\n")
    assert moee("inspect", news.table, "--watch", "--json").json["run"]["documents"] == 90
    assert "there is no table" in moee("inspect", f"{news.table}-none", "--watch").error


def test_a_run_that_is_under_way_is_watched_until_it_ends(moee, news, monkeypatch, tmp_path):
    import shutil
    import threading
    from pathlib import Path

    from jobs import inspect_runs
    from pipeline.table import TableLocation
    from pipeline.table.companions.lease import Lease

    shutil.copytree(Path(news.table).parent, tmp_path / "lake")
    location = TableLocation.parse(str(tmp_path / "lake" / "news"))
    monkeypatch.setattr(inspect_runs, "LOG_SECONDS", 0.1)
    figures = {"planned": 100, "read": 40, "documents": 32, "tokens": 5, "rejects": 1, "rows_per_second": 4.0}
    told = {"phase": "embedding", "seconds": 9.0, **figures, "seconds_left": 15, "waited_for": "reading"}
    held = threading.Event()

    def hold():
        with Lease(location, "20990101T000000-0", progress=lambda: told):
            held.set()
            threading.Event().wait(5)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    outcome = moee("inspect", location, "--watch")
    holder.join()
    assert (
        ": embedding: 40/100 rows · 32 documents committed · 4.0 rows/s · 1 reject · 0:00:15 left · "
        "waits mostly for reading"
    ) in outcome.err
