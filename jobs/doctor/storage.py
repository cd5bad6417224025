"""The table's storage: can a table be made there, by one creator only, read and removed; and the table itself."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import lance
import pyarrow as pa

from jobs.doctor.finding import Finding, ok, size
from pipeline.errors import MoeeError, TableError, TableNotFoundError
from pipeline.storage import filesystem, fsspec_errors
from pipeline.table import VectorTable
from pipeline.table.companions.lease import read_holder
from pipeline.table.location import TableLocation
from pipeline.table.store import create_dataset, storage_errors
from pipeline.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["examine_storage"]

MAX_CLOCK_SECONDS: Final = 60.0
"""Signed requests are refused from 15 minutes on; versions are dropped by age."""

MIN_DISK: Final = 1 << 30

_BOUNDS: Final = {"connect_timeout": "5s", "timeout": "10s", "client_max_retries": "1"}
"""Lance's own: it would ask ten times."""
_SCHEMA: Final = pa.schema([pa.field("probe", pa.int64())])


def examine_storage(location: TableLocation, options: Mapping[str, Any] | None) -> list[Finding]:
    """Make and remove a small table beside `location`, then look at the one that is there."""
    if not location.is_local:
        location = TableLocation(location.directory, location.name, {**_BOUNDS, **location.options})
    directory = Path(location.directory)
    if location.is_local and not directory.exists():
        return _nowhere_yet(directory)
    there = _table(location)
    try:
        return [*_probed(location, options), *_disk(location), *there]
    except MoeeError as error:
        why = "runs write there: rows, and who is at work"
        readable = [] if there[0].state == "problem" else there  # else it says the same once more
        return [Finding(str(error), "problem", why, _way_out(location, str(error))), *readable]


def _probed(location: TableLocation, options: Mapping[str, Any] | None) -> list[Finding]:
    """The way of every commit: by Lance, where only one may be first; then by fsspec, which sources are read by."""
    probe = location.sibling(f"doctor-{secrets.token_hex(4)}")
    began = time.perf_counter()
    create_dataset(probe, _SCHEMA)
    try:
        overwritten = _second_may_create(probe)
        with storage_errors("read", probe):
            lance.dataset(probe.uri, storage_options=dict(probe.options) or None).count_rows()
        clock = [] if probe.is_local else _clock(probe, options)
    finally:
        left = _removed(probe)
    took = time.perf_counter() - began
    found = [ok(f"wrote, read and removed a table beside it in {took:.1f} s")] if left is None else [left]
    if overwritten:
        why = "two runs at once would overwrite each other: the storage lacks conditional writes (If-None-Match)"
        found.append(Finding("a second creator overwrote the first", "problem", why, "use a storage that has them"))
    return [*found, *clock]


def _second_may_create(probe: TableLocation) -> bool:
    """Whether a table that is there can be made once more, as none may."""
    try:
        lance.LanceDataset.commit(
            probe.uri,
            lance.LanceOperation.Overwrite(_SCHEMA, []),
            read_version=0,
            max_retries=0,
            storage_options=dict(probe.options) or None,
        )
    except OSError:
        return False
    return True


def _removed(probe: TableLocation) -> Finding | None:
    """Remove the probe; what is to be said where that fails."""
    try:
        with storage_errors("remove", probe):
            lance.LanceDataset.drop(probe.uri, dict(probe.options) or None, ignore_not_found=True)
    except TableError as error:
        why = "deletions, and what dead runs leave, stay for good"
        return Finding(str(error), "problem", why, f"allow deletions below {probe.directory}; then remove {probe.uri}")
    return None


def _clock(probe: TableLocation, options: Mapping[str, Any] | None) -> list[Finding]:
    """How far this machine's clock is from the storage's, where that tells."""
    with fsspec_errors(f"{probe.uri}: cannot be listed", TableError):
        fs, path = filesystem(probe.uri, options)
        try:
            made: datetime = fs.modified(fs.find(path)[-1])
        except NotImplementedError:
            return []
    ahead = time.time() - made.timestamp()
    if abs(ahead) <= MAX_CLOCK_SECONDS:
        return [ok("its clock and this machine's agree")]
    what = f"this machine's clock is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} the storage's"
    return [Finding(what, "problem", "requests are refused from 15 minutes on", "sudo timedatectl set-ntp true")]


def _disk(location: TableLocation) -> list[Finding]:
    if not location.is_local:
        return []
    free = shutil.disk_usage(location.directory).free
    what = f"disk of {location.directory}: {size(free)} free"
    if free >= MIN_DISK:
        return [ok(what)]
    do = f"moee index {location} --clean 7  (drops older versions)"
    return [Finding(what, "problem", "a run that fills it stops, and can hardly tidy up", do)]


def _table(location: TableLocation) -> list[Finding]:
    try:
        table = VectorTable.open(location)
        found = [ok(f"version {table.dataset().version}, {counted(table.count_rows(), 'row')}, {table.spec.model}")]
        holder = read_holder(location)
    except TableNotFoundError:
        return [ok("no table there yet; the first run makes it")]
    except MoeeError as error:
        return [Finding(str(error), "problem", "it can be neither searched nor added to", f"moee inspect {location}")]
    if holder is None or holder.is_gone:
        return [*found, ok("nobody is writing into it")]
    why = "a second run waits, or ends with status 1"
    return [*found, Finding(f"{holder} is writing into it", "note", why, "moee embed … --wait 600")]


def _nowhere_yet(directory: Path) -> list[Finding]:
    """Nothing is made there: whether the first run can, is told by who may write where it will begin."""
    nearest = next(path for path in directory.parents if path.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return [ok(f"{directory} is not there yet; the first run makes it")]
    return [Finding(f"{directory} is not there, and cannot be made", "problem", f"{nearest} cannot be written", "")]


def _way_out(location: TableLocation, said: str) -> str:
    if location.is_local:
        return f"ls -ld {location.directory}"
    if "credentials" in said:
        return "export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… AWS_REGION=…"
    return (
        f"check address, region and endpoint, and that all may be read, written and deleted below {location.directory}"
    )
