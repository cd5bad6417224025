"""One input file: where it is, in which format, and which version of it was listed."""

from __future__ import annotations

import posixpath
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Compression", "SourceFile"]

Compression = Literal["gzip", "zstd", "bz2", "xz"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input file, or one Lance directory."""

    uri: str
    """Canonical: one file has one URI, however it was named."""

    format: str
    """A key of `pipeline.corpus.formats.registry.FORMATS`."""

    compression: Compression | None
    """How the file is compressed as a whole; None where it is not."""

    size: int
    """Bytes as stored."""

    version: str
    """Changes when the content does, or the dialect."""

    dialect: str = ""
    """How its text is written, where that is not usual for the format: JSON, a part of `version`
    (`pipeline.corpus.dialect`)."""

    @property
    def content_version(self) -> str:
        """Changes when the content does."""
        return self.version.removesuffix(f" {self.dialect}") if self.dialect else self.version

    @property
    def name(self) -> str:
        """The last part of the URI."""
        return posixpath.basename(self.uri)

    def to_json(self) -> dict[str, Any]:
        """A mapping of JSON values; `SourceFile(**mapping)` is the way back."""
        return asdict(self)
