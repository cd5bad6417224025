"""Commits: staged rows become part of the table, exactly once, whatever dies and whoever else is writing.

    worker   1 stage            data files, named by no version             dies: orphan files, nothing else
    driver   2 open             newest version V; absorb what others added
             3 admit            whole slices not stored yet, ids not taken; the refused become rejects
             4 rejects          upsert by slice and row                     dies: slice redone, rejects replaced
             5 compare-and-swap Merge(fragments of V + ours) on V           dies before: as above; after: it is in
                                lost: somebody moved the table, back to 2
             6 files            input files all of whose slices are in      dies: the file is looked at again

A file that the table holds in an older version takes a longer way, because a reader must see all of one version or all
of the other (`pipeline.table.changes.replacement`, `pipeline.table.companions.journal`):

             a journal          instead of 2: which slices wait, and where  dies: resumed; staged slices are not redone
             b all there        every slice of the file waits, or is stored already
             c reopen           older versions no longer count as finished  dies: the file is still a changed one
             2 to 5             as above, with all that waits; ids of rows that go are free, and Merge names V's
                                fragments without these rows (`pipeline.table.fragments.deletion_files`)
             d settle           twins of what has gone, older rejects,      dies: every slice is stored, so nothing is
                                file records, then the journal's rows       exchanged, and d is done again

Why it is like this:

- The table's ``slice`` column is the ledger: rows and their slice numbers become visible in the same instant (5), so
  no crash can part them. Besides it only tombstones say that a slice is stored: all its rows may have been deleted.
- Merge with ``max_retries=0`` conflicts with any append, merge, rewrite or delete in between; Append does not (it
  would rebase and double the rows), nor do Delete and Update with appends. So it is the one operation for new rows and
  for exchanges; where it would cost seconds, `pipeline.table.commit.append` takes its place, for new rows only.
- Rejects come before the swap, because a slice without any accepted row has no swap to hang on. A driver that dies or
  loses after 4 can leave a reject for a row that another commit accepts; a row in the table outweighs its reject, and
  opening and closing a `Committer` remove such rejects (`pipeline.table.companions.rejects`).
- c comes before the swap, because a file that returns to an older version must not be skipped for a record that says
  it is finished; the journal goes last, because its fragments count as staged, not as orphans, as long as it names
  them, and must do so until a version of the table does.
- Whoever held the table's lease before us may still be running: the epoch (`fragments.orphans`) keeps a driver
  from committing files that were collected as orphans since.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipeline.errors import CommitError, TableNotFoundError
from pipeline.table.changes.duplicates import release_twins
from pipeline.table.changes.replacement import Replacement, outdated
from pipeline.table.commit.admission import admit
from pipeline.table.commit.append import forget, repair
from pipeline.table.commit.collector import Collector
from pipeline.table.commit.same_text import Copies
from pipeline.table.commit.swap import holds, swap
from pipeline.table.companions.files import record_files, reopen_older
from pipeline.table.companions.rejects import drop_stale, write_rejects
from pipeline.table.fragments.deletion_files import without
from pipeline.table.fragments.orphans import epoch_of, refuse_fenced
from pipeline.table.known.ids import KnownIds
from pipeline.table.known.ledger import Ledger
from pipeline.table.store import open_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import lance
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from pipeline.table.changes.retry import Retry
    from pipeline.table.commit.pending import Pending
    from pipeline.table.companions.files import FileRecord
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


class Committer(Collector):
    """The driver's end: collects what the workers staged and commits it. Safe to use from several threads.

    Args:
        location: an existing table.
        run: name of the run, stored with every reject.
        max_rows: commit as soon as this many rows and rejects wait.
        max_seconds: a timer commits what has waited this long; on arrival alone the tail would stall.
        unique_ids: ids were derived from source and row; the check then looks at rows of the same sources only.
        slices_of: the slices of a finished input file. Without it, files are recorded when the run has ended well.
        changed: URI → version of the files whose older rows are to be exchanged for new ones; needs `slices_of`.
        drop_copies: later copies of a text are rejected.
        retry: rejected documents of finished slices that are tried again.
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
        changed: Mapping[str, str] | None = None,
        drop_copies: bool = False,
        retry: Retry | None = None,
        on_commit: Callable[[Committed], None] | None = None,
    ) -> None:
        self.location, self.unique_ids = location, unique_ids
        self.rows = self.documents = self.rejects = self.commits = self.outdated = 0
        self.exchanged: list[str] = []
        self.kept: list[str] = []
        self._slices_of, self._on_commit, self._retry = slices_of, on_commit, retry
        repair(location, run)
        dataset = self._open()
        self._epoch = epoch_of(dataset)
        drop_stale(location, dataset)
        self.ledger, self._known = Ledger.load(location), KnownIds()
        self._copies = Copies(location) if drop_copies else None
        self._files: dict[tuple[str, str], FileRecord] = {}
        again = None if retry is None else retry.slices
        replacement = Replacement(location, run, changed or {}, slices_of or (lambda _: ()), again)
        super().__init__(run, replacement, max_rows=max_rows, max_seconds=max_seconds)

    def _collected(self, files: Sequence[FileRecord]) -> None:
        self._files.update({(record.uri, record.version): record for record in files})

    def _commit_all(self, pending: Pending, entries: pa.Table, *, last: bool) -> None:
        if entries.num_rows:
            self._replacement.write(entries)
            reached("journaled")
        if self._replacement.versions:
            self._add_exchange(pending, last=last)
        if pending.size or pending.exchange.records:
            self._commit(pending)
        if self._slices_of is not None:
            self._record_files(self._slices_of)

    def _tidy(self) -> None:
        if self._slices_of is None and self._files:
            record_files(self.location, list(self._files.values()), self.run)
            self._files.clear()
        forget(self.location, self.run)
        release_twins(self.location)  # of rows that were themselves refused, or left to another run
        drop_stale(self.location, self._open())

    def _open(self) -> lance.LanceDataset:
        dataset = open_dataset(self.location)
        if dataset is None:
            raise TableNotFoundError(f"there is no table {self.location} (any more) to commit to")
        return dataset

    def _add_exchange(self, pending: Pending, *, last: bool) -> None:
        """Add the changed files that are all there; from here on their older versions do not count as complete."""
        exchange = self._replacement.ready(self._open(), self.ledger, last=last)
        if exchange is None:
            return
        pending.add(exchange)
        reopen_older(self.location, {uri: self._replacement.versions[uri] for uri in exchange.slices})
        reached("older versions reopened")

    def _commit(self, pending: Pending) -> None:
        """Steps 2 to 5, until the swap succeeds."""
        touched = pending.slices()
        attempted: list[str] = []
        old, erased = outdated(pending.exchange.slices), 0
        before: lance.LanceDataset | None = None
        for attempt in range(_ATTEMPTS):
            dataset = self._open()
            if attempted and holds(dataset, attempted):
                break
            refuse_fenced(self.location, dataset, self._epoch)
            self.ledger.absorb(dataset, self.location)
            reached("opened")
            self._admit(dataset, pending, old)
            reached("admitted")
            write_rejects(self.location, pending.sized_rejects(self._retry))
            reached("rejects written")
            attempted = [fragment for part in pending.parts for fragment in part.fragments]
            present, erased = (None, 0) if old is None else without(self.location, dataset, old)
            idle = not attempted and not erased
            if idle or swap(self.location, dataset, attempted, self.run, present=present):
                before = dataset if erased else None
                break
            pending.contested = True
            time.sleep(min(0.01 * 2**attempt, 1.0) * random.random())  # noqa: S311 — spreads rivals, guards nothing
        else:
            raise CommitError(f"{self.location} was changed by others during {_ATTEMPTS} attempts to commit: try again")
        reached("committed")
        self.outdated += erased
        self._account(pending, touched)
        if pending.exchange.records:
            release_twins(self.location, pending.exchange.slices, before)
            self._replacement.settle(pending.exchange)
            self.exchanged += pending.exchange.slices
            self.kept += pending.exchange.kept
            reached("settled")

    def _admit(self, dataset: lance.LanceDataset, pending: Pending, old: pc.Expression | None) -> None:
        """Step 3; what is refused stays refused in later attempts."""
        self._known.absorb(dataset, self.location)
        admission = admit(
            self.location,
            dataset,
            self.ledger,
            pending.parts,
            unique_ids=self.unique_ids,
            outdated=old,
            retry=self._retry,
            known=self._known,
        )
        if self._copies is not None:
            admission = self._copies.refuse(dataset, pending.parts, admission, pending.exchange.slices)
        pending.narrow(self.location, dataset, admission, self.run)

    def _account(self, pending: Pending, touched: np.ndarray) -> None:
        """Remember what is finished now, tell who wants to know, and tidy up after a race."""
        dataset = self._open()
        self.ledger.absorb(dataset, self.location)
        self.ledger.note_rejected(touched[~self.ledger.is_stored(touched)])
        if pending.contested:
            drop_stale(self.location, dataset)
        rows, rejects = sum(part.n_rows for part in pending.parts), pending.sized_rejects().num_rows
        self.rows, self.rejects, self.commits = self.rows + rows, self.rejects + rejects, self.commits + 1
        self.documents += sum(part.n_documents for part in pending.parts)
        logger.info("committed version %d of %s: %d rows, %d rejects", dataset.version, self.location, rows, rejects)
        if self._on_commit is not None:
            self._on_commit(Committed(dataset.version, rows, rejects))

    def _record_files(self, slices_of: Callable[[FileRecord], Iterable[int]]) -> None:
        """Step 6."""
        waiting = list(self._files.values())
        complete = [record for record in waiting if self.ledger.are_done(slices_of(record))]
        if complete:
            record_files(self.location, complete, self.run)
            reached("files recorded")
            for record in complete:
                self._files.pop((record.uri, record.version), None)
