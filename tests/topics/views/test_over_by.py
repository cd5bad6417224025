from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import TopicError, UsageError
from pipeline.topics.views import topics_by, topics_over
from pipeline.topics.views.counting import count_pairs
from pipeline.topics.views.intervals import number_intervals, time_intervals


def truth(dated, value_of):
    """Counter of (value, topic), one document after the other."""
    rows = dated.topics.assignments(["id", "topic"]).to_pylist()
    return Counter((value_of(row["id"]), row["topic"]) for row in rows)


def test_years_are_counted_one_by_one_and_empty_ones_are_there(dated):
    table = topics_over(dated.topics, "year")
    assert table.column("start").unique().to_pylist() == list(range(1991, 2000))
    years = {"space": 1991, "motors": 1992, "faith": 1995, "chips": 1995, "health": 1999}
    expected = truth(dated, lambda name: years[dated.subjects[name]])
    expected[1991, dated.topics.assignments(["id", "topic"]).column("topic")[0].as_py()] -= 0
    found = {(row["start"], row["topic"]): row["count"] for row in table.to_pylist() if row["count"]}
    assert sum(expected.values()) - sum(found.values()) == 1  # one document has no year
    assert sum(abs(expected[key] - found.get(key, 0)) for key in expected) == 1
    empty = table.filter(pc.field("start") == 1993)
    assert set(empty.column("documents").to_pylist()) == {0}
    assert set(empty.column("share").to_pylist()) == {0.0}


def test_shares_of_an_interval_add_up(dated):
    for column in ("year", "time"):
        table = topics_over(dated.topics, column, bins=4)
        assert table.column("start").unique().to_pylist() == sorted(set(table.column("start").to_pylist()))
        assert len(table.column("start").unique()) <= 4
        sums = table.filter(pc.field("documents") > 0).group_by("start").aggregate([("share", "sum")])
        np.testing.assert_allclose(sums.column("share_sum").to_numpy(), 1)


def test_times_dates_and_texts_are_the_same_times(dated):
    times, days = topics_over(dated.topics, "time", bins=12), topics_over(dated.topics, "day", bins=12)
    assert times.column("start").unique().to_pylist() == [
        datetime(year, 1, 1, tzinfo=UTC) for year in range(1991, 2000)
    ]
    assert times.equals(days)
    texts = topics_over(dated.topics, "text_time", bins=12)
    documents = sum(dated.topics.model.documents for _ in range(1))
    assert pc.sum(times.column("count")).as_py() == documents
    assert pc.sum(texts.column("count")).as_py() == documents - 2  # a null, and one that is no time


def test_a_lower_threshold_leaves_more_documents_out(dated):
    strict, loose = (topics_over(dated.topics, "year", mad=mad) for mad in (0.5, 5))
    outside = [pc.sum(table.filter(pc.field("topic") == -1).column("count")).as_py() for table in (strict, loose)]
    assert outside[0] > outside[1]


@pytest.mark.parametrize(
    ("column", "bins", "error", "message"),
    [
        ("size", 20, UsageError, "holds double: topics over time need"),
        ("nothing", 20, UsageError, "has no column 'nothing'; it has id, text"),
        ("slice", 1, UsageError, "use 2 to"),
        ("subject", 20, TopicError, "no document of .* has a time in 'subject'"),
    ],
)
def test_columns_that_hold_no_times(dated, column, bins, error, message):
    with pytest.raises(error, match=message):
        topics_over(dated.topics, column, bins)


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1), st.integers(2, 40), st.booleans())
def test_intervals_are_few_ordered_and_hold_what_they_begin_before(values, most, is_time):
    values = np.array(values)
    cut = (time_intervals if is_time else number_intervals)(int(values.min()), int(values.max()), most)
    numbers = cut.number(values)
    assert np.ptp(numbers) < most
    assert (cut.start(numbers) <= values).all()
    assert (cut.start(numbers + 1) > values).all()


def test_months_and_weeks_begin_where_the_calendar_has_them():
    def starts(first, last, most):
        ends = np.array([first, last], dtype="M8[us]").astype(np.int64)
        cut = time_intervals(*ends.tolist(), most)
        return [str(start) for start in cut.start(cut.number(ends)).astype("M8[us]").astype("M8[D]")]

    assert starts("1993-04-06", "1993-12-31", 12) == ["1993-04-01", "1993-12-01"]
    assert starts("1993-04-06", "1993-04-30", 5) == ["1993-04-05", "1993-04-26"]  # Mondays
    assert starts("1987-05-01", "2024-05-01", 5) == ["1980-01-01", "2020-01-01"]
    assert starts("2024-02-03T05:06", "2024-02-09", 7) == ["2024-02-03", "2024-02-09"]


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 3)), max_size=20), max_size=6))
def test_pairs_are_counted_whatever_the_parts(parts):
    arrays = [
        (pa.array([value for value, _ in part], pa.string()), np.array([topic for _, topic in part], dtype=np.int64))
        for part in parts
    ]
    rows = count_pairs(arrays, pa.string()).to_pylist()
    assert {(row["value"], row["topic"]): row["count"] for row in rows} == Counter(
        pair for part in parts for pair in part
    )


def test_a_breakdown_counts_and_compares(dated):
    table = topics_by(dated.topics, "subject")
    expected = truth(dated, lambda name: dated.subjects[name])
    assert {(row["value"], row["topic"]): row["count"] for row in table.to_pylist()} == expected
    largest = table.slice(0, 1).to_pylist()[0]
    total = sum(expected.values())
    size = sum(count for (_, topic), count in expected.items() if topic == largest["topic"])
    assert (largest["value"], largest["documents"]) == ("space", 110)
    assert largest["share"] == pytest.approx(largest["count"] / 110)
    assert largest["lift"] == pytest.approx(largest["share"] / (size / total))


def test_a_breakdown_by_numbers_and_dates(dated):
    assert sorted(topics_by(dated.topics, "year").column("value").unique().to_pylist()) == [1991, 1992, 1995, 1999]
    assert topics_by(dated.topics, "day").schema.field("value").type == pa.date32()


@pytest.mark.parametrize(("column", "message"), [("size", "holds double: a breakdown needs"), ("none", "no column")])
def test_columns_that_a_breakdown_cannot_use(dated, column, message):
    with pytest.raises(UsageError, match=message):
        topics_by(dated.topics, column)
