"""WebDataset shards: tar archives in which the files of one name, up to its first dot, make a sample, that is a row.

Of a sample ``.txt`` and ``.json`` are read; of pictures, tensors and pickles not a byte is looked at, and nothing is
written to disk. tarfile ends at the first header that it cannot read as if the archive ended there; that is told
apart here.
"""

from __future__ import annotations

import posixpath
import tarfile
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, Self

from pipeline.corpus.formats.base import MAX_TEXT_BYTES, BadRow, RawRows, ReaderOptions, Skip, UnreadableError
from pipeline.corpus.formats.content import ForwardFile, plain_chunks
from pipeline.corpus.formats.records import Record, parse_object, records_schema, stream_records
from pipeline.errors import SourceError
from pipeline.rejects import MALFORMED, NOT_UTF8, TOO_LONG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from pipeline.corpus.source_file import SourceFile

__all__ = ["KEY", "schema", "stream"]

KEY: Final = "__key__"
"""The column that holds a sample's name, folders included."""

_SAMPLE_ROWS: Final = 128
"""Fewer than in other formats: to look at a sample's text means to pass its pictures."""
_BLOCK_ROWS: Final = 64


class _Member(tarfile.TarInfo):
    """A member's header; only the archive's regular end ends it."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except (SourceError, _END):
            raise
        except Exception as error:  # of any class: tarfile trusts the numbers in extended headers
            raise UnreadableError(f"a damaged or cut off archive: {error}") from error


_END: Final[type[Exception]] = tarfile.EOFHeaderError


@dataclass(slots=True)
class _Sample:
    key: str
    parts: dict[str, bytes | BadRow] = field(default_factory=dict)

    def record(self) -> Record:
        """``__key__``, what the JSON holds, and the text as ``text``."""
        for kind, part in self.parts.items():
            if isinstance(part, BadRow):
                return BadRow(-1, part.reason, f"{self.key}.{kind}: {part.detail}")
        return self._joined({kind: part for kind, part in self.parts.items() if isinstance(part, bytes)})

    def _joined(self, parts: dict[str, bytes]) -> Record:
        found = parse_object(parts["json"]) if "json" in parts else {}
        if isinstance(found, BadRow):
            return BadRow(-1, found.reason, f"{self.key}.json: {found.detail}")
        try:
            text = {"text": parts["txt"].decode("utf-8-sig")} if "txt" in parts else {}
        except UnicodeDecodeError as error:
            return BadRow(-1, NOT_UTF8, f"{self.key}.txt: {error}")
        return {KEY: self.key} | found | text | {KEY: self.key}


def schema(file: SourceFile, storage_options: Mapping[str, Any] | None) -> pa.Schema:
    """``__key__``, ``text`` if there are ``.txt`` files, and the keys of the ``.json`` files; of the first samples.

    Raises:
        UnreadableError: not one sample can be read.
    """
    seen: list[Record] = []
    try:
        seen.extend(islice(_rows(file, storage_options), _SAMPLE_ROWS))
    except UnreadableError:
        if not seen:
            raise
    return records_schema(seen)


def stream(
    file: SourceFile,
    options: ReaderOptions,
    keep: pa.Schema,
    skip: Skip,
    storage_options: Mapping[str, Any] | None,
) -> Iterator[RawRows]:
    """The file's slices in order; `keep` gives the types of the metadata columns."""
    return stream_records(_rows(file, storage_options), options, keep, skip, _BLOCK_ROWS)


def _rows(file: SourceFile, storage_options: Mapping[str, Any] | None) -> Iterator[Record]:
    """A sample whose files were cut off is none."""
    sample: _Sample | None = None
    for key, kind, part in _parts(plain_chunks(file, storage_options)):
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample.record()
            sample = _Sample(key)
        if kind in sample.parts:
            sample.parts[kind] = BadRow(-1, MALFORMED, "there are two of it")
        elif part is not None:
            sample.parts[kind] = part
    if sample is not None:
        yield sample.record()


def _parts(chunks: Iterator[bytes]) -> Iterator[tuple[str, str, bytes | BadRow | None]]:
    """Key, extension and content of each regular file; the content of ``.txt`` and ``.json`` only."""
    head = next(chunks, b"")
    if not head:
        return
    content: Any = ForwardFile(chain([head], chunks))
    try:
        with tarfile.TarFile(fileobj=content, tarinfo=_Member, errors="surrogateescape") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # it would keep them all
                folder, name = posixpath.split(member.name)
                stem, _, kind = name.partition(".")
                if member.isreg() and stem and not stem.startswith("__"):
                    yield posixpath.join(folder, stem), kind.lower(), _read(archive, member, kind.lower())
    except tarfile.TarError as error:
        raise UnreadableError(f"a damaged or cut off archive: {error}") from error
    if any(piece.strip(b"\0") for piece in content.rest()):
        raise UnreadableError("there is more after the end of the archive; were several joined?")


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo, kind: str) -> bytes | BadRow | None:
    if kind not in {"txt", "json"}:
        return None
    if member.size > MAX_TEXT_BYTES:
        return BadRow(-1, TOO_LONG, "more than 64 MiB")
    reader = archive.extractfile(member)
    data = b"" if reader is None else reader.read()
    if len(data) < member.size:
        raise UnreadableError(f"{member.name} has {len(data)} of {member.size} bytes: the archive was cut off")
    return data
