"""Commits: staged rows become part of the table, exactly once, whatever dies and whatever other driver is writing.

    worker   1 stage            data files, named by no version             dies: orphan files, nothing else
    driver   2 open             newest version V; absorb what others added
             3 admit            whole slices not stored yet, ids not taken; the refused become rejects
             4 rejects          upsert by slice and row                     dies: slice redone, rejects replaced
             5 compare-and-swap Merge(fragments of V + ours) on V           dies before: as above; after: it is in
                                lost: the table has moved on, back to 2
             6 marks            slices of which no row is in are finished   dies: slice redone, rejects replaced
             7 files            input files all of whose slices are in      dies: the file is looked at again

A file that the table holds in an older version takes a longer way, because a reader must see all of one version or all
of the other (`pipeline.table.changes.replacement`, `pipeline.table.companions.journal`):

             a journal          instead of 2: which slices wait, and where  dies: resumed; staged slices are not redone
             b all there        every slice of the file waits, or is finished already
             c reopen           older versions no longer count as finished  dies: the file is still a changed one
             2 to 6             as above, with all that waits; ids of rows that go are free, and Merge names V's
                                fragments without these rows (`pipeline.table.fragments.deletion_files`)
             d finish           older marks, then rejects, file records,    dies: every slice is finished, so nothing is
                                then the journal's rows                     replaced, and d is done again

Why it is like this:

- The table's ``slice`` column is the ledger: rows and their slice numbers become visible in the same instant (5), so
  no crash can part them.
- Merge with ``max_retries=0`` conflicts with any append, merge, rewrite or delete in between. Append does not: it would
  rebase and double the rows. So Merge is the one operation for new rows and for replacements.
- Rejects come before the swap, because a slice without any accepted row has no swap to hang on. A driver that dies or
  loses after 4 can leave a reject for a row that another commit accepts; a row in the table outweighs its reject, and
  opening and closing a `Committer` remove such rejects (`pipeline.table.companions.rejects`).
- Marks come after the swap: before it, other rows of the same slices may still be lost. They go before the rejects that
  they stand for (d), so that a file that returns to its older version is read again and not taken for rejected.
- c comes before the swap, because a file that returns to an older version must not be skipped for a record that says
  it is finished. The journal goes last, because its fragments count as staged, not as orphans, as long as it names
  them, and must do so until a version of the table does.
- The driver that held the table's lease before may only have slept. Each run begins an epoch under its lease
  (`pipeline.table.swap`): a driver of an earlier epoch cannot commit any more.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import pyarrow as pa

from pipeline.errors import CommitError, MoeeError
from pipeline.rejects import as_of_run, count_reasons
from pipeline.table import steps
from pipeline.table.changes.replacement import Replacement
from pipeline.table.commit.admission import admit
from pipeline.table.commit.collector import Collector
from pipeline.table.commit.same_text import SameText
from pipeline.table.companions.files import record_files, reopen_older
from pipeline.table.companions.rejects import drop_overtaken, drop_overtaken_marks, mark_slices, write_rejects
from pipeline.table.fragments.compaction import MAX_FRAGMENTS, join_some
from pipeline.table.fragments.deletion_files import fragments_without, staged_fragments
from pipeline.table.known.ids import KnownIds
from pipeline.table.known.ledger import Ledger
from pipeline.table.store import existing_dataset
from pipeline.table.swap import data_file_names, epoch_of, holds, refuse_fenced, swap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    import lance

    from pipeline.corpus import FileRecord
    from pipeline.table.changes.retry import Retry
    from pipeline.table.commit.collector import Pending
    from pipeline.table.companions.lease import Lease
    from pipeline.table.fragments.staging import Staged
    from pipeline.table.location import TableLocation

__all__ = ["Committer", "Totals"]

logger = logging.getLogger(__name__)

MAX_LOST_RACES: Final = 50
"""Lost races before a commit gives up; each loss means that another driver won."""


@dataclass(slots=True)
class Totals:
    """What a committer has done so far."""

    commits: int = 0
    rows: int = 0
    documents: int = 0
    """As rows, where the chunks of a document count once."""
    rejects: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    """Why they were rejected, as `count_reasons` says."""
    durations: list[float] = field(default_factory=list[float])
    """Seconds that each commit took."""
    lost_races: int = 0
    """Attempts to commit after which another writer had won."""
    outdated_rows: int = 0
    """Rows of older versions of files that went."""
    replaced_files: list[str] = field(default_factory=list[str])
    unreadable_files: list[str] = field(default_factory=list[str])
    """Changed files that cannot be read to their end: their older rows stay."""


class Committer:
    """The driver's end: collects what the workers staged and commits it. Safe to use from several threads.

    Args:
        location: an existing table.
        run: name of the run, stored with every reject.
        max_rows: a commit is due as soon as this many rows and rejects wait.
        max_seconds: a timer commits what has waited this long; on arrival alone the tail would stall.
        unique_ids: ids were derived from source and row: a text tells a deleted document better than its id.
        slices_of: the slices of a finished input file. Without it no file is recorded.
        changed: URI → version of the files whose older rows are to be replaced; needs `slices_of`.
        drop_copies: later copies of a text are rejected.
        retry: rejected documents of finished slices that are tried again.
        lease: the table's lease, checked before every commit; `run` has begun its epoch under it (`tidy`). Small
            fragments are joined where there are more than `MAX_FRAGMENTS`.

    Attributes:
        totals: what was committed so far.
        ledger: which slices are finished.

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
        lease: Lease | None = None,
    ) -> None:
        self._location, self._run = location, run
        self._unique_ids, self._slices_of, self._retry, self._lease = unique_ids, slices_of, retry, lease
        self.totals = Totals()
        dataset = existing_dataset(self._location)
        # Under a lease the epoch is the run's own, begun when it tidied up; beginning it here would take it back from
        # the driver that has taken the table over.
        self._epoch = epoch_of(dataset) if lease is None else run
        refuse_fenced(location, dataset, self._epoch)
        drop_overtaken(location, dataset)
        self.ledger, self._known = Ledger.load(location), KnownIds()
        drop_overtaken_marks(location, self.ledger.stored)
        self._same_text = SameText(location) if drop_copies else None
        self._files: dict[tuple[str, str], FileRecord] = {}
        again = None if retry is None else retry.slices
        self._replacement = Replacement(location, run, changed or {}, slices_of or (lambda _: ()), again)
        self._collector = Collector(self._commit_all, self._replacement, max_rows=max_rows, max_seconds=max_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        self._collector.stop()
        try:
            self.flush()
        except MoeeError as second:
            logger.warning("what was still to be committed is left for the next run: %s", second)

    def add(self, staged: Staged | None, rejected: pa.Table | None = None, files: Sequence[FileRecord] = ()) -> None:
        """Take in the outcome of whole slices: their accepted rows and their rejects (REJECTS).

        `files` are input files whose end was seen. Commits if that is due, and waits where too much is waiting.

        Raises:
            TableError: this or an earlier commit failed; nothing of it is in the table.
        """
        self._collector.add(staged, None if rejected is None else as_of_run(rejected, self._run), files)

    @property
    def waiting(self) -> tuple[int, float]:
        """How many rows and rejects wait for a commit, and for how many seconds the oldest of them has."""
        return self._collector.waiting

    def flush(self) -> None:
        """Commit at once what is waiting.

        Raises:
            CommitError: the table was moved under every one of many attempts.
            TableError: the storage refused.
        """
        self._collector.flush()

    def close(self) -> None:
        """Commit the rest, record finished files, and remove what other commits have overtaken."""
        self._collector.stop()
        self._collector.flush(last=True)
        drop_overtaken(self._location, existing_dataset(self._location))
        drop_overtaken_marks(self._location, self.ledger.stored)

    def _commit_all(self, pending: Pending, entries: pa.Table, last: bool) -> None:  # noqa: FBT001
        """Commit `pending`, put `entries` into the journal, and do what follows from either."""
        self._files.update({(record.uri, record.version): record for record in pending.files})
        if entries.num_rows:
            self._replacement.write(entries)
            steps.reached("journaled")
        if self._replacement.versions:
            self._add_ready_files(pending, last=last)
        if pending.size or pending.ready.records:
            self._commit(pending)
        if self._slices_of is not None:
            self._record_files(self._slices_of)

    def _add_ready_files(self, pending: Pending, *, last: bool) -> None:
        """Add the changed files that are all there; from here on their older versions do not count as complete."""
        ready = self._replacement.ready(existing_dataset(self._location), self.ledger, last=last)
        if ready is None:
            return
        pending.add(ready)
        reopen_older(self._location, {uri: self._replacement.versions[uri] for uri in ready.slices})
        steps.reached("older versions reopened")

    def _commit(self, pending: Pending) -> None:
        """Steps 2 to 6 and d, until the swap succeeds."""
        began = time.monotonic()
        touched = pending.slices()
        attempted, erased = set[str](), 0
        for attempt in range(MAX_LOST_RACES):
            dataset = existing_dataset(self._location)
            if attempted and holds(dataset, attempted):
                break
            self._refuse_lost(dataset)
            self.ledger.absorb(dataset)
            steps.reached("opened")
            self._admit(dataset, pending)
            steps.reached("admitted")
            write_rejects(self._location, pending.all_rejects())
            steps.reached("rejects written")
            new = staged_fragments(self._location, dataset, pending.parts)
            attempted = data_file_names(new)
            present, erased = fragments_without(self._location, dataset, pending.ready.outdated)
            # Changed files are committed also where nothing comes or goes: what another driver is just committing of
            # their older versions must meet a conflict.
            if not new and not erased and not pending.ready.records:
                break
            if swap(self._location, dataset, [*present, *new], f"moee {self._run}"):
                break
            pending.contested = True
            self.totals.lost_races += 1
            self._join_small_fragments()
            time.sleep(min(0.01 * 2**attempt, 1.0) * random.random())  # noqa: S311 — spreads rivals, guards nothing
        else:
            raise CommitError(
                f"{self._location} was changed by others during {MAX_LOST_RACES} attempts to commit: try again"
            )
        steps.reached("committed")
        self.totals.outdated_rows += erased
        self._account(pending, touched)
        if pending.ready.records:
            self._replacement.finish(pending.ready)
            self.totals.replaced_files += pending.ready.slices
            self.totals.unreadable_files += pending.ready.unreadable
            steps.reached("finished")
        self._join_small_fragments()
        self.totals.durations.append(time.monotonic() - began)

    def _refuse_lost(self, dataset: lance.LanceDataset) -> None:
        if self._lease is not None:
            self._lease.check()
        refuse_fenced(self._location, dataset, self._epoch)

    def _admit(self, dataset: lance.LanceDataset, pending: Pending) -> None:
        """Step 3; what is refused stays refused in later attempts."""
        self._known.absorb(dataset, self._location)
        admission = admit(
            self._location,
            dataset,
            self.ledger,
            pending.parts,
            unique_ids=self._unique_ids,
            outdated=pending.ready.outdated,
            retry=self._retry,
            known=self._known,
        )
        if self._same_text is not None:
            admission = self._same_text.refuse(dataset, pending.parts, admission, pending.ready.slices)
        pending.keep_admitted(self._location, dataset, admission, self._run)

    def _account(self, pending: Pending, touched: pa.Table) -> None:
        """Step 6; tell who wants to know, and tidy up after a race."""
        dataset = existing_dataset(self._location)
        self.ledger.absorb(dataset)
        slices = touched.column("slice").to_numpy()
        is_empty = ~self.ledger.is_stored(slices)
        mark_slices(self._location, touched.filter(pa.array(is_empty)), "rejected", self._run)
        self.ledger.mark(slices[is_empty])
        steps.reached("slices marked")
        if pending.contested:
            drop_overtaken(self._location, dataset)
        rows, refused = sum(part.n_rows for part in pending.parts), pending.all_rejects()
        totals, rejected = self.totals, refused.num_rows
        totals.rows, totals.rejects, totals.commits = totals.rows + rows, totals.rejects + rejected, totals.commits + 1
        totals.reasons.update(count_reasons(refused.column("reason")))
        totals.documents += sum(part.n_documents for part in pending.parts)
        logger.info("committed version %d of %s: %d rows, %d rejects", dataset.version, self._location, rows, rejected)

    def _join_small_fragments(self) -> None:
        """A swap costs more with each fragment, and while it lasts another writer can win."""
        if self._lease is None:
            return
        dataset = existing_dataset(self._location)
        if len(dataset.get_fragments()) > MAX_FRAGMENTS:
            join_some(self._location, dataset)

    def _record_files(self, slices_of: Callable[[FileRecord], Iterable[int]]) -> None:
        """Step 7."""
        waiting = list(self._files.values())
        complete = [record for record in waiting if self.ledger.are_done(slices_of(record))]
        if complete:
            record_files(self._location, complete, self._run)
            steps.reached("files recorded")
            for record in complete:
                self._files.pop((record.uri, record.version), None)
