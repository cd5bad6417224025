"""One input file: where it is, in which format, and which version of it was listed."""

from __future__ import annotations

import posixpath
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Compression", "Format", "SourceFile"]

Format = Literal["parquet", "jsonl", "csv", "tsv", "text", "lance", "warc", "webdataset"]
Compression = Literal["gzip", "zstd", "bz2", "xz"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input file, or one Lance directory. `size` is in bytes as stored; `compression` None: not compressed."""

    uri: str
    format: Format
    compression: Compression | None
    size: int
    version: str

    @property
    def name(self) -> str:
        """The last part of the URI."""
        return posixpath.basename(self.uri)

    def to_json(self) -> dict[str, Any]:
        """A mapping of JSON values; `SourceFile(**mapping)` is the way back."""
        return asdict(self)
