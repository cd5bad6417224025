"""What a run did, in figures and in a line."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["EmbedReport"]


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """The outcome of an `embed`.

    documents, tokens, rejects: added by this run · seconds: of the whole run; startup_seconds: of it, until the first
    replica began · table_rows, table_rejects: in the table afterwards · reasons: all its rejects by reason.
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

    @property
    def nothing_to_do(self) -> bool:
        """Whether everything was in the table before."""
        return not self.documents and not self.rejects

    @property
    def tokens_per_second(self) -> float:
        """While embedding, start-up excluded."""
        return self.tokens / max(self.seconds - self.startup_seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """All fields, and what follows from them."""
        return {
            **asdict(self),
            "changed_files": list(self.changed_files),
            "nothing_to_do": self.nothing_to_do,
            "tokens_per_second": round(self.tokens_per_second),
        }

    def summary(self) -> str:
        """One line for people."""
        holds = f"{self.table} holds {self.table_rows:,} documents and {self.table_rejects:,} rejects{self._reasons()}"
        if self.changed_files:
            holds += f"; {_files(len(self.changed_files))} changed since embedded and left alone"
        if self.nothing_to_do:
            return f"nothing new to embed in {_files(self.files)}; {holds}"
        return (
            f"{self.documents:,} documents ({self.tokens:,} tokens) in {self.seconds:.1f} s, "
            f"{self.tokens_per_second:,.0f} tokens/s after {self.startup_seconds:.1f} s of start-up; {holds}"
        )

    def _reasons(self) -> str:
        if not self.reasons:
            return ""
        return " (" + ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.items()) + ")"


def _files(count: int) -> str:
    return f"{count:,} file" + ("" if count == 1 else "s")
