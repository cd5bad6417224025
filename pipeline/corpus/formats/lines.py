"""From a text file's bytes to its lines: decompression, line ends, and a bound on what one line may cost.

Decompression is done with the libraries' objects and not with file wrappers, because of two of their habits: what a
wrapper had decompressed before the break of a truncated file is lost with the read that raises, and zstandard's
wrapper takes a truncated file for a complete one.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

import zstandard

from pipeline.corpus.formats.base import MAX_TEXT_BYTES, GuardedFile, UnreadableError, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pipeline.corpus.sources import Compression, SourceFile

__all__ = ["in_groups", "line_blocks", "plain_chunks"]

T = TypeVar("T")

_READ_BYTES: Final = 1 << 20
_INFLATE_BYTES: Final = 16 << 10
"""Compressed bytes at a time: at deflate's best ratio (1032) 16 MiB come out."""

_DECOMPRESSORS: Final[Mapping[Compression, Callable[[], Any]]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "bz2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def plain_chunks(file: SourceFile, storage_options: Mapping[str, Any] | None) -> Iterator[bytes]:
    """The file's content in pieces, decompressed.

    Raises:
        UnreadableError: after the last good piece, if the compressed data is damaged or ends too early.
        SourceError: reading failed.
    """
    with opened(file, storage_options) as guard:
        if file.compression is None:
            yield from iter(lambda: guard.read(_READ_BYTES), b"")
        else:
            yield from _inflated(guard, _DECOMPRESSORS[file.compression])


def _inflated(guard: GuardedFile, new: Callable[[], Any]) -> Iterator[bytes]:
    """Any number of compressed members, one after the other."""
    member: Any = None
    while chunk := guard.read(_INFLATE_BYTES):
        while chunk:
            if member is None or member.eof:
                chunk = chunk.lstrip(b"\0")  # padding between members and after the last one
                if not chunk:
                    break
                member = new()
            if plain := member.decompress(chunk):
                yield plain
            chunk = member.unused_data if member.eof else b""
    if member is not None and not member.eof:
        raise UnreadableError("the compressed data ends too early: the file was cut off")


def line_blocks(chunks: Iterable[bytes], longest: int = MAX_TEXT_BYTES) -> Iterator[list[bytes | None]]:
    r"""Whole lines without their ``\n``, some at a time; None stands for a line of more than `longest` bytes."""
    pieces: list[bytes] = []
    size, too_long, first = 0, False, True
    for chunk in chunks:
        cut = chunk.rfind(b"\n")
        if cut >= 0:
            whole = b"".join((*pieces, chunk[:cut]))
            lines: list[bytes | None] = [*_without_mark(whole, first).split(b"\n")]
            if too_long:
                lines[0] = None
            yield lines
            pieces, size, too_long, first = [], 0, False, False
        size += len(chunk) - cut - 1
        too_long = size > longest
        if too_long:
            pieces = []
        else:
            pieces.append(chunk[cut + 1 :])
    if too_long:
        yield [None]
    elif size:
        yield [_without_mark(b"".join(pieces), first)]


def _without_mark(text: bytes, first: bool) -> bytes:  # noqa: FBT001
    return text.removeprefix(_BYTE_ORDER_MARK) if first else text


def in_groups(blocks: Iterable[list[T]], size: int) -> Iterator[list[T]]:
    """The items of all blocks in lists of `size`; the last one may be shorter.

    When `blocks` breaks off with `UnreadableError`, what came before it is given first.
    """
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
