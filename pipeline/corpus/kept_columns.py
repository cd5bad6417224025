"""Kept columns: which metadata there is, and of which type the table's columns are to be.

A table's types are fixed when it is made, so they are chosen to hold the values of all files, as far as a sample of
them shows. What does not fit in the end is null, and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.arrow_types import plain_type, widened
from pipeline.corpus.formats.lines import SAMPLE_BYTES
from pipeline.corpus.partitions import partition_types
from pipeline.corpus.readers import UnreadableError, file_schema, inflated_size, is_stream
from pipeline.errors import SourceError
from pipeline.prefetch import map_ahead
from pipeline.storage import is_local

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipeline.corpus.readers import ReaderOptions
    from pipeline.corpus.source_file import SourceFile

__all__ = ["keep_schema"]

_MOST_FOOTERS: Final = 1024
"""Local files that tell their schema by their metadata: half a second."""
_MOST_FILES: Final = 32
"""Others: of streams the first megabytes are parsed, and storages answer each with a request..."""
_MOST_BYTES: Final = 64 << 20
"""...and so many bytes of streams in all, a second or two, but of this many files at least:"""
_FEWEST_FILES: Final = 8


def keep_schema(
    files: Sequence[SourceFile], options: ReaderOptions, *, storage_options: Mapping[str, Any] | None = None
) -> pa.Schema:
    """Names and types of the metadata columns, all nullable: types that hold the values of a sample of the files.

    The column of a file goes before a partition of that name in its path. Dictionaries are decoded, extension types
    reduced to their storage, columns without any value become strings.

    Raises:
        SourceError: a column is in no file and no path, is there twice, or is one that Lance cannot store.
    """
    if not options.keep:
        return pa.schema([])
    schemas = _schemas(files, storage_options)
    partitions = partition_types(file.uri for file in files)
    return pa.schema([(name, _type(name, schemas, partitions)) for name in options.keep])


def _type(name: str, schemas: Sequence[pa.Schema], partitions: Mapping[str, pa.DataType]) -> pa.DataType:
    types = [plain_type(schema.field(name).type, pa.null()) for schema in schemas if schema.names.count(name) == 1]
    types += [partitions[name]] if name in partitions else []
    if not types:
        raise _missing(name, schemas, partitions)
    found = types[0]
    for each in types[1:]:
        found = widened(found, each)
    chosen = plain_type(found)
    if not _is_storable(chosen):
        raise SourceError(f"column {name!r} is {chosen}, which a table cannot hold; leave it out, or convert it")
    return chosen


def _missing(name: str, schemas: Sequence[pa.Schema], partitions: Iterable[str]) -> SourceError:
    times = max((schema.names.count(name) for schema in schemas), default=0)
    if times > 1:
        return SourceError(f"{times} columns are called {name!r}; rename them")
    there = list(dict.fromkeys([*(each for schema in schemas for each in schema.names), *partitions]))
    return SourceError(f"no column {name!r} in the input; there are: {', '.join(there[:30]) or 'none'}")


def _schemas(files: Sequence[SourceFile], storage_options: Mapping[str, Any] | None) -> list[pa.Schema]:
    """The schemas of a sample of the files, in the order of their names; damaged files have none."""

    def schema(file: SourceFile) -> pa.Schema | None:
        try:
            return file_schema(file, storage_options=storage_options)
        except UnreadableError:
            return None

    ordered = sorted((file for file in files if file.format != "text"), key=lambda each: each.uri)
    cheap = [not is_stream(file) and is_local(file.uri) for file in ordered]
    sample = _spread([file for file, is_cheap in zip(ordered, cheap, strict=True) if is_cheap], _MOST_FOOTERS)
    others = [file for file, is_cheap in zip(ordered, cheap, strict=True) if not is_cheap]
    sample += _spread(others, _affordable(others))
    if not all(is_local(file.uri) for file in sample):
        return [found for _, found in map_ahead(schema, sample) if found is not None]
    return [found for found in map(schema, sample) if found is not None]


def _affordable(files: Sequence[SourceFile]) -> int:
    """How many of the files may be looked at."""
    parsed = sum(min(inflated_size(file), SAMPLE_BYTES) for file in files if is_stream(file))
    return min(_MOST_FILES, max(_FEWEST_FILES, len(files) * _MOST_BYTES // max(parsed, 1)))


def _spread(files: list[SourceFile], most: int) -> list[SourceFile]:
    """At most so many, from the first one to the last."""
    return [files[at] for at in np.unique(np.linspace(0, len(files) - 1, most).astype(int))] if files else []


def _is_storable(given: pa.DataType) -> bool:
    """Lance 14 holds no maps, unions, intervals, or fixed-size lists of anything but numbers."""
    if pa.types.is_map(given) or pa.types.is_union(given) or pa.types.is_interval(given):
        return False
    inner = [given.field(index).type for index in range(given.num_fields)]
    if pa.types.is_fixed_size_list(given) and not pa.types.is_primitive(inner[0]):
        return False
    return all(map(_is_storable, inner))
