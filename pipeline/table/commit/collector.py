"""What waits for the next commit, and when that is due: after enough rows or seconds, and not too often.

A commit costs more the more fragments a table has. So after one the next waits nine times as long as it took, and
commits take at most a tenth of the driver's time. While they wait, rows collect; beyond `MAX_WAITING_COMMITS` times a
commit's rows the stream is held back.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from pipeline.rejects import REJECTS, as_of_run
from pipeline.table.changes.replacement import ReadyFiles
from pipeline.table.companions.rejects import one_per_row
from pipeline.table.fragments.staging import Staged, restage, schema_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import lance

    from pipeline.corpus import FileRecord
    from pipeline.table.changes.replacement import Replacement
    from pipeline.table.commit.admission import Admission
    from pipeline.table.location import TableLocation

__all__ = ["Collector", "Pending"]

SPACING: Final = 9.0
"""Seconds between commits for each second that the last one took."""

MAX_WAITING_COMMITS: Final = 8
"""Rows and rejects that may wait, as a multiple of those that make a commit due."""


@dataclass(slots=True)
class Pending:
    """Staged parts and rejects (REJECTS) of whole slices, as they arrived."""

    parts: list[Staged] = field(default_factory=list[Staged])
    rejects: list[pa.Table] = field(default_factory=list[pa.Table])
    files: list[FileRecord] = field(default_factory=list["FileRecord"])
    """Input files whose end was seen."""
    since: float = field(default_factory=time.monotonic)
    """When the first of them arrived, in monotonic seconds."""
    contested: bool = False
    """Whether another driver was seen at the same slices."""
    ready: ReadyFiles = field(default_factory=ReadyFiles)
    """Changed files whose older rows go in the same commit; their parts and rejects are among the others."""

    def add(self, ready: ReadyFiles) -> None:
        """Add changed files that are all there."""
        self.ready = ready
        self.parts += ready.parts
        self.rejects += ready.rejects

    def keep_admitted(
        self, location: TableLocation, dataset: lance.LanceDataset, admission: Admission, run: str
    ) -> None:
        """Keep what was admitted, under the present columns of `dataset`; what was refused becomes rejects."""
        layout = schema_key(dataset)
        kept = [part.keep(mask) for part, mask in zip(self.parts, admission.keep, strict=True) if mask.any()]
        self.parts = [part if part.schema_key == layout else restage(location, dataset, part) for part in kept]
        self.contested |= admission.contested
        if admission.rejects.num_rows:
            self.rejects.append(as_of_run(admission.rejects, run))

    @property
    def size(self) -> int:
        """How many rows and rejects wait."""
        return sum(part.n_rows for part in self.parts) + sum(table.num_rows for table in self.rejects)

    def slices(self) -> pa.Table:
        """The distinct slices of all rows and rejects: slice, source."""
        rows = [*(part.keys for part in self.parts), REJECTS.empty_table(), *self.rejects]
        joined = pa.concat_tables([table.select(["slice", "source"]) for table in rows], promote_options="default")
        return joined.group_by("slice").aggregate([("source", "min")]).rename_columns(["slice", "source"])

    def all_rejects(self) -> pa.Table:
        """All rejects (REJECTS), one for each slice and row."""
        return one_per_row(pa.concat_tables([REJECTS.empty_table(), *self.rejects]))


class Collector:
    """Collects from several threads, hands over from one at a time.

    Args:
        commit: given what waits, rows for the journal, and whether all has been collected and nothing will follow.
        replacement: takes what is of changed files.
        max_rows: a commit is due as soon as this many rows and rejects wait.
        max_seconds: a timer commits what has waited this long; on arrival alone the tail would stall.
    """

    def __init__(
        self,
        commit: Callable[[Pending, pa.Table, bool], None],
        replacement: Replacement,
        *,
        max_rows: int,
        max_seconds: float,
    ) -> None:
        self._commit, self._replacement = commit, replacement
        self._max_rows, self._max_seconds = max_rows, max_seconds
        self._pending = Pending()
        self._not_before = 0.0
        self._failure: BaseException | None = None
        self._guard, self._committing, self._closed = threading.Lock(), threading.Lock(), threading.Event()
        self._timer = threading.Thread(target=self._tick, name="committer", daemon=True)
        self._timer.start()

    def add(self, staged: Staged | None, rejected: pa.Table | None, files: Sequence[FileRecord]) -> None:
        """Take in the outcome of whole slices; commits if that is due, and waits where too much is waiting.

        Raises:
            TableError: this or an earlier commit failed; nothing of it is in the table.
        """
        self._raise_failure()
        with self._guard:
            if not self._size:
                self._pending.since = time.monotonic()
            refused = REJECTS.empty_table() if rejected is None else rejected
            staged, refused, others = self._replacement.take(staged, refused, files)
            if staged is not None and staged.n_rows:
                self._pending.parts.append(staged)
            if refused.num_rows:
                self._pending.rejects.append(refused)
            self._pending.files += others
        if self._size >= MAX_WAITING_COMMITS * self._max_rows:
            self._closed.wait(max(self._not_before - time.monotonic(), 0.0))
        self._flush_if_due()

    def flush(self, *, last: bool = False) -> None:
        """Commit at once what is waiting.

        Raises:
            CommitError: the table was moved under every one of many attempts.
            TableError: the storage refused.
        """
        self._raise_failure()
        with self._committing:
            self._flush(last=last)

    def stop(self) -> None:
        """No commits by the timer from here on."""
        self._closed.set()
        self._timer.join()

    @property
    def waiting(self) -> tuple[int, float]:
        """How many rows and rejects wait, and for how many seconds the oldest of them has."""
        size = self._size
        return size, time.monotonic() - self._pending.since if size else 0.0

    @property
    def _size(self) -> int:
        return self._pending.size + self._replacement.size

    def _is_due(self) -> bool:
        now = time.monotonic()
        is_enough = self._size >= self._max_rows or now - self._pending.since >= self._max_seconds
        return bool(self._size) and is_enough and now >= self._not_before

    def _flush_if_due(self) -> None:
        if self._is_due():
            with self._committing:
                if self._is_due():  # and not committed by the other thread just now
                    self._flush(last=False)

    def _flush(self, *, last: bool) -> None:
        with self._guard:
            pending, self._pending = self._pending, Pending()
            entries = self._replacement.drain()
        began = time.monotonic()
        try:
            self._commit(pending, entries, last)
        except BaseException as error:
            self._failure = error
            raise
        ended = time.monotonic()
        self._not_before = ended + SPACING * (ended - began)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _tick(self) -> None:
        while not self._closed.wait(max(self._max_seconds / 8, 0.01)):
            try:
                self._flush_if_due()
            except BaseException:  # the next `add` raises it, in the driver's own thread
                return
