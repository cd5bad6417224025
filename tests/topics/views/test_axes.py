from __future__ import annotations

import lance
import pyarrow as pa

from pipeline.topics.views import axes, topics_by, topics_over


def test_columns_are_offered_that_the_views_take(dated):
    over, by = axes(dated.topics.tables.vectors())
    assert over == {"year", "time", "day"}  # one of the texts is no time
    assert by == {"subject", "year"}  # of the others each document has its own value
    for column in over:
        assert topics_over(dated.topics, column).num_rows
    for column in by:
        assert topics_by(dated.topics, column).num_rows


def test_texts_are_times_where_all_are_and_lists_and_empty_columns_are_nothing(tmp_path):
    columns = {
        "iso": ["2024-01-01", "2024-05-01T10:00:00Z", None, "2024-05-01"],
        "coded": pa.array(["a", "b", "a", "b"]).dictionary_encode(),
        "title": ["one", "two", "three", "four"],
        "tags": [["a"], ["a"], ["a"], ["b"]],
        "empty": pa.nulls(4, pa.string()),
        "price": [0.5, 0.5, 0.5, 0.5],
    }
    dataset = lance.write_dataset(pa.table({"id": list("abcd"), **columns}), str(tmp_path / "t.lance"))
    assert axes(dataset) == ({"iso"}, {"coded"})
