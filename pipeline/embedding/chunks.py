"""Long documents → chunks: windows over a document's own tokens, each of them a row of the table.

A chunk is a range of its document's text and is embedded as that text alone would be. It holds at most a window of
tokens, begins and ends at white space if its second half has any, and shares about `overlap` tokens with the next
chunk. White space at a cut belongs to no chunk. A document that fits one window is one chunk, unchanged.

A document is tokenized in segments of some ten thousand characters, so that memory does not grow with the document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import SpecError, UsageError

if TYPE_CHECKING:
    from pipeline.embedding.tokens import Tokenizer, Tokens

__all__ = ["Chunking", "chunk_documents", "split"]

SEGMENT_CHARACTERS: Final = 65_536
"""Characters tokenized at a time; a large window takes more."""

MARGIN_TOKENS: Final = 64
"""Tokens before the end of a segment that may differ in the whole document."""

MIN_WINDOW: Final = 8
"""Tokens in the smallest window: a single character may take several tokens."""

SEAM_TOKENS: Final = 4
"""Tokens kept free beside a window: a full stop that a prompt adds, and words that differ at its ends."""

_WINDOW_AND_OVERLAP: Final = re.compile(r"([0-9]{1,9})(?::([0-9]{1,9}))?")
_SPACE: Final = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Chunking:
    """How documents are cut into windows.

    Raises:
        UsageError: the window is too small, or more than half of it is shared.
    """

    window: int
    """Tokens in a window."""
    overlap: int = 0
    """Tokens that a window shares with the next one."""

    def __post_init__(self) -> None:
        if self.window < MIN_WINDOW:
            raise UsageError(f"chunk={self}: a window has at least {MIN_WINDOW} tokens")
        if not 0 <= self.overlap <= self.window // 2:
            raise UsageError(f"chunk={self}: chunks may share 0 to {self.window // 2} tokens, half of the window")

    def __str__(self) -> str:
        return f"{self.window}:{self.overlap}"

    @classmethod
    def parse(cls, written: Any) -> Self | None:
        """From ``WINDOW``, ``WINDOW:OVERLAP``, a number, a pair, or a `Chunking`; None stays None."""
        if written is None or isinstance(written, cls):
            return written
        text = ":".join(map(str, written)) if isinstance(written, tuple | list) else str(written)
        found = _WINDOW_AND_OVERLAP.fullmatch(text)
        if found is None:
            raise UsageError(f"chunk={written!r}: say WINDOW or WINDOW:OVERLAP, in tokens, such as 256:32")
        return cls(int(found[1]), int(found[2] or 0))

    def refuse_unless_fits(self, tokenizer: Tokenizer) -> None:
        """Raise SpecError where a window would be cut by the limit of a prompt."""
        most = tokenizer.room - SEAM_TOKENS
        if self.window > most:
            raise SpecError(
                f"chunk={self}: max_tokens has room for windows of {max(most, 0)} tokens beside the prompt; "
                "make the window smaller or max_tokens larger"
            )


def split(text: str, chunking: Chunking, tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """Where the chunks of `text` begin and end, in characters; ascending, none of them blank."""
    spans: list[tuple[int, int]] = []
    begin = 0
    size = max(SEGMENT_CHARACTERS, 24 * chunking.window)
    while begin < len(text):
        found, begin = _in_segment(text, begin, begin + size, chunking, tokenizer)
        spans += found
    return spans


def chunk_documents(documents: pa.Table, chunking: Chunking, tokenizer: Tokenizer) -> tuple[pa.Table, Tokens]:
    """One row a chunk in place of one row a document, and the chunks' tokens.

    Args:
        documents: id, text, and any other columns, which every chunk of a document repeats.
        chunking: how long chunks are.
        tokenizer: of the encoder that will read them.

    Returns:
        The table with ``id`` as ``DOCUMENT#K`` (K from 0) and the columns doc_id, chunk, chunk_start, chunk_end
        (characters of the document, `pipeline.table.schema.CHUNKS`). A chunk that its prompt makes too long, because
        tokens differ at its ends, is halved until it fits.

    Raises:
        SpecError: the window does not fit the prompt and its limit.
    """
    chunking.refuse_unless_fits(tokenizer)
    texts: list[str] = documents.column("text").to_pylist()
    owners, starts, stops = _flat([split(text, chunking, tokenizer) for text in texts])
    while True:
        pieces = [texts[owner][start:stop] for owner, start, stop in zip(owners, starts, stops, strict=True)]
        tokens = tokenizer(pieces)
        cut = tokens.truncated & (stops - starts > 1)
        if not cut.any():
            return _rows(documents, owners, starts, stops, pieces), tokens
        spans = zip(pieces, starts.tolist(), stops.tolist(), cut, strict=True)
        parts = [_halves(piece, start) if long else [(start, stop)] for piece, start, stop, long in spans]
        within, starts, stops = _flat(parts)
        owners = owners[within]


def _in_segment(
    text: str, begin: int, end: int, chunking: Chunking, tokenizer: Tokenizer
) -> tuple[list[tuple[int, int]], int]:
    """The chunks that a segment decides, and where the first one after them begins."""
    offsets = begin + np.maximum.accumulate(tokenizer.own_offsets(text[begin:end]), axis=0)
    last, end = end >= len(text), min(end, len(text))
    count = len(offsets)
    sure = count if last else max(count - MARGIN_TOKENS, min(count, chunking.window + 1))
    spans: list[tuple[int, int]] = []
    start, first, new = begin, 0, begin + 1
    while sure - first > chunking.window:
        earliest, latest = (int(offsets[first + n, 1]) for n in (chunking.window // 2, chunking.window - 1))
        if latest >= new:
            stop = _word_end(text, max(earliest, new), latest)
            spans.append((start, stop))
            start = _next_start(text, start, stop, offsets, chunking.overlap)
            new = _after_space(text, stop) + 1
        else:  # the window holds no text after the last chunk
            start = new - 1
        first = int(np.searchsorted(offsets[:, 1], start, side="right"))
    if last or not spans:  # the rest, or a segment of fewer tokens than a window
        spans.append((start, end))
        start = _after_space(text, end)
    return _trimmed(text, spans), start


def _word_end(text: str, earliest: int, latest: int) -> int:
    """The last place from `earliest` to `latest` that cuts no word; `latest` where there is none."""
    if text[latest - 1].isspace() or text[latest : latest + 1].isspace():
        return latest
    head = text[earliest:latest].rsplit(None, 1)
    if len(head) == 2:
        return latest - len(head[1])
    return earliest if text[earliest : earliest + 1].isspace() else latest


def _next_start(text: str, start: int, stop: int, offsets: np.ndarray, overlap: int) -> int:
    """`overlap` tokens before `stop`, at the beginning of a word where there is one; always after `start`."""
    after = _after_space(text, stop)
    if not overlap or after == len(text):
        return after
    held = int(np.searchsorted(offsets[:, 1], stop, side="right"))
    back = _after_space(text, _word_start(text, start, int(offsets[held - overlap, 0]), stop))
    return back if start < back < stop else after


def _word_start(text: str, start: int, place: int, stop: int) -> int:
    """The beginning of the first word from `place` to `stop`, else of the one around `place`, else `place`."""
    if place == 0 or text[place - 1].isspace() or text[place].isspace():
        return place
    rest = text[place:stop].split(None, 1)
    if len(rest) == 2:
        return stop - len(rest[1])
    head = text[start:place].rsplit(None, 1)
    return place - len(head[1]) if len(head) == 2 else place


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _trimmed(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans without white space at their cuts, and without blank ones."""
    kept: list[tuple[int, int]] = []
    for start, stop in spans:
        piece = text[start:stop]
        if piece and not piece.isspace():
            lead = len(piece) - len(piece.lstrip()) if start else 0
            trail = len(piece) - len(piece.rstrip()) if stop < len(text) else 0
            kept.append((start + lead, stop - trail))
    return kept


def _halves(piece: str, start: int) -> list[tuple[int, int]]:
    """The two halves of a piece that begins at `start`, cut between words where that is possible."""
    middle = _word_end(piece, max(len(piece) // 4, 1), max(len(piece) // 2, 1))
    return [(start + first, start + last) for first, last in _trimmed(piece, [(0, middle), (middle, len(piece))])]


def _flat(spans: list[list[tuple[int, int]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Owner, start and stop of each span, int64."""
    owners = np.repeat(np.arange(len(spans)), np.array([len(own) for own in spans], dtype=np.int64))
    places = np.array([place for own in spans for place in own], dtype=np.int64).reshape(-1, 2)
    return owners, places[:, 0], places[:, 1]


def _rows(
    documents: pa.Table, owners: np.ndarray, starts: np.ndarray, stops: np.ndarray, pieces: list[str]
) -> pa.Table:
    number = np.arange(len(owners)) - np.searchsorted(owners, owners)
    rows = documents.drop_columns(["text"]).take(pa.array(owners))
    names = rows.column("id")
    ids = pc.binary_join_element_wise(names, pa.array(number).cast(pa.string()), "#")
    made = {
        "text": pa.array(pieces, pa.large_string()),
        "doc_id": names,
        "chunk": pa.array(number.astype(np.int32)),
        "chunk_start": pa.array(starts),
        "chunk_end": pa.array(stops),
    }
    rows = rows.set_column(rows.schema.get_field_index("id"), "id", ids)
    for name, column in made.items():
        rows = rows.append_column(name, column)
    return rows
