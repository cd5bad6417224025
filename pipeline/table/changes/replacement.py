"""Changed files: their new rows wait in the journal until the last slice is there, then take the place of the old.

    worker   1 stage           as for any file
    driver   2 journal         which slices are staged, where, and their rejects
             3 all there       the file's end was seen, every slice is in the journal or in the table
             4 replace         one commit: the new rows come, all other rows of the file go (`committer`)
             5 finish          the old version's marks, then rejects, its file record, the journal's rows

Files are replaced together, as far as the journal can wait for them (`MAX_WAITING_SLICES`): a document that moves from
one changed file to another is then always there, and never its own duplicate.

A new version that cannot be read to its end replaces nothing: what is wrong with it goes to the rejects, the rows of
the version before stay. That a file is empty, or shorter than it was, is no such fault.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.rejects import as_of_run
from pipeline.table.companions.files import drop_older, record_files
from pipeline.table.companions.journal import (
    forget,
    forget_files,
    journal_entries,
    read_journal,
    rejects_in,
    staged_in,
    waiting_for,
    write_journal,
)
from pipeline.table.companions.rejects import read_rejects, remove_rejects
from pipeline.table.fragments.staging import Staged, restage
from pipeline.table.schema import JOURNAL
from pipeline.table.store import existing_dataset, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import lance

    from pipeline.corpus import FileRecord
    from pipeline.table.known.ledger import Ledger
    from pipeline.table.location import TableLocation

__all__ = ["ReadyFiles", "Replacement"]

logger = logging.getLogger(__name__)

MAX_WAITING_SLICES: Final = 8192
"""Slices in the journal from which on files are replaced as soon as they can be: two million rows, whose keys are
held in memory for a commit."""


@dataclass(frozen=True, slots=True)
class ReadyFiles:
    """The changed files that go into one commit: their new rows and rejects."""

    records: tuple[FileRecord, ...] = ()
    """Of all the files."""
    slices: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    """For each file that is replaced the slices of its new version, int64."""
    unreadable: tuple[str, ...] = ()
    """Files that cannot be read to their end: they keep the rows that they have."""
    parts: tuple[Staged, ...] = ()
    rejects: tuple[pa.Table, ...] = ()

    @property
    def outdated(self) -> pc.Expression | None:
        """The rows that go: those of replaced files in none of their new slices; None where no file is replaced."""
        return _outdated(self.slices) if self.slices else None


class Replacement:
    """The changed files of a run. Not safe to use from several threads.

    Args:
        location: the table.
        run: name of the run.
        versions: URI → new version. What is in the journal for their other versions is dropped.
        slices_of: the slices of a file that was read to its end.
        again: slices that are read again although they count as finished.

    Attributes:
        versions: as given.
        size: rows and rejects that are not in the journal yet.
    """

    def __init__(
        self,
        location: TableLocation,
        run: str,
        versions: Mapping[str, str],
        slices_of: Callable[[FileRecord], Iterable[int]],
        again: np.ndarray | None = None,
    ) -> None:
        self.versions = versions
        self._location, self._run, self._slices_of = location, run, slices_of
        self._entries: list[pa.Table] = []
        self.size = 0
        self._records: dict[str, FileRecord] = {}
        self._there: set[int] = set()
        self._finished: set[str] = set()
        self._again = set[int]() if again is None else set(again.tolist())
        self._uris = pa.array(list(versions), pa.string())
        if versions:
            self._load()

    def take(
        self, staged: Staged | None, rejects: pa.Table, files: Sequence[FileRecord]
    ) -> tuple[Staged | None, pa.Table, list[FileRecord]]:
        """Take in what is of changed files; returns the rest."""
        mine = [
            each for each in files if self.versions.get(each.uri) == each.version and each.uri not in self._finished
        ]
        self._records |= {record.uri: record for record in mine}
        others = [record for record in files if record.uri not in self.versions]
        if not len(self._uris):
            return staged, rejects, others
        changed = pc.is_in(rejects.column("source"), value_set=self._uris)
        ours, rest = self._divide(staged)
        refused = rejects.filter(changed)
        if ours is not None or refused.num_rows:
            self._entries.append(journal_entries(self.versions, ours, refused, self._run))
            self.size += refused.num_rows + (0 if ours is None else ours.n_rows)
        return rest, rejects.filter(pc.invert(changed)), others

    def drain(self) -> pa.Table:
        """What was taken in since the last call, as rows of the journal."""
        entries, self._entries, self.size = self._entries, [], 0
        return pa.concat_tables([JOURNAL.empty_table(), *entries])

    def write(self, entries: pa.Table) -> None:
        """Put into the journal what `drain` gave."""
        write_journal(self._location, entries)
        self._there.update(entries.column("slice").to_pylist())

    def ready(self, dataset: lance.LanceDataset, ledger: Ledger, *, last: bool = True) -> ReadyFiles | None:
        """What can be committed now: the files whose slices are all in the journal, or in the table.

        Unless this is the `last` time, only all changed files together, or what there is if the journal is full.
        """
        records = dict(self._records)
        slices = {uri: np.fromiter(self._slices_of(record), np.int64) for uri, record in records.items()}
        whole = {uri: numbers for uri, numbers in slices.items() if self._complete(numbers, ledger)}
        early = (
            not last and len(self._there) < MAX_WAITING_SLICES and len(whole) + len(self._finished) < len(self.versions)
        )
        if early or not whole:
            return None
        waiting = np.intersect1d(np.concatenate(list(whole.values())), np.array(sorted(self._there), np.int64))
        entries = waiting_for(self._location, whole, waiting)
        rejects = rejects_in(entries)
        broken = rejects.filter(pc.less(rejects.column("row"), 0)).column("source").to_pylist()
        broken += self._known_broken(whole, waiting)
        kept = {uri for uri in broken if _holds_older(dataset, uri, whole[uri])}
        is_kept = pa.array(sorted(kept), pa.string())
        taken = entries.filter(pc.invert(pc.is_in(entries.column("uri"), value_set=is_kept)))
        shown = pc.or_(
            pc.less(rejects.column("row"), 0), pc.invert(pc.is_in(rejects.column("source"), value_set=is_kept))
        )
        return ReadyFiles(
            records=tuple(records[uri] for uri in whole),
            slices={uri: numbers for uri, numbers in whole.items() if uri not in kept},
            unreadable=tuple(sorted(kept)),
            parts=tuple(staged_in(self._location, dataset, taken)),
            rejects=(as_of_run(rejects.filter(shown), self._run),) if rejects.num_rows else (),
        )

    def finish(self, ready: ReadyFiles) -> None:
        """What follows the commit; done again, it changes nothing."""
        if ready.outdated is not None:
            remove_rejects(self._location, ready.outdated)
        drop_older(self._location, {uri: self.versions[uri] for uri in ready.slices})
        record_files(self._location, ready.records, self._run)
        uris = [record.uri for record in ready.records]
        forget_files(self._location, uris)
        for record in ready.records:
            self._finished.add(record.uri)
            self._records.pop(record.uri, None)
            self._there.difference_update(self._slices_of(record))
        for uri in ready.unreadable:
            logger.warning("%s has changed, but cannot be read to its end: the rows of its older version stay", uri)

    def _known_broken(self, whole: Mapping[str, np.ndarray], waiting: np.ndarray) -> list[str]:
        """Those of the files in which a run before this one met a slice that it could not read, and nobody since."""
        slices = np.setdiff1d(np.concatenate(list(whole.values())), waiting)
        if not len(slices):
            return []
        condition = (pc.field("row") < 0) & pc.field("slice").isin(pa.array(slices, pa.int64()))
        return read_rejects(self._location, condition).column("source").to_pylist()

    def _load(self) -> None:
        """What runs before this one have staged; for other versions it is of no use any more."""
        journal = read_journal(self._location)
        mine = pc.is_in(journal.column("uri"), value_set=self._uris)
        rows = journal.filter(mine).to_pylist()
        self._there = {row["slice"] for row in rows if row["version"] == self.versions[row["uri"]]}
        if old := sorted({row["slice"] for row in rows} - self._there):
            forget(self._location, pc.field("slice").isin(pa.array(old, pa.int64())))

    def _divide(self, staged: Staged | None) -> tuple[Staged | None, Staged | None]:
        """What is of changed files, and the rest, which must not stand in one fragment with it."""
        if staged is None:
            return None, None
        mine = np.asarray(pc.is_in(staged.keys.column("source"), value_set=self._uris))
        if mine.all():
            return (staged, None) if staged.n_rows else (None, None)
        if not mine.any():
            return None, staged
        dataset = existing_dataset(self._location)
        ours, rest = (restage(self._location, dataset, staged.keep(part)) for part in (mine, ~mine))
        return ours, rest

    def _complete(self, slices: np.ndarray, ledger: Ledger) -> bool:
        missing = [number for number in slices.tolist() if number not in self._there]
        return self._again.isdisjoint(missing) and ledger.are_done(missing)


def _holds_older(dataset: lance.LanceDataset, uri: str, slices: np.ndarray) -> bool:
    with storage_errors("look for older rows in", dataset):
        return dataset.count_rows(filter=_outdated({uri: slices})) > 0


def _outdated(slices: Mapping[str, np.ndarray]) -> pc.Expression:
    """The rows of the given files that are of none of their given slices."""
    current = pa.array(np.concatenate(list(slices.values())), pa.int64())
    return pc.field("source").isin(list(slices)) & ~pc.field("slice").isin(current)
