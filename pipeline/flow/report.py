"""What a run did: counted while it goes on, told in figures and in a line when it is done."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.rejects import DUPLICATE
from pipeline.table.changes.pruning import Pruned
from pipeline.table.companions.files import read_files
from pipeline.table.companions.journal import count_waiting
from pipeline.table.companions.rejects import read_rejects, reject_counts
from pipeline.table.info import count_documents
from pipeline.table.schema import FILES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.flow.parcel import Parcel
    from pipeline.flow.work import Work
    from pipeline.table import Committer, VectorTable

__all__ = ["EmbedReport", "Totals", "report"]


@dataclass(slots=True)
class Totals:
    """What a run has done so far."""

    started: float = field(default_factory=time.monotonic)
    """When `embed` was called, on the monotonic clock."""
    ready: float | None = None
    """When a replica first took up a parcel, on the same clock."""
    read: int = 0
    """Rows of input."""
    tokens: int = 0
    """Embedded."""
    rejected: int = 0
    """In the parcels that have come out of the engine."""
    misfits: Counter[str] = field(default_factory=Counter[str])
    """Metadata column → values left out, in the parcels that have come out of the engine."""
    retried: int = 0
    """Rejects that this run has itself written before it tried them again."""
    settled_version: int | None = None
    """The table's version in which no duplicate lacks its original; None: not found out."""
    committers: list[Committer] = field(default_factory=list["Committer"])
    """One for each pass."""

    @property
    def documents(self) -> int:
        """Added so far."""
        return sum(committer.totals.documents for committer in self.committers)

    @property
    def rejects(self) -> int:
        """Added so far, less those that were tried again."""
        return sum(committer.totals.rejects for committer in self.committers) - self.retried

    @property
    def rejected_so_far(self) -> int:
        """Rejects that are known of, committed or not."""
        return max(self.rejected, self.rejects)

    def figures(self) -> dict[str, int]:
        """What the record of the run keeps."""
        return {"documents": self.documents, "tokens": self.tokens, "rejects": self.rejects}

    def count(self, parcel: Parcel) -> None:
        """Add a parcel that has come out of the engine."""
        self.tokens += parcel.n_tokens
        self.read += parcel.n_read
        self.rejected += parcel.rejects.num_rows
        self.misfits.update(parcel.misfits)

    def replica_began(self, when: float) -> None:
        """A replica took up its first parcel, in seconds since 1970; infinite: it had none."""
        if self.ready is None:
            self.ready = max(time.monotonic() - max(time.time() - when, 0.0), self.started)


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """The outcome of an `embed`."""

    table: str
    run: str
    """Empty: there was nothing to do."""
    documents: int
    """Added by this run."""
    tokens: int
    rejects: int
    """Added by this run, less those that it tried again."""
    seconds: float
    startup_seconds: float
    """Until the first replica began."""
    table_rows: int
    """In the table afterwards."""
    table_rejects: int
    """Beside the table afterwards."""
    version: int
    files: int
    finished_files: int
    """Those that were finished before."""
    fingerprint: str
    model: str
    reasons: dict[str, int] = field(default_factory=dict[str, int])
    """All rejects of the table, by reason."""
    changed_files: tuple[str, ...] = ()
    """Seen in another version before."""
    replaced_files: tuple[str, ...] = ()
    """Those whose older rows went."""
    replaced_rows: int = 0
    kept_files: tuple[str, ...] = ()
    """Changed files that cannot be read to their end: their older rows stay."""
    unfinished_files: tuple[str, ...] = ()
    """Changed while they were read."""
    pruned: Pruned = field(default_factory=Pruned)
    """What went with files that are gone."""
    table_documents: int | None = None
    """Documents in the table, where its rows are chunks of them."""
    staged_slices: int = 0
    """Slices of changed files that wait for the others to be exchanged."""
    misfits: dict[str, int] = field(default_factory=dict[str, int])
    """Metadata column → how many of its values this run left out, because they did not fit the column's type."""
    misfit_notes: tuple[str, ...] = ()
    """The same in words, with the type."""
    duplicate_files: tuple[str, ...] = ()
    """Those most of whose rows this run rejected because other documents have their ids."""

    @property
    def nothing_to_do(self) -> bool:
        """Whether everything was in the table before."""
        done = self.documents or self.rejects or self.replaced_files or self.kept_files or self.pruned.files
        return not (done or self.staged_slices)

    @property
    def tokens_per_second(self) -> float:
        """While embedding, start-up excluded."""
        return self.tokens / max(self.seconds - self.startup_seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """All fields, and what follows from them."""
        return {
            **asdict(self),
            "nothing_to_do": self.nothing_to_do,
            "tokens_per_second": round(self.tokens_per_second),
        }

    def summary(self) -> str:
        """One line for people."""
        holds = f"{self.table} holds {self._rows()} and {self.table_rejects:,} rejects{self._reasons()}"
        if self.nothing_to_do:
            return "; ".join([f"nothing new to embed in {_files(self.files)}", *self._changes(), holds])
        done = (
            f"{self.documents:,} documents ({self.tokens:,} tokens) in {self.seconds:.1f} s, "
            f"{self.tokens_per_second:,.0f} tokens/s after {self.startup_seconds:.1f} s of start-up"
        )
        return "; ".join([done, *self._changes(), *self.misfit_notes, *self._hints(), holds])

    def _changes(self) -> list[str]:
        """What became of files that are not what they were."""
        lines: list[str] = []
        if self.replaced_files:
            lines.append(
                f"{_files(len(self.replaced_files))} had changed: {_count(self.replaced_rows, 'older row')} went"
            )
        if self.staged_slices:
            staged = _count(self.staged_slices, "slice")
            lines.append(f"{staged} of changed files staged, older rows stay until all are: run the command again")
        if self.kept_files:
            lines.append(f"{_files(len(self.kept_files))} had changed but cannot be read to the end: older rows stay")
        if self.pruned.files:
            lines.append(f"{_files(self.pruned.files)} had gone: {_count(self.pruned.rows, 'row')} pruned")
        if self.unfinished_files:
            lines.append(f"{_files(len(self.unfinished_files))} changed while being read: run the command again")
        return lines

    def _hints(self) -> list[str]:
        if not self.duplicate_files:
            return []
        first, *others = self.duplicate_files
        which = first + (f" and {_files(len(others))} more" if others else "")
        return [f"the ids of most rows of {which} were taken: if ids are unique in their file only, use --id ''"]

    def _rows(self) -> str:
        documents = self.table_rows if self.table_documents is None else self.table_documents
        chunks = "" if documents == self.table_rows else f" in {self.table_rows:,} chunks"
        return f"{documents:,} documents{chunks}"

    def _reasons(self) -> str:
        if not self.reasons:
            return ""
        return " (" + ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.items()) + ")"


def _files(count: int) -> str:
    return _count(count, "file")


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def report(
    table: VectorTable, work: Work, totals: Totals, *, run: str = "", pruned: Pruned | None = None
) -> EmbedReport:
    """The report of a run, or without `run` of a call that found nothing to do."""
    reasons = reject_counts(table.location)
    dataset = table.dataset()
    now = time.monotonic()
    return EmbedReport(
        table=str(table.location),
        run=run,
        documents=totals.documents,
        tokens=totals.tokens,
        rejects=totals.rejects,
        seconds=now - totals.started,
        startup_seconds=(totals.ready or now) - totals.started,
        table_rows=dataset.count_rows(),
        table_documents=count_documents(dataset),
        table_rejects=sum(reasons.values()),
        version=dataset.version,
        files=len(work.files),
        finished_files=work.finished_files,
        fingerprint=table.fingerprint,
        model=table.spec.model,
        reasons=reasons,
        changed_files=tuple(file.uri for file in work.changed),
        replaced_files=tuple(uri for committer in totals.committers for uri in committer.totals.replaced_files),
        replaced_rows=sum(committer.totals.outdated_rows for committer in totals.committers),
        kept_files=tuple(uri for committer in totals.committers for uri in committer.totals.unreadable_files),
        pruned=pruned or Pruned(),
        staged_slices=count_waiting(table.location, [file.uri for file in work.changed]),
        misfits=dict(totals.misfits),
        misfit_notes=misfit_notes(totals.misfits, work.keep),
        duplicate_files=_duplicate_files(table, run) if run and work.options.id is not None else (),
    )


def misfit_notes(misfits: Mapping[str, int], keep: pa.Schema) -> tuple[str, ...]:
    """What was left out of the metadata, a sentence for each column."""
    return tuple(
        f"{name}: {_count(count, 'value')} did not fit {keep.field(name).type}"
        for name, count in misfits.items()
        if count
    )


def _duplicate_files(table: VectorTable, run: str) -> tuple[str, ...]:
    """The files of which `run` has refused more than half of the rows for their ids."""
    refused = read_rejects(table.location, (pc.field("run") == run) & (pc.field("reason") == DUPLICATE))
    counts = Counter(refused.column("source").to_pylist())
    files = (
        read_files(table.location, pc.field("uri").isin(pa.array(counts, pa.string())))
        if counts
        else FILES.empty_table()
    )
    rows = dict(zip(files.column("uri").to_pylist(), files.column("rows").to_pylist(), strict=True))
    return tuple(sorted(uri for uri, count in counts.items() if 2 * count > (rows.get(uri) or 2 * count)))
