"""Refused rows are masked in the commit that refuses them: nothing is written again, and nothing shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.table import Committer, TableLocation, VectorTable, stage
from pipeline.table.fragments.compaction import compact, drop_deleted
from pipeline.table.fragments.deletion_files import next_fragment_id
from pipeline.table.fragments.orphans import orphans


def rows(table_lab, ids, slice_, source="s"):
    return table_lab.as_rows(
        [
            {"id": f"d{one}", "text": f"text {one}", "source": source, "slice": slice_, "row": row}
            for row, one in enumerate(ids)
        ]
    )


@pytest.fixture
def location(table_lab, uri):
    table_lab.create(uri)
    return TableLocation.parse(uri)


def ids(location):
    return sorted(VectorTable.open(location).dataset().to_table(columns=["id"]).column("id").to_pylist())


def test_half_of_the_rows_are_duplicates_and_hardly_a_byte_is_written_for_nothing(table_lab, location):
    random = np.random.default_rng(7)
    with Committer(location, "r", max_rows=200) as committer:
        for number in range(20):
            committer.add(stage(location, rows(table_lab, random.integers(0, 450, 50), number)))
    table = VectorTable.open(location)
    refused = table.rejects().num_rows
    assert refused == 1000 - table.count_rows()
    assert 400 < refused < 700, "about half of them, as the name says"
    written = sum(file.stat().st_size for file in Path(f"{location.uri}/data").iterdir())
    assert sum(orphans(location).values()) <= 0.1 * written
    assert len(ids(location)) == len(set(ids(location)))
    table.dataset().validate()


def test_masked_rows_are_found_by_no_index_and_go_with_a_compaction(table_lab, location):
    with Committer(location, "r") as committer:
        committer.add(stage(location, rows(table_lab, range(40), 1)))
        committer.flush()
        committer.add(stage(location, rows(table_lab, range(20, 60), 2, "t")))
    table = VectorTable.open(location)
    assert ids(location) == sorted(f"d{number}" for number in range(60))
    table.index(min_bytes=0)
    assert table.search("text 25", mode="text", k=100).column("id").to_pylist().count("d25") == 1
    dataset = table.dataset()
    compact(location, dataset, few=0)
    drop_deleted(location, dataset)
    assert dataset.stats.dataset_stats()["num_deleted_rows"] == 0
    assert ids(location) == sorted(f"d{number}" for number in range(60))


def test_a_number_is_never_given_twice(table_lab, location):
    """Indexes know fragments by number: one that was used before would count as covered."""
    with Committer(location, "r") as committer:
        for number in range(3):
            committer.add(stage(location, rows(table_lab, range(10 * number, 10 * number + 10), number)))
            committer.flush()
    dataset = VectorTable.open(location).dataset()
    assert next_fragment_id(dataset) == 3
    dataset.delete("slice > 0")
    assert [fragment.fragment_id for fragment in dataset.get_fragments()] == [0]
    assert next_fragment_id(dataset) == 3
    with Committer(location, "r") as committer:
        committer.add(stage(location, rows(table_lab, [5, 100], 7, "t")))
    dataset = VectorTable.open(location).dataset()
    assert [fragment.fragment_id for fragment in dataset.get_fragments()] == [0, 3]
    assert next_fragment_id(dataset) == 4


def test_a_commit_of_masked_and_whole_fragments_numbers_them_all(table_lab, location):
    with Committer(location, "r") as committer:
        committer.add(stage(location, rows(table_lab, range(5), 1)))
        committer.flush()
        committer.add(stage(location, rows(table_lab, [10, 11], 2)))
        committer.add(stage(location, rows(table_lab, [0, 12], 3)))
        committer.add(stage(location, rows(table_lab, [1, 2], 4)))
        committer.add(stage(location, rows(table_lab, [13], 5)))
    dataset = VectorTable.open(location).dataset()
    assert [(each.fragment_id, each.count_rows()) for each in dataset.get_fragments()] == [
        (0, 5),
        (1, 2),
        (2, 1),
        (3, 1),
    ]
    assert ids(location) == sorted(f"d{number}" for number in [*range(5), 10, 11, 12, 13])
