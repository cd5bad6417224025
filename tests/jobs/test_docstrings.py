from __future__ import annotations

import sys
from collections import Counter

import pyarrow.compute as pc
import pytest

from jobs import docstrings
from jobs.docstrings import DOCSTRINGS_SCHEMA, collect_docstrings


@pytest.fixture
def only_the_standard_library(monkeypatch):
    monkeypatch.setattr(docstrings, "_installed", lambda: iter(()))


def test_the_standard_library_alone_gives_thousands(only_the_standard_library):
    before = set(sys.modules)
    table = collect_docstrings()
    assert set(sys.modules) - before == set()
    assert table.schema == DOCSTRINGS_SCHEMA
    assert table.num_rows > 2000
    for column in ("id", "text"):
        assert pc.count_distinct(table[column]).as_py() == table.num_rows
    assert pc.min(pc.utf8_length(table["text"])).as_py() >= 80
    assert max(Counter(table["package"].to_pylist()).values()) <= 150
    assert table.equals(table.sort_by("id"))
    assert "json.JSONDecoder" in table["id"].to_pylist() or "json.decoder.JSONDecoder" in table["id"].to_pylist()


def test_a_smaller_number_is_shared_fairly_and_always_the_same(only_the_standard_library):
    table = collect_docstrings(200)
    assert table.num_rows == 200
    assert max(Counter(table["package"].to_pylist()).values()) <= 3
    assert collect_docstrings(200).equals(table)


def test_broken_sources_are_passed_over(tmp_path):
    for name, source in {"a": b"def f(:", "b": b"\xff\xff", "c": b'"\\ud800"', "d": b'x = \'\\d\'\n"""no"""'}.items():
        (tmp_path / name).write_bytes(source)
        assert docstrings._of_module(name, tmp_path / name) == []
    assert docstrings._of_module("gone", tmp_path / "gone") == []
