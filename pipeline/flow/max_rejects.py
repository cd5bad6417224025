"""When a run has gone wrong as a whole: more rejects than its caller allows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import RunError, UsageError

if TYPE_CHECKING:
    from pipeline.table import TableLocation

__all__ = ["MaxRejects"]

MIN_ROWS_FOR_SHARE: Final = 1000
"""Rows of input below which a share says nothing yet; at the end of a run it always does."""

_WRITTEN: Final = re.compile(r"(\d+)|(\d+(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True)
class MaxRejects:
    """How much of a run's input may be rejected; by default all of it."""

    rows: int | None = None
    """Rows at most."""
    share: float | None = None
    """Of the rows read, 0 to 1, at most; one reject is no share yet, unless it is to be none at all."""

    @classmethod
    def parse(cls, written: Any) -> MaxRejects:
        """From ``N``, ``P%``, None or what is one already.

        Raises:
            UsageError: it is neither.
        """
        if isinstance(written, MaxRejects):
            return written
        if written is None:
            return cls()
        found = _WRITTEN.fullmatch(str(written).strip())
        if found is None or (found[2] is not None and float(found[2]) > 100):
            raise UsageError(f"max_rejects={written!r}: say N, or P% of the rows read, such as 1000 or 5%")
        return cls(int(found[1])) if found[2] is None else cls(share=float(found[2]) / 100)

    def __str__(self) -> str:
        return f"{self.rows}" if self.share is None else f"{100 * self.share:g}%"

    def check(self, rejected: int, read: int, location: TableLocation, *, at_end: bool = False) -> None:
        """Stop a run that has rejected too much of what it has read.

        Raises:
            RunError: it has.
        """
        too_many = self.rows is not None and rejected > self.rows
        too_much = self.share is not None and self._exceeds(self.share, rejected, read, at_end=at_end)
        if too_many or too_much:
            raise RunError(
                f"stopped: {rejected:,} of {read:,} rows read were rejected, more than --max-rejects {self} allows; "
                f"what was committed stays. See why with: moee inspect {location} --rejects"
            )

    @staticmethod
    def _exceeds(share: float, rejected: int, read: int, *, at_end: bool) -> bool:
        allowed = max(share * read, 1) if share else 0
        return rejected > allowed and (at_end or read >= MIN_ROWS_FOR_SHARE)
