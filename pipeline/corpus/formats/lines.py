"""From text to lines: line ends, a bound on what a line may cost; items in groups and slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from pipeline.corpus.formats.base import MAX_TEXT_BYTES, RawRows, Skip, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "SAMPLE_BYTES",
    "SAMPLE_ROWS",
    "beginning",
    "in_blocks",
    "in_groups",
    "in_slices",
    "line_blocks",
    "universal_line_blocks",
]

T = TypeVar("T")

SAMPLE_ROWS: Final = 16_384
"""Rows that are looked at to find out which columns a file has, and of which types."""

SAMPLE_BYTES: Final = 8 << 20


def beginning(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks up to the end of a line beyond 8 MiB: what is looked at for a file's columns."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        cut = chunk.rfind(b"\n") + 1
        if size > SAMPLE_BYTES and cut:
            yield chunk[:cut]
            return
        yield chunk


def line_blocks(chunks: Iterable[bytes], longest: int = MAX_TEXT_BYTES) -> Iterator[list[bytes | None]]:
    r"""Whole lines without their ``\n``, some at a time; None stands for a line of more than `longest` bytes."""
    pieces: list[bytes] = []
    size, too_long = 0, False
    for chunk in chunks:
        cut = chunk.rfind(b"\n")
        if cut >= 0:
            whole = b"".join((*pieces, chunk[:cut]))
            lines: list[bytes | None] = [*whole.split(b"\n")]
            if too_long:
                lines[0] = None
            yield lines
            pieces, size, too_long = [], 0, False
        size += len(chunk) - cut - 1
        too_long = size > longest
        if too_long:
            pieces = []
        else:
            pieces.append(chunk[cut + 1 :])
    if too_long:
        yield [None]
    elif size:
        yield [b"".join(pieces)]


def universal_line_blocks(chunks: Iterable[bytes], longest: int = MAX_TEXT_BYTES) -> Iterator[list[bytes | None]]:
    r"""As `line_blocks`, where lines also end with ``\r`` and ``\r\n``; each keeps its line end."""
    pieces: list[bytes] = []
    size, too_long = 0, False
    for each in chunks:
        chunk = each
        if pieces and pieces[-1].endswith(b"\r"):  # it ends a line, if no \n follows
            chunk = b"\r" + each
            pieces[-1] = pieces[-1][:-1]
        stop = len(chunk) - chunk.endswith(b"\r")
        cut = 1 + max(chunk.rfind(b"\n", 0, stop), chunk.rfind(b"\r", 0, stop))
        if cut:
            lines: list[bytes | None] = [*b"".join((*pieces, chunk[:cut])).splitlines(keepends=True)]
            if too_long:
                lines[0] = None
            yield lines
            pieces, size, too_long = [], 0, False
        size += len(chunk) - cut
        too_long = too_long or size > longest
        pieces = [chunk[-1:]] if too_long else [*pieces, chunk[cut:]]
    if too_long:
        yield [None]
    elif rest := b"".join(pieces):
        yield [*rest.splitlines(keepends=True)]


def in_blocks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Single items as `in_slices` wants them; what was read before a break is not lost."""
    block: list[T] = []
    try:
        for item in items:
            block.append(item)
            if len(block) == size:
                yield block
                block = []
    except UnreadableError:
        yield block
        raise
    yield block


def in_slices(
    blocks: Iterable[list[T]], slice_rows: int, skip: Skip, read: Callable[[list[T], int], RawRows]
) -> Iterator[RawRows]:
    """The items of all blocks, a slice at a time: ``read(items, first row)``; finished slices are only counted.

    When `blocks` breaks off with `UnreadableError`, what came before it is given first.
    """
    start = 0
    for items in in_groups(blocks, slice_rows):
        stop = start + len(items)
        yield RawRows.counted(start, stop) if skip(start) else read(items, start)
        start = stop


def in_groups(blocks: Iterable[list[T]], size: int) -> Iterator[list[T]]:
    """The items of all blocks in lists of `size`; the last one may be shorter."""
    pending: list[T] = []
    try:
        for block in blocks:
            pending.extend(block)
            whole = len(pending) - len(pending) % size
            for start in range(0, whole, size):
                yield pending[start : start + size]
            del pending[:whole]
    except UnreadableError:
        if pending:
            yield pending
        raise
    if pending:
        yield pending
