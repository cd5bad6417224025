"""From a file's stored bytes to its content: decompression, as pieces or as a file that is read forward only.

Decompression is done with the libraries' objects and not with file wrappers, because of two of their habits: what a
wrapper had decompressed before the break of a truncated file is lost with the read that raises, and zstandard's
wrapper takes a truncated file for a complete one.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Any, Final

import zstandard

from pipeline.corpus.formats.base import MAX_TEXT_BYTES, GuardedFile, UnreadableError, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.corpus.source_file import Compression, SourceFile

__all__ = ["ForwardFile", "inflated_size", "plain_chunks"]

_READ_BYTES: Final = 1 << 20
_USUAL_RATIO: Final = 4
"""How much larger than its file a compressed text is taken to be."""
_INFLATE_BYTES: Final = 16 << 10
"""Compressed bytes at a time: at deflate's best ratio (1032) 16 MiB come out."""

_DECOMPRESSORS: Final[Mapping[Compression, Callable[[], Any]]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "bz2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}


def inflated_size(file: SourceFile) -> int:
    """About how many bytes of text the file holds."""
    return file.size * (_USUAL_RATIO if file.compression else 1)


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


class ForwardFile:
    """Chunks as the binary file that an archive's parser wants; it goes forward only and holds one chunk.

    When the chunks break off with `UnreadableError`, what came before it is read first.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0
        self._offset = 0
        self._broken: UnreadableError | None = None

    def tell(self) -> int:
        """Bytes read or skipped until now."""
        return self._offset

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end, or before a break.

        Raises:
            UnreadableError: `size` is negative or beyond 64 MiB, which no header or text is.
        """
        if not 0 <= size <= MAX_TEXT_BYTES:
            raise UnreadableError(f"damaged: a part of {size} bytes is announced at byte {self._offset}")
        pieces: list[bytes] = []
        try:
            pieces.extend(self._pieces(size))
        except UnreadableError:
            if not pieces:
                raise
        return b"".join(pieces)

    def seek(self, offset: int) -> int:
        """Go forward to `offset`, or to the end if that comes first.

        Raises:
            UnreadableError: `offset` lies behind.
        """
        if offset < self._offset:
            raise UnreadableError(f"damaged: byte {self._offset} points back to byte {offset}")
        for _ in self._pieces(offset - self._offset):
            pass
        return self._offset

    def rest(self) -> Iterator[bytes]:
        """All that is left, in pieces."""
        while piece := self.read(_READ_BYTES):
            yield piece

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size:
            if self._at == len(self._chunk):
                self._chunk, self._at = self._next_chunk(), 0
                if not self._chunk:
                    return
            piece = self._chunk[self._at : self._at + size]
            self._at += len(piece)
            self._offset += len(piece)
            size -= len(piece)
            yield piece

    def _next_chunk(self) -> bytes:
        if self._broken is None:
            try:
                return next(self._chunks, b"")
            except UnreadableError as error:
                self._broken = error
        raise self._broken
