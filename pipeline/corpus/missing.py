"""Which files are gone: of those that a table knows, the ones below the given sources that are there no more.

A source that is a file has nothing below it. A directory or prefix has everything under its name, a glob what it would
match. A file counts as gone only if the listing lacks it *and* the storage, asked for it by name, does not know it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fsspec.utils import glob_translate

from pipeline.corpus.sources import absolute
from pipeline.corpus.unchanged import exists
from pipeline.prefetch import map_ahead
from pipeline.storage import filesystem, is_local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["missing_files"]


def missing_files(
    known: Iterable[str],
    listed: Iterable[str],
    sources: Sequence[str],
    storage_options: Mapping[str, Any] | None = None,
) -> list[str]:
    """Those of the URIs `known` that are below `sources` and do not exist; sorted.

    Args:
        known: canonical URIs, as a table has them.
        listed: canonical URIs that `list_sources(sources)` found.
        sources: as it was called with.
        storage_options: for remote sources.

    Raises:
        SourceError: a storage failed.
    """
    scopes = [_scope(source, storage_options) for source in sources]
    missing = sorted(set(known) - set(listed))
    below = [uri for uri in missing if any(scope(uri) for scope in scopes)]
    return [uri for uri, is_there in map_ahead(lambda each: exists(each, storage_options), below) if not is_there]


def _scope(source: str, storage_options: Mapping[str, Any] | None) -> Callable[[str], bool]:
    fs, path = filesystem(absolute(source) if is_local(source) else source, storage_options)
    uri = str(fs.unstrip_protocol(path)).rstrip("/")
    if any(mark in path for mark in "*?[") and not fs.exists(path):
        matches = re.compile(glob_translate(uri))
        return lambda candidate: matches.match(candidate) is not None
    return lambda candidate: candidate.startswith(f"{uri}/")
