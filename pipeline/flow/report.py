"""What a run did, in figures and in a line."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.table.changes.pruning import Pruned

__all__ = ["EmbedReport"]


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """The outcome of an `embed`.

    documents, tokens, rejects: added by this run, less the rejects that it tried again · seconds: of the whole run;
    startup_seconds: of it, until the first replica began · changed_files: seen in another version before;
    replaced_files: those whose older rows (replaced_rows) went; kept_files: those that cannot be read to their end ·
    unfinished_files: changed while they were read · pruned: what went with files that are gone · table_rows,
    table_rejects: in the table afterwards; table_documents: documents in it, where its rows are chunks of them ·
    reasons: all its rejects by reason · staged_slices: of changed files, which wait for the others to be exchanged.
    """

    table: str
    run: str
    documents: int
    tokens: int
    rejects: int
    seconds: float
    startup_seconds: float
    table_rows: int
    table_rejects: int
    version: int
    files: int
    finished_files: int
    fingerprint: str
    model: str
    reasons: dict[str, int] = field(default_factory=dict[str, int])
    changed_files: tuple[str, ...] = ()
    replaced_files: tuple[str, ...] = ()
    replaced_rows: int = 0
    kept_files: tuple[str, ...] = ()
    unfinished_files: tuple[str, ...] = ()
    pruned: Pruned = field(default_factory=Pruned)
    table_documents: int | None = None
    staged_slices: int = 0

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
        return "; ".join([done, *self._changes(), holds])

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
