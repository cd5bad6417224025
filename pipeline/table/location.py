"""Where a table is: ``DIRECTORY/NAME``, local or in object storage, so that plain LanceDB opens it too.

    lancedb.connect(location.directory).open_table(location.name)

The dataset lies at ``DIRECTORY/NAME.lance``; companions are tables beside it, ``NAME.rejects`` and so on.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from pipeline.errors import UsageError
from pipeline.storage import object_store_options

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMPANIONS", "TableLocation"]

COMPANIONS: Final = (
    "calibration",
    "deleted",
    "files",
    "journal",
    "lease",
    "rejects",
    "runs",
    "slices",
    "topic_models",
    "topics",
    "topics.lease",
    "topic_assignments",
    "topic_events",
)
"""By name, since ``docs.de`` beside ``docs`` may be anybody's table."""

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")


@dataclass(frozen=True, slots=True)
class TableLocation:
    """A directory (absolute path or URL, no trailing slash), a name in it, and how to reach it."""

    directory: str
    name: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """object_store's options for `directory`; out of the repr because they may hold secrets."""

    @classmethod
    def parse(
        cls, uri: str | os.PathLike[str] | TableLocation, storage_options: Mapping[str, Any] | None = None
    ) -> TableLocation:
        """Read ``DIRECTORY/NAME`` (``.lance`` may follow) or its URL form; relative paths become absolute.

        Raises:
            UsageError: `uri` has no usable table name, or asks for an option that cannot be passed on.
        """
        if isinstance(uri, TableLocation):
            return uri if storage_options is None else cls.parse(str(uri), storage_options)
        text = os.fspath(uri).rstrip("/")
        directory, _, name = text.rpartition("/")
        name = name.removesuffix(".lance")
        if not _NAME.match(name) or directory.endswith(":/"):
            raise UsageError(
                f"{os.fspath(uri)!r} names no table: write DIRECTORY/NAME, NAME in letters, digits, '_', '-' and '.'"
            )
        if text.startswith("/") and not directory:
            directory = "/"
        directory = _canonical_directory(directory)
        return cls(directory, name, object_store_options(directory, storage_options))

    @property
    def uri(self) -> str:
        """Where Lance finds the dataset."""
        return f"{self.directory.rstrip('/')}/{self.name}.lance"

    @property
    def is_local(self) -> bool:
        """Whether the directory is a path of this machine."""
        return "://" not in self.directory

    def sibling(self, suffix: str) -> TableLocation:
        """The companion ``NAME.suffix`` in the same directory."""
        return TableLocation(self.directory, f"{self.name}.{suffix}", self.options)

    def __str__(self) -> str:
        return f"{self.directory.rstrip('/')}/{self.name}"


def _canonical_directory(directory: str) -> str:
    if "://" not in directory:
        return _absolute(Path(directory or ".").expanduser())
    parts = urlsplit(directory)
    if parts.scheme == "file":
        return _absolute(Path(unquote(parts.path)))
    return directory


def _absolute(path: Path) -> str:
    """Without ``..``, as sources are (`pipeline.corpus.sources.absolute`)."""
    return os.path.abspath(path)  # noqa: PTH100 - Path.absolute() keeps ``..``
