"""What a table knows of input files from earlier runs: the versions that it saw, what is staged of changed ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.rejects import UNREADABLE
from pipeline.storage import is_local, local_path
from pipeline.table.companions.files import NO_RUN, read_files
from pipeline.table.companions.journal import read_journal
from pipeline.table.companions.rejects import read_rejects
from pipeline.table.companions.runs import read_runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.corpus import SourceFile
    from pipeline.table import TableLocation

__all__ = ["History", "unreadable_and_written_since"]


@dataclass(frozen=True, slots=True)
class History:
    """The files that a table has seen."""

    versions: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """URI → the versions that were begun."""
    begun: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """(URI, version) that were begun and not taken back since: slices of theirs may be finished."""
    _slices: dict[tuple[str, str], list[int]] = field(default_factory=dict[tuple[str, str], list[int]])
    """(URI, version) → slices that wait in the journal."""

    @classmethod
    def load(cls, location: TableLocation) -> Self:
        """Read the file records and the journal beside a table."""
        files = read_files(location)
        history = cls()
        for row in files.select(["uri", "version", "run"]).to_pylist():
            history.versions.setdefault(row["uri"], set()).add(row["version"])
            if row["run"] != NO_RUN:
                history.begun.add((row["uri"], row["version"]))
        for row in read_journal(location).to_pylist():
            history._slices.setdefault((row["uri"], row["version"]), []).append(row["slice"])
        return history

    @property
    def journaled(self) -> set[str]:
        """The files of which something waits in the journal."""
        return {uri for uri, _ in self._slices}

    def knows(self, file: SourceFile) -> bool:
        """Whether this version of `file` was begun, and not taken back since."""
        return (file.uri, file.version) in self.begun

    def knows_other(self, file: SourceFile) -> bool:
        """Whether another version of `file` was begun, so that rows of it may be in the table."""
        return not self.versions.get(file.uri, set()) <= {file.version}

    def staged(self, files: Iterable[SourceFile]) -> np.ndarray:
        """The slices of `files` that are staged already, int64."""
        found = [self._slices.get((file.uri, file.version), []) for file in files]
        return np.array([number for slices in found for number in slices], np.int64)


def unreadable_and_written_since(location: TableLocation) -> pa.Table:
    """The rejects (REJECTS) of unreadable files of this machine that were written again after the run that met them.

    A sound copy that is put back with the size and the time of the broken one is the same version of the file. The time
    of its inode is the one thing that cannot be put back. In object storage a new object has another etag or time.
    """
    rejected = read_rejects(location, pc.field("reason") == UNREADABLE)
    if not rejected.num_rows:
        return rejected
    runs = read_runs(location)
    started = dict(zip(*(runs.column(name).to_pylist() for name in ("run", "started")), strict=True))
    written = {uri: _written(uri) for uri in rejected.column("source").unique().to_pylist()}
    met = zip(*(rejected.column(name).to_pylist() for name in ("source", "run")), strict=True)
    since = [run in started and written[uri] > started[run].timestamp() for uri, run in met]
    return rejected.filter(pa.array(since, pa.bool_()))


def _written(uri: str) -> float:
    """When the inode of a file of this machine last changed, in seconds since 1970; of others 0."""
    try:
        return Path(local_path(uri)).stat().st_ctime if is_local(uri) else 0.0
    except OSError:  # it is gone
        return 0.0
