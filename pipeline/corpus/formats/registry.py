"""Which formats there are. A new one is a module that fulfils a protocol of `protocols`, and a line in `FORMATS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipeline.corpus.formats import json_document, json_lines, lance_table, parquet, plain_text, warc, webdataset
from pipeline.corpus.formats.delimited import reader as delimited

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.corpus.formats.protocols import Reader

__all__ = ["FORMATS", "FileFormat"]


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format: who reads it, and how its files are told by their names."""

    reader: Reader
    """A module with the functions of `Seekable` or of `Stream`."""

    suffixes: tuple[str, ...]
    """How the names of its files end, with the dot."""

    compressible: bool = True
    """Whether a file may be compressed as a whole, which a second suffix tells (``.jsonl.gz``)."""


FORMATS: Final[Mapping[str, FileFormat]] = {
    "parquet": FileFormat(parquet, (".parquet", ".pq"), compressible=False),
    "jsonl": FileFormat(json_lines, (".jsonl", ".ndjson")),
    "json": FileFormat(json_document, (".json",)),
    "csv": FileFormat(delimited, (".csv",)),
    "tsv": FileFormat(delimited, (".tsv",)),
    "text": FileFormat(plain_text, (".txt", ".md", ".rst")),
    "lance": FileFormat(lance_table, (".lance",), compressible=False),
    "warc": FileFormat(warc, (".warc", ".wet")),
    "webdataset": FileFormat(webdataset, (".tar",)),
}
"""By the name that `SourceFile.format` has."""
