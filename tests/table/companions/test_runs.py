from __future__ import annotations

from datetime import UTC, datetime

import lance
import pyarrow as pa
import pytest

from pipeline.table import TableLocation
from pipeline.table.companions.lease import Lease, read_progress
from pipeline.table.companions.runs import ended_well, finish_run, read_runs, start_run
from pipeline.table.schema import RUNS

OLD = pa.schema([RUNS.field(at) for at in range(RUNS.get_field_index("settled_version") + 1)])
"""What an older version of the package kept."""


@pytest.fixture
def location(tmp_path):
    return TableLocation.parse(str(tmp_path / "lake" / "docs"))


@pytest.fixture
def old_runs(location):
    row = {"run": "20250101T000000-0", "started": datetime(2025, 1, 1, tzinfo=UTC), "status": "finished", "tokens": 7}
    lance.write_dataset(pa.Table.from_pylist([row], schema=OLD), location.sibling("runs").uri)


def test_runs_of_an_older_version_can_be_read_and_left_as_they_are(location, old_runs):
    (row,) = read_runs(location).to_pylist()
    assert (row["tokens"], row["waited_for"], row["cost"]) == (7, None, None)
    assert ended_well(location)
    assert lance.dataset(location.sibling("runs").uri).schema.names == OLD.names


def test_the_next_run_brings_the_new_columns(location, old_runs):
    start_run(location, "20260101T000000-0", {"files": 1}, spec="{}", version_before=3, estimate='{"tokens": 5}')
    finish_run(location, "20260101T000000-0", "finished", documents=2, waited_for="reading", deaths=1)
    old, new = read_runs(location).to_pylist()
    assert (old["tokens"], old["waited_for"], old["status"]) == (7, None, "finished")
    assert (new["documents"], new["waited_for"], new["deaths"], new["version_before"]) == (2, "reading", 1, 3)
    assert (new["estimate"], new["rejects"]) == ('{"tokens": 5}', 0)
    assert lance.dataset(location.sibling("runs").uri).schema.names == RUNS.names


def test_a_holder_tells_how_far_it_is_with_every_beat_until_it_ends(location):
    said = iter(range(1000))
    with Lease(location, "me", beat=0.05, progress=lambda: {"read": next(said)}) as lease:
        first = read_progress(location)
        while read_progress(location)["read"] < first["read"] + 2:
            lease.check()
    assert first["run"] == "me"
    assert read_progress(location) is None
