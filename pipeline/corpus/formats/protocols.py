"""What a format has to offer: one of two protocols, which a module with these functions fulfils.

A `Seekable` format tells from its metadata how many rows a file has, and reads any range of them: Parquet, Lance, text.
A `Stream` tells only by its end how long it is, and is read from the beginning: JSON lines, delimited text, archives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from pipeline.corpus.formats.base import Extent, RawRows, ReaderOptions, Skip
    from pipeline.corpus.source_file import SourceFile

__all__ = ["Reader", "Seekable", "Stream"]


@runtime_checkable
class Seekable(Protocol):
    """Reads any range of rows. All three raise `UnreadableError` for damage, SourceError for a storage that fails."""

    def schema(self, file: SourceFile, storage_options: Mapping[str, Any] | None) -> pa.Schema:
        """Names and types of all columns."""
        ...

    def extents(
        self, file: SourceFile, options: ReaderOptions, storage_options: Mapping[str, Any] | None
    ) -> tuple[Extent, ...]:
        """How the rows of the columns to read are stored, in order, from the file's metadata alone."""
        ...

    def read(
        self,
        file: SourceFile,
        options: ReaderOptions,
        start: int,
        stop: int,
        storage_options: Mapping[str, Any] | None,
    ) -> Iterator[RawRows]:
        """The rows ``start`` to ``stop`` in order, up to `options.slice_rows` at a time; rows before damage come first.

        The table of each has the columns of the options, but for metadata that the file does not have.
        """
        ...


@runtime_checkable
class Stream(Protocol):
    """Reads from the beginning. Both raise `UnreadableError` for damage, SourceError for a storage that fails."""

    def schema(self, file: SourceFile, storage_options: Mapping[str, Any] | None) -> pa.Schema:
        """Names and types of the columns, as far as the first rows show them."""
        ...

    def stream(
        self,
        file: SourceFile,
        options: ReaderOptions,
        keep: pa.Schema,
        skip: Skip,
        storage_options: Mapping[str, Any] | None,
    ) -> Iterator[RawRows]:
        """The slices in order, one `RawRows` each; rows before damage come first.

        `keep` gives the types of the metadata columns. A slice that `skip` calls finished is only counted.
        """
        ...


Reader = Seekable | Stream
