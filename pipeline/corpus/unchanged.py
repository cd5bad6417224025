"""Files that change while they are read: what was read of them stands for no version and must not be committed.

A batch is given out only if its files, after it was read, are still in the version that was planned. What came before
in other batches stays: it was read while that version was there.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus.sources import version_of
from pipeline.prefetch import map_ahead
from pipeline.storage import filesystem, fsspec_errors, is_local

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipeline.corpus.reading import DocumentBatch
    from pipeline.corpus.slices import WorkUnit
    from pipeline.corpus.source_file import SourceFile

__all__ = ["exists", "has_changed", "without_changed_files"]

logger = logging.getLogger(__name__)


def without_changed_files(
    batches: Iterable[DocumentBatch], unit: WorkUnit, storage_options: Mapping[str, Any] | None = None
) -> Iterator[DocumentBatch]:
    """The batches of `unit` without the documents, rejects and records of files that are no longer what was planned.

    Raises:
        SourceError: a storage failed.
    """
    planned = {part.file.uri: part.file for part in unit.parts}
    for batch in batches:
        changed = _changed([planned[uri] for uri in sorted(_files_of(batch))], storage_options)
        for uri in changed:
            logger.warning("%s changed while it was read: left to the next run", uri)
        yield _without(batch, changed) if changed else batch


def has_changed(file: SourceFile, storage_options: Mapping[str, Any] | None = None) -> bool:
    """Whether `file` is gone, or there in another version.

    Raises:
        SourceError: its storage failed.
    """
    with fsspec_errors(f"{file.uri}: cannot be looked at"):
        fs, path = filesystem(file.uri, storage_options)
        fs.invalidate_cache()
        try:
            if version_of(fs, fs.info(path), storage_options) == file.content_version:
                return False
            # Some storages tell more of a file that is asked for than of one that is listed.
            listed = [] if is_local(file.uri) or file.format == "lance" else fs.ls(path, detail=True)
        except FileNotFoundError:
            return True
        return all(version_of(fs, info, storage_options) != file.content_version for info in listed)


def exists(uri: str, storage_options: Mapping[str, Any] | None = None) -> bool:
    """Whether there is a file or directory.

    Raises:
        SourceError: the storage failed.
    """
    with fsspec_errors(f"{uri}: cannot be looked at"):
        fs, path = filesystem(uri, storage_options)
        fs.invalidate_cache()
        try:
            fs.info(path)
        except FileNotFoundError:
            return False
        return True


def _files_of(batch: DocumentBatch) -> set[str]:
    tables = [table.column("source").unique().to_pylist() for table in (batch.documents, batch.rejects)]
    return {record.uri for record in batch.finished_files}.union(*tables)


def _changed(files: list[SourceFile], storage_options: Mapping[str, Any] | None) -> list[str]:
    if all(is_local(file.uri) for file in files):
        return [file.uri for file in files if has_changed(file, storage_options)]
    return [file.uri for file, changed in map_ahead(lambda each: has_changed(each, storage_options), files) if changed]


def _without(batch: DocumentBatch, uris: list[str]) -> DocumentBatch:
    gone = pa.array(uris, pa.string())

    def rest(table: pa.Table) -> pa.Table:
        return table.filter(pc.invert(pc.is_in(table.column("source"), value_set=gone)))

    records = tuple(record for record in batch.finished_files if record.uri not in uris)
    tables = {name: rest(getattr(batch, name)) for name in ("documents", "rejects", "misfits")}
    return replace(batch, **tables, finished_files=records)
