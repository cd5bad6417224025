"""The runs beside a table: who wrote into it, when, with which command, and how that ended."""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.companions.lease import read_holder, read_last_told
from pipeline.table.companions.upsert import upsert
from pipeline.table.schema import RUNS
from pipeline.table.store import read_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.table.location import TableLocation

__all__ = [
    "ended_well",
    "finish_run",
    "is_secret_name",
    "mark_interrupted",
    "new_run",
    "read_runs",
    "record_collected",
    "settled_version",
    "start_run",
    "without_secrets",
]

_SECRET: Final = re.compile(
    r"secret|passw|passphrase|credential|connection_string|storage_options|api_?key|_pwd$"
    r"|(^|_)(key|token|sas|bearer|authorization)$",
    re.IGNORECASE,
)
_USERINFO: Final = re.compile(r"(?<=://)[^/@\s]+@")


def new_run() -> str:
    """A run's name: the time in UTC and eight random hexadecimal digits; sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def start_run(location: TableLocation, run: str, command: Mapping[str, Any], **columns: Any) -> None:
    """Record that `run` has begun, with `columns` of RUNS; `command` is stored without what looks like a secret."""
    command_json = json.dumps(without_secrets(dict(command)), sort_keys=True)
    begun = {"run": run, "started": datetime.now(UTC), "status": "running", "command": command_json}
    _write(location, {**columns, **begun})


def finish_run(
    location: TableLocation,
    run: str,
    status: Literal["finished", "failed", "interrupted"],
    *,
    seconds: float | None = None,
    notes: Sequence[str] = (),
    **columns: Any,
) -> None:
    """Record how `run` ended, and what it did: `columns` are those of RUNS, `notes` become part of its ``command``."""
    ended = datetime.now(UTC)
    found = read_all(location.sibling("runs"), RUNS, pc.field("run") == run).to_pylist()
    begun: dict[str, Any] = found[0] if found else {"run": run, "started": ended, "command": "{}"}
    seconds = (ended - begun["started"]).total_seconds() if seconds is None else seconds
    if notes:
        begun["command"] = json.dumps({**json.loads(begun["command"]), "notes": list(notes)}, sort_keys=True)
    counts = {"documents": 0, "tokens": 0, "rejects": 0}
    _write(location, {**begun, **counts, **columns, "ended": ended, "status": status, "seconds": seconds})


def record_collected(location: TableLocation, run: str, size: int) -> None:
    """Record that `run` has deleted orphans of `size` bytes; a run that did nothing else has no row, and gets none."""
    for row in read_all(location.sibling("runs"), RUNS, pc.field("run") == run).to_pylist():
        _write(location, {**row, "collected_bytes": size})


def mark_interrupted(location: TableLocation) -> int:
    """Record that runs which never ended were interrupted; for the holder of the lease, while no run of its own goes.

    Returns:
        How many there were.
    """
    dead = read_all(location.sibling("runs"), RUNS, pc.field("status") == "running")
    told = read_last_told(location)
    for row in dead.to_pylist():
        _write(location, {**_as_told(row, told), "status": "interrupted"})
    return dead.num_rows


def ended_well(location: TableLocation) -> bool:
    """Whether the last run, if there was one, was finished."""
    runs = read_all(location.sibling("runs"), RUNS).sort_by([("started", "ascending"), ("run", "ascending")])
    return not runs.num_rows or runs.column("status")[-1].as_py() == "finished"


def settled_version(location: TableLocation) -> int | None:
    """The newest version of the table in which, as a run has found, every rejected duplicate had its original."""
    known = read_all(location.sibling("runs"), RUNS, pc.field("settled_version").is_valid())
    return pc.max(known.column("settled_version")).as_py()


def read_runs(location: TableLocation) -> pa.Table:
    """All runs of a table, oldest first; one that nobody can be at work on any more is shown as interrupted.

    One without an end is shown as far as it was when its driver last beat.
    """
    runs = read_all(location.sibling("runs"), RUNS).sort_by([("started", "ascending"), ("run", "ascending")])
    if not pc.any(pc.equal(runs.column("status"), "running")).as_py():
        return runs
    holder = read_holder(location)
    at_work = "" if holder is None or holder.is_gone or holder.is_silent else holder.run
    told, rows = read_last_told(location), runs.to_pylist()
    for row in rows:
        if row["status"] == "running":
            row.update(_as_told(row, told), status="running" if row["run"] == at_work else "interrupted")
    return pa.Table.from_pylist(rows, schema=RUNS)


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name holds a secret."""
    return _SECRET.search(name) is not None


def without_secrets(value: Any) -> Any:
    """`value` as JSON can hold it, without credentials: by the name of their key, or as part of a URL."""
    if isinstance(value, dict):
        return {str(key): without_secrets(item) for key, item in value.items() if not is_secret_name(str(key))}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    if isinstance(value, int | float | bool) or value is None:
        return value
    return _USERINFO.sub("", str(value))


def _as_told(row: dict[str, Any], told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The row of a run that has not ended, with what its driver told with its last beat."""
    last = told.get(row["run"])
    if last is None:
        return row
    counts = {name: last[name] for name in ("documents", "tokens", "rejects", "seconds")}
    return {**row, **counts, "rows_read": last["read"]}


def _write(location: TableLocation, row: dict[str, Any]) -> None:
    upsert(location.sibling("runs"), pa.Table.from_pylist([row], schema=RUNS), ["run"])
