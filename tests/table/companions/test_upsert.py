"""Companions stay small in number of fragments, whoever else writes them at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipeline.rejects import as_of_run
from pipeline.table import TableLocation
from pipeline.table.companions.rejects import read_rejects, write_rejects
from pipeline.table.fragments.compaction import MAX_SMALL_FRAGMENTS
from pipeline.table.store import open_dataset

WRITERS, WRITES = 3, 80


def test_writers_whose_compactions_meet_lose_nothing(table_lab, uri):
    """A driver, its tracker and a deletion write rejects from processes of their own."""
    table_lab.create(uri)
    location = TableLocation.parse(uri)

    def write(writer):
        for number in range(writer, WRITERS * WRITES, WRITERS):
            row = {"id": f"{number}", "source": "s", "slice": number, "row": 0, "stage": "check", "reason": "empty"}
            write_rejects(location, as_of_run(table_lab.as_rejects([row | {"detail": ""}]), "r"))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    assert sorted(read_rejects(location).column("slice").to_pylist()) == list(range(WRITERS * WRITES))
    assert len(open_dataset(location.sibling("rejects")).get_fragments()) < 2 * MAX_SMALL_FRAGMENTS
