"""What a table knows of input files from earlier runs: the versions that it saw, what is staged of changed ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from pipeline.table.companions.files import NO_RUN, read_files
from pipeline.table.companions.journal import read_journal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.corpus import SourceFile
    from pipeline.table import TableLocation

__all__ = ["History"]


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
