"""Dates, times and durations as people write them."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.table.query.times import count_of

US, UTC = pa.timestamp("us"), pa.timestamp("us", "UTC")


@given(value=st.datetimes(timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=-4, minutes=-30))])))
def test_instants_are_those_of_python(value):
    micros = (value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    assert count_of(value.isoformat(), UTC) == micros
    assert count_of(str(value), UTC) == micros
    assert count_of(value.replace(tzinfo=None).isoformat(), UTC) is None


@given(value=st.datetimes())
def test_times_without_a_zone_are_those_of_python(value):
    assert count_of(value.isoformat(), US) == (value - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)  # noqa: DTZ001
    assert count_of(value.date().isoformat(), pa.date32()) == (value.date() - dt.date(1970, 1, 1)).days
    assert count_of(value.time().isoformat(), pa.time64("us")) is not None


@pytest.mark.parametrize(
    ("text", "kind", "count"),
    [
        ("2020-09-13", US, 1_599_955_200_000_000),
        ("2020-09-13T00:00", pa.date32(), 18_518),
        ("2020-09-13", pa.date64(), 18_518 * 86_400_000),
        ("10000-01-01T00:00:00Z", UTC, 253_402_300_800_000_000),
        ("1970-01-01T00:00:00+0130", UTC, -5_400_000_000),
        ("1970-01-01T00:00:00-01", UTC, 3_600_000_000),
        ("0.000000001s", pa.duration("ns"), 1),
        ("1.5h", pa.duration("s"), 5400),
        ("-2 d", pa.duration("ms"), -172_800_000),
        ("250us", pa.duration("ms"), None),
        ("0.000000005m", pa.duration("ns"), 300),
        ("0.5ns", pa.duration("ns"), None),
        ("1y", pa.duration("s"), None),
        ("90", pa.duration("s"), None),
        ("2020-02-30", US, None),
        ("2020-1-1", US, None),
        ("20-01-01", US, None),
        ("now", US, None),
        ("NaT", US, None),
        ("", US, None),
        ("2020-09-13T24:00:00", US, None),
        ("2020-09-13T12:26:40.1234567891", pa.timestamp("ns"), None),
        ("٢٠٢٠-09-13", US, None),
        ("12:60", pa.time32("s"), None),
    ],
)
def test_texts(text, kind, count):
    assert count_of(text, kind) == count
