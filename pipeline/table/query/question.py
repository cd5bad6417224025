"""What a person asks a table, checked as far as that needs no table."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pipeline.errors import UsageError
from pipeline.wording import brief

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pipeline.table.query.conditions import Where

__all__ = ["DIVERSE_HITS", "MAX_HITS", "Mode", "Question", "check_count", "check_list", "check_names", "check_rows"]

Mode = Literal["vector", "text", "hybrid"]

MAX_HITS: Final = 10_000
"""Of one search, those before `offset` included. What is more is an export of the table, for which Lance has a scan."""

DIVERSE_HITS: Final = 200
"""The best hits, of which `diversity` chooses."""

MAX_ALPHA: Final = 1_000_000
"""Beyond it single precision sees nothing of the hidden state, and then overflows."""

MAX_LETTERS: Final = 100_000
"""Of a query in words: more is a document, not a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A search.

    Raises:
        UsageError: a value that cannot be meant, or values that do not go together.
    """

    query: str | np.ndarray | None = None
    """Words, or a vector [D] in the form in which vectors are stored (what `Encoder.encode` gives)."""
    k: int = 10
    """How many hits."""
    offset: int = 0
    """How many better hits to leave out: pages of a list whose order is fixed."""
    alpha: float | None = None
    """Another routing weight than the table's, for ``sum`` tables; the score is then
    ``(cos_h + alpha·cos_r) / (1 + alpha)``."""
    where: Where | None = None
    """A condition that a hit fulfils (`pipeline.table.query.conditions`)."""
    where_sql: str | None = None
    """The same in SQL, run as it is: never put other people's words into it."""
    mode: Mode = "vector"
    """``vector``; ``text``: words, by BM25; ``hybrid``: both, joined by reciprocal ranks."""
    like: str | Sequence[str] | None = None
    """Ids of documents or chunks whose neighbours are wanted, themselves left out."""
    unlike: str | Sequence[str] | None = None
    """Ids of documents or chunks from which hits are to be far, themselves left out."""
    min_score: float | None = None
    """Hits of a lower score are left out."""
    group_by: str | None = None
    """One hit, the best, for each value of this column; rows without a value stand alone."""
    diversity: float = 0.0
    """From 0, the best hits, to 1, those that differ most from each other (maximal marginal relevance)."""
    columns: Sequence[str] | None = None
    """Which columns to return; all but the vector otherwise."""
    at: int | str | None = None
    """A version of the table or a tag; the newest otherwise. What was deleted for good is in none."""

    @classmethod
    def of(cls, **asked: Any) -> Self:
        """The question with these fields.

        Raises:
            UsageError: there is no such field, too.
        """
        known = [field.name for field in fields(cls)]
        for name in asked:
            if name not in known:
                raise UsageError(f"search: there is no option {name!r}; there are {', '.join(known)}")
        return cls(**asked)

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_words(self)
        _check_examples(self)
        if self.columns is not None:
            check_names("columns", self.columns)
        if self.group_by is not None and not _is_text(self.group_by):
            raise UsageError(f"group_by={brief(self.group_by)}: the name of a column")
        check_rows(self.where_sql, self.at)

    @property
    def liked(self) -> tuple[str, ...]:
        """The ids of `like`."""
        return _listed(self.like)

    @property
    def unliked(self) -> tuple[str, ...]:
        """The ids of `unlike`."""
        return _listed(self.unlike)

    @property
    def depth(self) -> int:
        """Hits down to the last one that is asked for."""
        return self.offset + self.k


def check_count(option: str, number: Any, least: int) -> None:
    """Refuse what is no whole number from `least` on.

    Raises:
        UsageError: it is none.
    """
    if not _is_whole(number):
        raise UsageError(f"{option}={brief(number)}: a whole number")
    if number < least:
        raise UsageError(f"{option}={brief(number)}: {least} or more")


def check_list(option: str, given: Any) -> None:
    """Refuse what is no list, such as one text, or something that can be gone through once only.

    Raises:
        UsageError: it is none.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Collection):
        raise UsageError(f"{option}={brief(given)}: a list")


def check_names(option: str, columns: Any) -> None:
    """Refuse what is no list of names.

    Raises:
        UsageError: it is none.
    """
    if isinstance(columns, str) or not all(map(_is_text, _listed(columns))):
        raise UsageError(f"{option}={brief(columns)}: a list of column names")


def check_rows(where_sql: Any, at: Any) -> None:
    """Refuse what says nothing about which rows are meant.

    Raises:
        UsageError: it is no SQL, or no version.
    """
    if where_sql is not None and not (_is_text(where_sql) and where_sql.strip()):
        raise UsageError(f"where_sql={brief(where_sql)}: a condition in SQL")
    if at is not None and not (_is_text(at) or (_is_whole(at) and at >= 0)):
        raise UsageError(f"at={brief(at)}: the number of a version, or the name of a tag")


def _check_numbers(question: Question) -> None:
    check_count("k", question.k, 1)
    check_count("offset", question.offset, 0)
    if question.depth > MAX_HITS:
        skipped = f" and offset={question.offset}" if question.offset else ""
        raise UsageError(f"k={question.k}{skipped}: one search gives at most {MAX_HITS:,} hits")
    if not (_is_number(question.diversity) and 0 <= question.diversity <= 1):
        raise UsageError(f"diversity={brief(question.diversity)}: a number from 0 to 1")
    if question.diversity and question.depth > DIVERSE_HITS:
        raise UsageError(f"diversity chooses among the best {DIVERSE_HITS} hits: ask for fewer than {question.depth}")
    if question.min_score is not None and not _is_number(question.min_score):
        raise UsageError(f"min_score={brief(question.min_score)}: a number")
    if question.alpha is not None and not (_is_number(question.alpha) and 0 <= question.alpha <= MAX_ALPHA):
        raise UsageError(
            f"alpha={brief(question.alpha)}: the routing weight of a query is a number from 0 to {MAX_ALPHA:,}"
        )


def _check_words(question: Question) -> None:
    query, mode = question.query, question.mode
    if not (_is_text(mode) and mode in {"vector", "text", "hybrid"}):
        raise UsageError(f"mode={brief(mode)}: choose vector, text or hybrid")
    if isinstance(query, str):
        if not query.strip():
            raise UsageError("the query is empty")
        if re.search("[\ud800-\udfff]", query):
            raise UsageError("the query is not valid text: it holds half of a surrogate pair")
        if len(query) > MAX_LETTERS:
            raise UsageError(
                f"the query has {len(query):,} characters, at most {MAX_LETTERS:,} are searched for: "
                "embed such a document, and ask what is like it"
            )
    elif mode != "vector":
        raise UsageError(f"mode={mode!r} needs a query in words")


def _check_examples(question: Question) -> None:
    for name in ("like", "unlike"):
        given = getattr(question, name)
        if given is not None and not (_listed(given) and all(map(_is_text, _listed(given)))):
            raise UsageError(f"{name}={brief(given)}: ids of documents")
    if question.mode == "text" and (question.liked or question.unliked):
        raise UsageError("like and unlike are searches by vector: choose mode vector or hybrid")
    if question.mode == "vector" and (question.query is None) == (not question.liked):
        raise UsageError("give either a query or the id of a document to be like")
    both = {*question.liked} & {*question.unliked}
    if both:
        raise UsageError(f"{brief(min(both))} is in like and in unlike: its neighbours are wanted or they are not")


def _listed(given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    return tuple(given) if isinstance(given, Collection) and not isinstance(given, str | bytes) else (given,)


def _is_text(given: object) -> bool:
    return isinstance(given, str)


def _is_whole(given: object) -> bool:
    return not isinstance(given, bool) and isinstance(given, Integral)


def _is_number(given: object) -> bool:
    return not isinstance(given, bool) and isinstance(given, Real) and math.isfinite(given)
