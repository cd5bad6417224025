"""What a listing passes over, and why: nothing below a source is left out without a word."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from pipeline.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "BROKEN_LINK",
    "CARD",
    "FOLDER",
    "HIDDEN",
    "LOOP",
    "NOT_UTF8",
    "NO_FILE",
    "NO_SUFFIX",
    "TABLE",
    "VERSION_MARK",
    "by_reason",
    "described",
    "kind_of",
]

NO_SUFFIX: Final = "no suffix"
HIDDEN: Final = "hidden"
BROKEN_LINK: Final = "broken link"
LOOP: Final = "link to a folder that holds it"
FOLDER: Final = "folder that the glob does not enter"
NO_FILE: Final = "socket, pipe or device"
NOT_UTF8: Final = "name that is not UTF-8"
VERSION_MARK: Final = "key with ?versionId="
CARD: Final = "README.md of a dataset"
TABLE: Final = "table of embeddings"

MAX_KINDS: Final = 8
"""Kinds of files that are named; the others are counted."""

_PLURALS: Final[Mapping[str, str]] = {
    HIDDEN: HIDDEN,
    BROKEN_LINK: "broken links",
    LOOP: "links to folders that hold them",
    FOLDER: "folders that the glob does not enter",
    NO_FILE: "sockets, pipes or devices",
    NOT_UTF8: "names that are not UTF-8",
    VERSION_MARK: "keys with ?versionId=",
    CARD: "READMEs of datasets",
    TABLE: "tables of embeddings",
}
"""Every reason but the kinds of files, in the order in which they are told."""

_SUFFIX: Final = re.compile(r"\.\w{1,12}", re.ASCII)


def kind_of(name: str, compressions: Iterable[str] = ()) -> str:
    """What a file of a kind that is not read is counted under: its suffix, with that of its compression."""
    stem, suffix = posixpath.splitext(posixpath.basename(name).lower())
    if not _SUFFIX.fullmatch(suffix):
        return NO_SUFFIX
    inner = posixpath.splitext(stem)[1] if suffix in compressions else ""
    return inner + suffix if _SUFFIX.fullmatch(inner) else suffix


def by_reason(passed: Mapping[str, str]) -> dict[str, int]:
    """Reason → how many, most frequent first."""
    return dict(Counter(passed.values()).most_common())


def described(counts: Mapping[str, int]) -> str:
    """`by_reason` in words, such as ``4 files (2 .html, .pdf, no suffix), 2 hidden``; empty where there is nothing."""
    kinds = {kind: count for kind, count in counts.items() if kind not in _PLURALS}
    told: list[str] = []
    if kinds:
        total = sum(kinds.values())
        ordered = sorted(kinds.items(), key=_most_first)
        names = [kind if count in {1, total} else f"{count:,} {kind}" for kind, count in ordered]
        more = [counted(len(names) - MAX_KINDS, "more kind")] if len(names) > MAX_KINDS else []
        told.append(f"{counted(total, 'file')} ({', '.join(names[:MAX_KINDS] + more)})")
    told += [f"{count:,} {why if count == 1 else _PLURALS[why]}" for why in _PLURALS if (count := counts.get(why, 0))]
    return ", ".join(told)


def _most_first(pair: tuple[str, int]) -> tuple[int, str]:
    return -pair[1], pair[0]
