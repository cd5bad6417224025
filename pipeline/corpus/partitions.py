"""Partitions: values that stand in a file's path, as in ``year=2024/lang=de/part-0.parquet``, and in no row of it."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from pipeline.corpus.formats.columns import infer_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

__all__ = ["partition_types", "partition_values"]

_NULL: Final = "__HIVE_DEFAULT_PARTITION__"


def partition_values(uri: str) -> dict[str, str | None]:
    """Name → value of each folder that is called ``name=value``, as Hive and Spark write them; None for null."""
    return _values(posixpath.dirname(uri))


def partition_types(uris: Iterable[str]) -> dict[str, pa.DataType]:
    """Name → the type that holds the values in the paths of all files, chosen as for delimited text."""
    found: dict[str, set[str | None]] = {}
    for folder in {posixpath.dirname(uri) for uri in uris}:
        for name, value in _values(folder).items():
            found.setdefault(name, set()).add(value)
    return {name: infer_text(list(values)) for name, values in found.items()}


def _values(folder: str) -> dict[str, str | None]:
    pairs = (part.partition("=") for part in folder.split("/"))
    return {unquote(name): _value(value) for name, equals, value in pairs if name and equals}


def _value(written: str) -> str | None:
    return None if written in {_NULL, ""} else unquote(written)
