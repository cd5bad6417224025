from __future__ import annotations

import pytest

ROWS = 300


@pytest.fixture
def table(load, tmp_path):
    lab = load("table/lab.py")
    made = lab.create(str(tmp_path / "lake" / "docs"))
    made.add([f"d{row:03}" for row in range(ROWS)], lab.vectors(ROWS), texts=["text"] * ROWS)
    return made.location


def test_a_small_table_needs_no_change(moee, table):
    outcome = moee("index", table, "--check")
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:5]] == ["plain", "filter of 1%", "alpha 0", "alpha 4"]
    assert lines[5:] == ["50 of 300 rows as queries; every row is compared", "nothing to change"]


def test_a_check_for_programs_and_nothing_is_built(moee, table):
    found = moee("index", table, "--check", "--json").json
    assert [each["name"] for each in found["measured"]] == ["plain", "filter of 1%", "alpha 0", "alpha 4"]
    assert min(each["recall"] for each in found["measured"]) > 0.99  # float16 of 8 dimensions is coarse
    assert (found["rows"], found["queries"], found["indexes"], found["advice"]) == (ROWS, 50, [], [])
    assert moee("inspect", table, "--json").json["indexes"] == []


@pytest.mark.parametrize("change", [("--clean", 0), ("--rebuild",), ("--unregister",)])
def test_a_check_that_would_also_change_something_is_refused(moee, table, change):
    outcome = moee("index", table, "--check", *change)
    assert (outcome.status, outcome.error) == (2, "error: --check changes nothing: give it alone")
