"""What a run did, told in figures and in a line when it is done."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus import FileRecord
from pipeline.corpus.dialects import unusual_dialects
from pipeline.corpus.passed_over import described
from pipeline.flow.work import slices_of
from pipeline.rejects import DUPLICATE, NOT_UTF8
from pipeline.table.changes.pruning import Pruned
from pipeline.table.companions.files import read_files
from pipeline.table.companions.journal import count_waiting
from pipeline.table.companions.rejects import failures_by_source, read_rejects, reject_counts
from pipeline.table.info import count_documents
from pipeline.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.corpus import ReaderOptions
    from pipeline.flow.forecast.remembered import Remembered
    from pipeline.flow.watching.bottleneck import Bottleneck
    from pipeline.flow.watching.totals import Totals
    from pipeline.flow.work import Work
    from pipeline.table import Committer, TableLocation, VectorTable

__all__ = ["EmbedReport", "report"]

MIN_RATE_SECONDS: Final = 1.0
"""A rate over less time says nothing."""

MAX_FAILED_FILES: Final = 10
"""Files of which nothing could be stored that are named; the others are counted."""


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
    index_seconds: float = 0.0
    """Spent on bringing the table's indexes up to date."""
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
    dialects: Mapping[str, int] = field(default_factory=dict[str, int])
    """How files were read that are not written as is usual for their format → how many."""
    passed_over: Mapping[str, int] = field(default_factory=dict[str, int])
    """What the sources hold besides: why it is not read → how many."""
    failed: bool = False
    """Whether nothing was added, and not only because the table had it or was told to forget it."""
    failed_files: Mapping[str, str] = field(default_factory=dict[str, str])
    """Files that this run finished and of which nothing is stored → the reason of their first reject: at most
    `MAX_FAILED_FILES`."""
    more_failed_files: int = 0
    """Those beyond."""
    misfits: dict[str, int] = field(default_factory=dict[str, int])
    """Metadata column → how many of its values this run left out, because they did not fit the column's type."""
    misfit_notes: tuple[str, ...] = ()
    """The same in words, with the type."""
    duplicate_files: tuple[str, ...] = ()
    """Those most of whose rows this run rejected because other documents have their ids."""
    waited_for: Bottleneck | None = None
    """The stage that bounded the rate; None: none did."""
    expected: Remembered | None = None
    """What ``--plan`` said before, on this machine."""

    @property
    def nothing_to_do(self) -> bool:
        """Whether everything was in the table before."""
        done = self.documents or self.rejects or self.replaced_files or self.kept_files or self.pruned.files
        return not (done or self.staged_slices)

    @property
    def tokens_per_second(self) -> float:
        """While embedding, start-up and indexes excluded."""
        return self.tokens / max(self._embedding_seconds, 1e-9)

    @property
    def _embedding_seconds(self) -> float:
        return self.seconds - self.startup_seconds - self.index_seconds

    def to_json(self) -> dict[str, Any]:
        """All fields, and what follows from them."""
        return {
            **asdict(self),
            "nothing_to_do": self.nothing_to_do,
            "tokens_per_second": round(self.tokens_per_second),
        }

    def notes(self) -> list[str]:
        """Lines for people that come before the `summary`: what was not read, and what came to nothing."""
        lines: list[str] = []
        if self.passed_over:
            lines.append(f"not read: {described(self.passed_over)}")
        lines += [f"{counted(count, 'file')} read with {how}" for how, count in self.dialects.items()]
        if self.failed_files:
            named = [f"{uri} ({reason})" for uri, reason in self.failed_files.items()]
            more = [f"{counted(self.more_failed_files, 'file')} more"] if self.more_failed_files else []
            lines.append(f"nothing could be stored of: {', '.join(named + more)}")
        return lines

    def summary(self) -> str:
        """One line for people."""
        holds = f"{self.table} holds {self._rows()} and {counted(self.table_rejects, 'reject')}{self._reasons()}"
        if self.nothing_to_do:
            return "; ".join([f"nothing new to embed in {counted(self.files, 'file')}", *self._changes(), holds])
        done = f"{counted(self.documents, 'document')} ({counted(self.tokens, 'token')}) in {self.seconds:.1f} s"
        if self._embedding_seconds >= MIN_RATE_SECONDS:
            done += f", {self.tokens_per_second:,.0f} tokens/s after {self.startup_seconds:.1f} s of start-up"
        if self.index_seconds >= MIN_RATE_SECONDS:
            done += f", {self.index_seconds:.1f} s of it for indexes"
        if self.expected is not None:
            done += f" (planned: {self.expected['least_seconds']:.0f} to {self.expected['most_seconds']:.0f} s)"
        return "; ".join([done, *self._changes(), *self.misfit_notes, *self._hints(), holds])

    def bottleneck(self) -> str | None:
        """The last line for people: what was waited for, and what to change; None: the run was too short to say."""
        if self.waited_for is None or self._embedding_seconds < MIN_RATE_SECONDS:
            return None
        return str(self.waited_for)

    def _changes(self) -> list[str]:
        """What became of files that are not what they were."""
        lines: list[str] = []
        if self.replaced_files:
            files = counted(len(self.replaced_files), "file")
            lines.append(f"{files} had changed: {counted(self.replaced_rows, 'older row')} went")
        if self.staged_slices:
            staged = counted(self.staged_slices, "slice")
            lines.append(f"{staged} of changed files staged, older rows stay until all are: run the command again")
        if self.kept_files:
            kept = counted(len(self.kept_files), "file")
            lines.append(f"{kept} had changed but cannot be read to the end: older rows stay")
        if self.pruned.files:
            lines.append(f"{counted(self.pruned.files, 'file')} had gone: {counted(self.pruned.rows, 'row')} pruned")
        if self.unfinished_files:
            lines.append(
                f"{counted(len(self.unfinished_files), 'file')} changed while being read: run the command again"
            )
        return lines

    def _hints(self) -> list[str]:
        """What options might help."""
        hints: list[str] = []
        if self.duplicate_files:
            first, *others = self.duplicate_files
            which = first + (f" and {counted(len(others), 'file')} more" if others else "")
            hints.append(
                f"the ids of most rows of {which} were taken: if ids are unique in their file only, use --id ''"
            )
        if self.rejects and NOT_UTF8 in self.reasons:
            hints.append("text in another encoding than UTF-8 is read with --encoding, such as --encoding cp1252")
        return hints

    def _rows(self) -> str:
        documents = self.table_rows if self.table_documents is None else self.table_documents
        chunks = "" if documents == self.table_rows else f" in {counted(self.table_rows, 'chunk')}"
        return f"{counted(documents, 'document')}{chunks}"

    def _reasons(self) -> str:
        if not self.reasons:
            return ""
        return " (" + ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.items()) + ")"


def report(
    table: VectorTable,
    work: Work,
    totals: Totals,
    *,
    run: str = "",
    pruned: Pruned | None = None,
    waited_for: Bottleneck | None = None,
) -> EmbedReport:
    """The report of a run, or without `run` of a call that found nothing to do."""
    reasons = reject_counts(table.location)
    failures = failures_by_source(table.location, run) if run else None
    failed = [] if failures is None else _failed_files(table.location, failures, run, totals.committers, work.options)
    dataset = table.dataset()
    now = time.monotonic()
    return EmbedReport(
        table=str(table.location),
        run=run,
        documents=totals.documents,
        tokens=totals.tokens,
        rejects=totals.rejects,
        seconds=now - totals.started,
        startup_seconds=(totals.ready or now - totals.index_seconds) - totals.started,
        index_seconds=totals.index_seconds,
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
        dialects=unusual_dialects(work.units.files),
        passed_over=work.passed_over,
        failed=failures is not None and failures.num_rows > 0 and not totals.documents,
        failed_files=dict(failed[:MAX_FAILED_FILES]),
        more_failed_files=len(failed[MAX_FAILED_FILES:]),
        misfits=dict(totals.misfits),
        misfit_notes=misfit_notes(totals.misfits, work.keep),
        duplicate_files=_duplicate_files(table.location, run) if run and work.options.id is not None else (),
        waited_for=waited_for,
        expected=totals.expected,
    )


def _failed_files(
    location: TableLocation, failures: pa.Table, run: str, committers: Sequence[Committer], options: ReaderOptions
) -> list[tuple[str, str]]:
    """(URI, reason) of the files among `failures` that `run` has finished without a row."""
    if not failures.num_rows:
        return []
    reasons = dict(zip(*(failures.column(name).to_pylist() for name in ("source", "reason")), strict=True))
    here = pc.field("uri").isin(failures.column("source").combine_chunks())
    files = read_files(location, (pc.field("run") == run) & pc.field("complete") & here).sort_by("uri")
    stored = committers[-1].ledger.is_stored
    records = [FileRecord(row["uri"], row["version"], row["slices"], row["rows"]) for row in files.to_pylist()]
    return [(each.uri, reasons[each.uri]) for each in records if not stored(slices_of(each, options)).any()]


def misfit_notes(misfits: Mapping[str, int], keep: pa.Schema) -> tuple[str, ...]:
    """What was left out of the metadata, a sentence for each column."""
    return tuple(
        f"{name}: {counted(count, 'value')} did not fit {keep.field(name).type}"
        for name, count in misfits.items()
        if count
    )


def _duplicate_files(location: TableLocation, run: str) -> tuple[str, ...]:
    """The files of which `run` has refused more than half of the rows for their ids."""
    refused = read_rejects(location, (pc.field("run") == run) & (pc.field("reason") == DUPLICATE))
    if not refused.num_rows:
        return ()
    counts = {each["values"].as_py(): each["counts"].as_py() for each in refused.column("source").value_counts()}
    files = read_files(location, pc.field("uri").isin(pa.array(counts, pa.string())))
    rows = dict(zip(files.column("uri").to_pylist(), files.column("rows").to_pylist(), strict=True))
    return tuple(sorted(uri for uri, count in counts.items() if 2 * count > (rows.get(uri) or 2 * count)))
