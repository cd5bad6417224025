from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.wording import brief, counted


def test_numbers_have_their_nouns():
    assert [counted(number, "file") for number in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]


@given(st.text(max_size=300))
def test_a_brief_value_is_one_line_that_can_be_printed(text):
    said = brief(text)
    assert said.isprintable()
    assert len(said) <= 80
    said.encode()


@pytest.mark.parametrize("value", ["x" * 10**6, 10**1000, pa.array([1, 2]), np.eye(100), [["x" * 10**4] * 99] * 99])
def test_values_of_every_kind_are_brief(value):
    assert len(brief(value)) <= 160
    assert "\n" not in brief(value)


def test_a_short_value_is_whole():
    assert [brief(value) for value in ("it's", 3, None, ["a"])] == ['"it\'s"', "3", "None", "['a']"]
