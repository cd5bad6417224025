"""Collecting what is to be committed, and deciding when: after so many rows, or so many seconds, whichever is first.

The other half of a committer; what a commit is, `pipeline.table.commit.committer` says.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from pipeline.errors import MoeeError
from pipeline.table.commit.pending import Pending
from pipeline.table.companions.rejects import as_rejects
from pipeline.table.schema import REJECTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import pyarrow as pa

    from pipeline.table.changes.replacement import Replacement
    from pipeline.table.companions.files import FileRecord
    from pipeline.table.fragments.staging import Staged

__all__ = ["Collector"]

logger = logging.getLogger(__name__)


class Collector(ABC):
    """Collects from several threads, hands over from one at a time.

    Args:
        run: name of the run, stored with every reject.
        replacement: takes what is of changed files.
        max_rows: hand over as soon as this many rows and rejects wait.
        max_seconds: a timer hands over what has waited this long; on arrival alone the tail would stall.
    """

    def __init__(self, run: str, replacement: Replacement, *, max_rows: int, max_seconds: float) -> None:
        self.run, self.max_rows, self.max_seconds = run, max_rows, max_seconds
        self._replacement = replacement
        self._pending = Pending()
        self._failure: BaseException | None = None
        self._guard, self._committing, self._closed = threading.Lock(), threading.Lock(), threading.Event()
        self._timer = threading.Thread(target=self._tick, name="committer", daemon=True)
        self._timer.start()

    @abstractmethod
    def _commit_all(self, pending: Pending, entries: pa.Table, *, last: bool) -> None:
        """Commit `pending`, put `entries` into the journal, and whatever follows from either.

        `last`: all has been collected, and nothing will follow.
        """

    @abstractmethod
    def _collected(self, files: Sequence[FileRecord]) -> None:
        """Note input files whose end was seen; under the guard."""

    @abstractmethod
    def _tidy(self) -> None:
        """What is left to do after the last commit."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        self._stop()
        try:
            self.flush()
        except MoeeError as second:
            logger.warning("what was still to be committed is left for the next run: %s", second)

    def add(self, staged: Staged | None, rejects: pa.Table | None = None, files: Sequence[FileRecord] = ()) -> None:
        """Take in the outcome of whole slices: their accepted rows, their rejects (REJECTS, ``run`` may be missing).

        `files` are input files whose end was seen. Commits at once if enough is waiting.

        Raises:
            TableError: this or an earlier commit failed; nothing of it is in the table.
        """
        self._check()
        with self._guard:
            if not self._waits():
                self._pending.since = time.monotonic()
            refused = REJECTS.empty_table() if rejects is None else as_rejects(rejects, self.run)
            staged, refused, others = self._replacement.take(staged, refused, files)
            if staged is not None and staged.n_rows:
                self._pending.parts.append(staged)
            if refused.num_rows:
                self._pending.rejects.append(refused)
            self._collected(others)
            full = self._pending.size + self._replacement.size >= self.max_rows
        if full:
            self.flush()

    def flush(self) -> None:
        """Commit what is waiting.

        Raises:
            CommitError: the table was moved under every one of many attempts.
            TableError: the storage refused.
        """
        self._flush(last=False)

    def _flush(self, *, last: bool) -> None:
        self._check()
        with self._committing:
            with self._guard:
                pending, self._pending = self._pending, Pending()
                entries = self._replacement.drain()
            try:
                self._commit_all(pending, entries, last=last)
            except BaseException as error:
                self._failure = error
                raise

    def close(self) -> None:
        """Commit the rest, record finished files, and remove rejects that other commits have overtaken."""
        self._stop()
        self._flush(last=True)
        self._tidy()

    def _waits(self) -> bool:
        return bool(self._pending.size or self._replacement.size)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _stop(self) -> None:
        self._closed.set()
        self._timer.join()

    def _tick(self) -> None:
        while not self._closed.wait(max(self.max_seconds / 4, 0.01)):
            waited = time.monotonic() - self._pending.since
            if self._waits() and waited >= self.max_seconds:
                try:
                    self.flush()
                except BaseException:
                    return
