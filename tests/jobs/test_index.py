from __future__ import annotations

import numpy as np
import pytest

from pipeline.table import VectorTable


@pytest.fixture
def table(load, tmp_path):
    lab = load("table/lab.py")
    made = VectorTable.create(str(tmp_path / "lake" / "t"), spec=lab.spec(), dim=8)
    grow(made, 0, 30)
    return made


def grow(table, start, stop):
    vectors = np.random.default_rng(start).standard_normal((stop - start, 8))
    table.add([f"d{n}" for n in range(start, stop)], vectors, texts=[f"word {n}" for n in range(start, stop)])


def test_each_column_is_told_with_its_index_or_why_it_has_none(moee, table):
    outcome = moee("index", table.location)
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert "id           BTree, 30 rows" in lines
    assert "vector       none: exact search is fast below 50 MB of vectors; these are 0.0 MB" in lines
    names = {name.strip(",") for line in lines for name in line.partition("none:")[0].split()}
    assert set(table.schema.names) <= names
    told = moee("index", table.location, "--json").json
    assert {index["column"] for index in told["indexes"]} | told["without"].keys() == set(table.schema.names)


def test_inspect_tells_what_indexes_leave_out_and_what_to_type(moee, table):
    assert "none (moee index)" in moee("inspect", table.location).out
    table.index()
    assert "moee index" not in moee("inspect", table.location).out
    grow(table, 30, 60)
    outcome = moee("inspect", table.location)
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("indexes")]
    assert line.endswith(f"many rows came later and are compared one by one: moee index {table.location}")
    assert "BTree, 30 rows, 30 later rows not covered" in outcome.out
    table.dataset().create_scalar_index("text", "INVERTED", base_tokenizer="simple", with_position=False)
    assert "the text index finds no phrases" in moee("inspect", table.location).out


def test_a_table_whose_vectors_were_made_elsewhere_is_not_registered(moee, table):
    outcome = moee("index", table.location, "--register")
    assert outcome.status == 2
    assert "made elsewhere" in outcome.error
    assert moee("index", table.location, "--unregister", "--json").json["registered"] is False
