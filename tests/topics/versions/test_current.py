"""A document's current topic, against the rule in pandas that the tables promise."""

from __future__ import annotations

import lance
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.topics.schema import ASSIGNMENTS
from pipeline.topics.versions import current
from pipeline.topics.versions.current import VersionRange, current_rows


def rows_of(writes):
    """Assignments, given for each version (1…) the topics of the documents that it writes."""
    rows = [
        {"version": version, "model": f"m{version}", "id": str(name), "topic": topic, "nearest": 0, "score": 0.0}
        for version, written in enumerate(writes, 1)
        for name, topic in written.items()
    ]
    return pa.Table.from_pylist([{**row, "margin": 0.0, "slice": None} for row in rows], schema=ASSIGNMENTS)


written = st.dictionaries(st.integers(0, 8), st.integers(-1, 5), max_size=8)


@settings(max_examples=25)
@given(writes=st.lists(written, min_size=1, max_size=5), data=st.data())
def test_it_is_that_of_the_highest_version_of_the_range(writes, data):
    last = data.draw(st.integers(1, len(writes)))
    first = data.draw(st.integers(1, last))
    table = rows_of(writes)
    stray = [{**row, "model": "stray", "topic": 99} for row in table.slice(0, 1).to_pylist()]
    stray = pa.Table.from_pylist(stray, schema=ASSIGNMENTS)
    dataset = lance.write_dataset(pa.concat_tables([table, stray]), "memory://", schema=ASSIGNMENTS)
    versions = VersionRange(first, last, tuple(f"m{version}" for version in range(first, last + 1)))
    found = [batch.to_pylist() for batch in current_rows(dataset, versions, ["id", "topic"])]
    found = {row["id"]: row["topic"] for rows in found for row in rows}
    frame = table.to_pandas()
    frame = frame[(frame.version >= first) & (frame.version <= last)]
    expected = frame.sort_values("version").drop_duplicates("id", keep="last")
    assert found == dict(zip(expected["id"], expected["topic"], strict=True))


def test_only_the_columns_asked_for_come(monkeypatch, tmp_path):
    monkeypatch.setattr(current, "BATCH_ROWS", 2)
    dataset = lance.write_dataset(rows_of([{1: 0, 2: 0, 3: 1}, {2: 5}]), str(tmp_path / "a.lance"))
    versions = VersionRange(1, 2, ("m1", "m2"))
    topics = pa.Table.from_batches(current_rows(dataset, versions, ["topic"]))
    assert topics.column_names == ["topic"]
    assert sorted(topics["topic"].to_pylist()) == [0, 1, 5]
