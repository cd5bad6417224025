"""Searching a table as it was: what was deleted for good is in no version, by its id or by its text."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import TableError
from pipeline.table import VectorTable


@pytest.fixture
def table(table_lab, uri):
    """Version by version: none, a and b, c and d, b deleted."""
    table = VectorTable.create(uri, spec=table_lab.spec(), dim=8)
    table.add(["a", "b"], np.eye(8)[:2] + 1, texts=["one text", "two texts"])
    table.index()
    table.dataset().tags.create("first", table.dataset().version)
    table.add(["c", "d"], np.eye(8)[2:4] + 1, texts=["three texts", "four texts"])
    table.delete(["b"])
    return table


def ids(hits):
    return sorted(hits.column("id").to_pylist())


def test_a_version_or_a_tag_has_the_rows_it_had_without_deleted_ones(table):
    at = {version["version"]: ids(table.search(np.ones(8), at=version["version"])) for version in table.versions}
    assert [found for found in at.values() if found] == sorted(filter(None, at.values()), key=len)
    assert ids(table.search(np.ones(8), at="first")) == ["a"]
    assert ids(table.search("text", mode="text", at="first")) == ["a"]
    assert ids(table.search(np.ones(8))) == ["a", "c", "d"]
    assert at[max(at)] == ["a", "c", "d"]
    assert table.facets(["id"], at="first")["id"].column("value").to_pylist() == ["a"]


def test_a_deleted_document_is_no_example_at_any_version(table):
    assert ids(table.search(like="a", at="first")) == []
    with pytest.raises(TableError, match="no document 'b'"):
        table.search(like="b", at="first")
    with pytest.raises(TableError, match="no document 'b'"):
        table.search(like="a", unlike="b", at="first")


def test_a_version_that_was_cleaned_away_is_named_with_those_that_are_kept(table):
    gone = table.versions[1]["version"]
    table.clean(0)
    with pytest.raises(TableError, match=f"no version {gone} that could still be read; kept are 2 from"):
        table.search(np.ones(8), at=gone)
    assert ids(table.search(np.ones(8), at="first")) == ["a"]  # a tag keeps it


def test_a_document_known_by_its_text_is_out_at_versions_in_which_it_had_another_id(flow_deleted):
    table, earlier = flow_deleted
    texts = table.search(np.ones(table.dim), k=9, at=earlier).column("text").to_pylist()
    assert sorted(texts) == ["one", "three"]


@pytest.fixture
def flow_deleted(table_lab, uri):
    """Ids that were derived from file and row: the document of the text "two" was called f:1 once and f:2 later."""
    import pyarrow as pa

    from pipeline.table.companions.deleted import text_marks, write_deleted

    table = VectorTable.create(uri, spec=table_lab.spec(), dim=8)
    table.add(["f:0", "f:1", "f:2"], np.eye(8)[:3] + 1, texts=["one", "two", "three"])
    names = pa.chunked_array([["f:2"]])
    write_deleted(table.location, names, text_marks(pa.array(["two"])))
    return table, table.dataset().version
