"""Commits: staged rows become part of the table, exactly once, whatever dies and whoever else is writing.

    worker   1 stage            data files, named by no version             dies: orphan files, nothing else
    driver   2 open             newest version V; absorb what others added
             3 admit            whole slices not stored yet, ids not taken; the refused become rejects
             4 rejects          upsert by slice and row                     dies: slice redone, rejects replaced
             5 compare-and-swap Merge(fragments of V + ours) on V           dies before: as above; after: it is in
                                lost: somebody moved the table, back to 2
             6 files            input files all of whose slices are in      dies: the file is looked at again

The table's ``slice`` column is the ledger: rows and their slice numbers become visible in the same instant (5), so no
crash can part them. Merge with ``max_retries=0`` conflicts with any append, merge, rewrite or delete in between;
Append does not (it would rebase and double the rows).

Rejects come before the swap, because a slice without any accepted row has no swap to hang on. A driver that
dies or loses after 4 can leave a reject for a row that another commit accepts; a row in the table outweighs its
reject, and opening and closing a `Committer` remove such rejects (`pipeline.table.rejects`).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from pipeline.errors import CommitError, MoeeError, TableNotFoundError
from pipeline.table.admit import admit
from pipeline.table.files import record_files
from pipeline.table.ledger import Ledger
from pipeline.table.pending import Pending
from pipeline.table.rejects import as_rejects, drop_stale, write_rejects
from pipeline.table.staging import Staged, keep_rows, schema_key
from pipeline.table.store import open_dataset
from pipeline.table.swap import holds, swap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    import lance
    import numpy as np
    import pyarrow as pa

    from pipeline.table.files import FileRecord
    from pipeline.table.location import TableLocation

__all__ = ["Committed", "Committer", "reached"]

logger = logging.getLogger(__name__)

_ATTEMPTS: Final = 50
"""Lost races before a commit gives up; each loss means that somebody else won."""


def reached(step: str) -> None:
    """Note that the protocol has come to `step`; the crash tests die here."""
    logger.debug("commit: %s", step)


@dataclass(frozen=True, slots=True)
class Committed:
    """One commit as it was placed: the table's version, and how many rows and rejects it added."""

    version: int
    rows: int
    rejects: int


class Committer:
    """The driver's end: collects what the workers staged and commits it. Safe to use from several threads.

    Args:
        location: an existing table.
        run: name of the run, stored with every reject.
        max_rows: commit as soon as this many rows and rejects wait.
        max_seconds: a timer commits what has waited this long; on arrival alone the tail would stall.
        unique_ids: ids were derived from source and row; the check then looks at rows of the same sources only.
        slices_of: the slices of a finished input file. Without it, files are recorded when the run has ended well.
        on_commit: called after every commit, from whichever thread made it.

    Raises:
        TableNotFoundError: there is no table.
        TableError: it cannot be read or written.
    """

    def __init__(
        self,
        location: TableLocation,
        run: str,
        *,
        max_rows: int = 65_536,
        max_seconds: float = 30.0,
        unique_ids: bool = False,
        slices_of: Callable[[FileRecord], Iterable[int]] | None = None,
        on_commit: Callable[[Committed], None] | None = None,
    ) -> None:
        self.location, self.run = location, run
        self.max_rows, self.max_seconds, self.unique_ids = max_rows, max_seconds, unique_ids
        self.rows = self.rejects = self.commits = 0
        self._slices_of, self._on_commit = slices_of, on_commit
        drop_stale(location, self._open())
        self.ledger = Ledger.load(location)
        self._pending = Pending()
        self._files: list[FileRecord] = []
        self._failure: BaseException | None = None
        self._guard, self._committing, self._closed = threading.Lock(), threading.Lock(), threading.Event()
        self._timer = threading.Thread(target=self._tick, name="committer", daemon=True)
        self._timer.start()

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
            if not self._pending.size:
                self._pending.since = time.monotonic()
            if staged is not None and staged.n_rows:
                self._pending.parts.append(staged)
            if rejects is not None and rejects.num_rows:
                self._pending.rejects.append(as_rejects(rejects, self.run))
            self._files += files
            full = self._pending.size >= self.max_rows
        if full:
            self.flush()

    def flush(self) -> None:
        """Commit what is waiting.

        Raises:
            CommitError: the table was moved under every one of many attempts.
            TableError: the storage refused.
        """
        self._check()
        with self._committing:
            with self._guard:
                pending, self._pending = self._pending, Pending()
                files = list(self._files)
            try:
                if pending.size:
                    self._commit(pending)
                if self._slices_of is not None:
                    self._record_files(files)
            except BaseException as error:
                self._failure = error
                raise

    def close(self) -> None:
        """Commit the rest, record finished files, and remove rejects that other commits have overtaken."""
        self._stop()
        self.flush()
        if self._slices_of is None and self._files:
            record_files(self.location, self._files, self.run)
            self._files = []
        drop_stale(self.location, self._open())

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _stop(self) -> None:
        self._closed.set()
        self._timer.join()

    def _tick(self) -> None:
        while not self._closed.wait(max(self.max_seconds / 4, 0.01)):
            waited = time.monotonic() - self._pending.since
            if self._pending.size and waited >= self.max_seconds:
                try:
                    self.flush()
                except BaseException:
                    return

    def _open(self) -> lance.LanceDataset:
        dataset = open_dataset(self.location)
        if dataset is None:
            raise TableNotFoundError(f"there is no table {self.location} (any more) to commit to")
        return dataset

    def _commit(self, pending: Pending) -> None:
        """Steps 2 to 5, until the swap succeeds."""
        touched = pending.slices()
        attempted: list[str] = []
        for attempt in range(_ATTEMPTS):
            dataset = self._open()
            if attempted and holds(dataset, attempted):
                break
            self.ledger.absorb(dataset, self.location)
            reached("opened")
            self._admit(dataset, pending)
            reached("admitted")
            write_rejects(self.location, pending.sized_rejects())
            reached("rejects written")
            attempted = [fragment for part in pending.parts for fragment in part.fragments]
            if not attempted or swap(self.location, dataset, attempted, f"moee {self.run}"):
                break
            pending.contested = True
            time.sleep(min(0.01 * 2**attempt, 1.0) * random.random())  # noqa: S311 — spreads rivals, guards nothing
        else:
            raise CommitError(f"{self.location} was changed by others during {_ATTEMPTS} attempts to commit: try again")
        reached("committed")
        self._account(pending, touched)

    def _admit(self, dataset: lance.LanceDataset, pending: Pending) -> None:
        """Step 3; what is refused stays refused in later attempts."""
        admission = admit(self.location, dataset, self.ledger, pending.parts, unique_ids=self.unique_ids)
        layout = schema_key(dataset)
        parts: list[Staged] = []
        for part, keep in zip(pending.parts, admission.keep, strict=True):
            if keep.all() and part.schema_key == layout:
                parts.append(part)
            elif keep.any():
                parts.append(keep_rows(self.location, dataset, part, keep))
        pending.parts = parts
        pending.contested |= admission.contested
        if admission.rejects.num_rows:
            pending.rejects.append(as_rejects(admission.rejects, self.run))

    def _account(self, pending: Pending, touched: np.ndarray) -> None:
        """Remember what is finished now, tell who wants to know, and tidy up after a race."""
        dataset = self._open()
        self.ledger.absorb(dataset, self.location)
        self.ledger.note_rejected(touched[~self.ledger.is_stored(touched)])
        if pending.contested:
            drop_stale(self.location, dataset)
        rows, rejects = sum(part.n_rows for part in pending.parts), pending.sized_rejects().num_rows
        self.rows, self.rejects, self.commits = self.rows + rows, self.rejects + rejects, self.commits + 1
        logger.info("committed version %d of %s: %d rows, %d rejects", dataset.version, self.location, rows, rejects)
        if self._on_commit is not None:
            self._on_commit(Committed(dataset.version, rows, rejects))

    def _record_files(self, files: Sequence[FileRecord]) -> None:
        """Step 6."""
        assert self._slices_of is not None
        complete = [record for record in files if self.ledger.are_done(self._slices_of(record))]
        if complete:
            record_files(self.location, complete, self.run)
            reached("files recorded")
            recorded = {(record.uri, record.version) for record in complete}
            with self._guard:
                self._files = [record for record in self._files if (record.uri, record.version) not in recorded]
