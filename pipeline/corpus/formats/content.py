"""From a file's stored bytes to its content: decompression and encoding, in pieces or as a file that goes forward only.

Decompression is done with the libraries' objects and not with file wrappers, because of two of their habits: what a
wrapper had decompressed before the break of a truncated file is lost with the read that raises, and zstandard's
wrapper takes a truncated file for a complete one.
"""

from __future__ import annotations

import bz2
import codecs
import lzma
import zlib
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import zstandard

from pipeline.corpus.dialect import UTF8, dialect_of
from pipeline.corpus.formats.base import MAX_TEXT_BYTES, GuardedFile, UnreadableError, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.corpus.source_file import Compression, SourceFile

__all__ = ["ForwardFile", "head_and_rest", "inflated_size", "marked_encoding", "plain_chunks", "utf8_chunks"]

_READ_BYTES: Final = 1 << 20
_USUAL_RATIO: Final = 4
"""How much larger than its file a compressed text is taken to be."""
_INFLATE_BYTES: Final = 16 << 10
"""Compressed bytes at a time: at deflate's best ratio (1032) 16 MiB come out."""

_BEGINNING_BYTES: Final = 4096
_MARKS: Final = (
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before the mark of UTF-16, which is its beginning
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_INVALID: Final = "moee.invalid"

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


def utf8_chunks(file: SourceFile, storage_options: Mapping[str, Any] | None) -> Iterator[bytes]:
    """The content of a text file in pieces, in UTF-8 and without a byte order mark.

    The encoding is the one that a mark at the beginning tells, else that of the file's dialect. Of bytes that are no
    text in it something is left that is no UTF-8.

    Raises:
        UnreadableError: as of `plain_chunks`, or the text is UTF-16 and nothing says in which order its bytes are.
        SourceError: reading failed.
    """
    beginning, chunks = head_and_rest(plain_chunks(file, storage_options), lambda size, _: size >= _BEGINNING_BYTES)
    mark, encoding = marked_encoding(beginning) or (b"", dialect_of(file).encoding)
    if encoding == UTF8:
        if not mark:
            _refuse_utf16(beginning)
        yield beginning.removeprefix(mark)
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)(_INVALID)
    for chunk in chain([beginning.removeprefix(mark)], chunks):
        yield _decoded(decoder, chunk)
    yield _decoded(decoder, b"", final=True)


def marked_encoding(beginning: bytes) -> tuple[bytes, str] | None:
    """The byte order mark with which a text begins, and the encoding that it tells."""
    return next(((mark, encoding) for mark, encoding in _MARKS if beginning.startswith(mark)), None)


def _refuse_utf16(beginning: bytes) -> None:
    """Western text in UTF-16 has a NUL in nearly every second byte, and none in the others."""
    for name, at in (("utf-16-le", 1), ("utf-16-be", 0)):
        zeros, others = beginning[at::2].count(0), beginning[1 - at :: 2].count(0)
        if zeros > len(beginning) // 4 and not others:
            raise UnreadableError(
                f"every second byte is NUL, as in UTF-16 without a byte order mark: --encoding {name} reads it"
            )


def head_and_rest(chunks: Iterator[bytes], is_enough: Callable[[int, bytes], bool]) -> tuple[bytes, Iterator[bytes]]:
    """The first pieces as one, and those after them; where they break off, that comes after them, too.

    Args:
        chunks: of a file.
        is_enough: given the bytes so far and the last piece, whether to stop.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            pieces.append(chunk)
            size += len(chunk)
            if is_enough(size, chunk):
                break
    except UnreadableError as error:
        return b"".join(pieces), _broken(error)
    return b"".join(pieces), chunks


def _broken(error: UnreadableError) -> Iterator[bytes]:
    raise error
    yield b""


def _decoded(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bytes:
    """In UTF-8."""
    try:
        return decoder.decode(chunk, final).encode("utf-8", "surrogateescape")
    except UnicodeError as error:  # of UTF-16 and UTF-32 without a mark, which no error handler can mend
        raise UnreadableError(f"{error}: say the order of its bytes, such as --encoding utf-16-le") from error


def _invalid(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end  # the byte 0xFF, which is nowhere in UTF-8


codecs.register_error(_INVALID, _invalid)


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
