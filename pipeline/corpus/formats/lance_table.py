"""Lance directories: columns from the dataset's schema, rows by position in the version that was listed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.corpus.formats.base import Extent, RawRows, ReaderOptions, UnreadableError, columns_there
from pipeline.corpus.source_file import SourceFile
from pipeline.errors import SourceError, first_line
from pipeline.storage import is_local, lance_uri, object_store_options

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    import lance

__all__ = ["extents", "open_dataset", "read", "schema", "unlisted"]


def open_dataset(uri: str, version: int | None, storage_options: Mapping[str, Any] | None) -> lance.LanceDataset:
    """The dataset at `uri`.

    Raises:
        UnreadableError: a local directory that is no Lance dataset, or is damaged.
        SourceError: a remote one, of which the cause cannot be told, or a storage that Lance does not know.
        UsageError: an option that cannot be passed on to Lance.
    """
    # Lance takes longer to import than the readers of all other formats together, which most workers need not spend.
    import lance

    options = object_store_options(uri, storage_options) or None
    with _understood(uri):
        dataset = lance.dataset(lance_uri(uri), version=version, storage_options=options)
        _ = dataset.schema  # at a type that it does not know Lance panics here
    return dataset


@contextmanager
def _understood(uri: str) -> Generator[None]:
    """What Lance raises becomes ours, its panics at a damaged manifest too, which are no `Exception`."""
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        raise _error(uri, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise _error(uri, error) from error


def _error(uri: str, error: BaseException) -> SourceError:
    message = f"not readable as a Lance dataset: {first_line(error)}"
    return UnreadableError(f"{uri}: {message}") if is_local(uri) else SourceError(f"{uri}: {message}")


def unlisted(uri: str) -> SourceFile:
    """A directory that was not opened yet, or could not be: it stands for its newest version."""
    return SourceFile(uri, "lance", None, 0, "0-damaged")


def _listed(file: SourceFile, storage_options: Mapping[str, Any] | None) -> lance.LanceDataset:
    return open_dataset(file.uri, int(file.version.split("-")[0]) or None, storage_options)


def schema(file: SourceFile, storage_options: Mapping[str, Any] | None) -> pa.Schema:
    """Names and types of all columns."""
    return _listed(file, storage_options).schema


def extents(file: SourceFile, options: ReaderOptions, storage_options: Mapping[str, Any] | None) -> tuple[Extent, ...]:
    """One for each fragment, in order; its bytes are those of all columns."""
    with _understood(file.uri):
        dataset = _listed(file, storage_options)
        columns_there(options, dataset.schema.names)
        fragments = [fragment.metadata for fragment in dataset.get_fragments()]
    return tuple(Extent(each.num_rows, sum(data.file_size_bytes or 0 for data in each.files)) for each in fragments)


def read(
    file: SourceFile, options: ReaderOptions, start: int, stop: int, storage_options: Mapping[str, Any] | None
) -> Iterator[RawRows]:
    """The rows ``start`` to ``stop`` in order, up to `options.slice_rows` at a time."""
    dataset = _listed(file, storage_options)
    columns = columns_there(options, dataset.schema.names)
    row = start
    with _understood(file.uri):
        scanner = dataset.scanner(
            columns=columns,
            offset=start,
            limit=stop - start,
            batch_size=options.slice_rows,
            scan_in_order=True,
        )
        for batch in scanner.to_batches():
            yield RawRows.numbered(pa.Table.from_batches([batch]), row)
            row += batch.num_rows
