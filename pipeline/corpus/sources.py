"""From what a person names as SOURCE to the files that are read.

A SOURCE is a path, a directory, a glob or a URL of any of these. What comes out is sorted by canonical URI and
distinct, so that the plan does not depend on how the sources were spelled or ordered. A file's *version* changes
when its content does: the ledger is keyed by both. What is passed over comes out as well, with the reason.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.corpus.dialect import UNSAID, AskedDialect
from pipeline.corpus.dialects import settle_dialects
from pipeline.corpus.formats import lance_table
from pipeline.corpus.formats.base import UnreadableError
from pipeline.corpus.formats.registry import FORMATS
from pipeline.corpus.openings import noted
from pipeline.corpus.passed_over import CARD, NO_FILE, NOT_UTF8, TABLE, VERSION_MARK, by_reason, described, kind_of
from pipeline.corpus.source_file import Compression, SourceFile
from pipeline.corpus.walk import is_lance, matches
from pipeline.errors import SourceError
from pipeline.storage import filesystem, fsspec_errors, is_local, local_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

__all__ = ["SUPPORTED_SUFFIXES", "Listing", "absolute", "list_sources", "look_through", "version_of"]

logger = logging.getLogger(__name__)

_NAMES: Final = {suffix: name for name, each in FORMATS.items() for suffix in each.suffixes}
"""Suffix → name of the format."""
_COMPRESSIONS: Final[Mapping[str, Compression]] = {
    ".gz": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".bz2": "bz2",
    ".xz": "xz",
}
_ALSO_COMPRESSED: Final = ", ".join(name for name in _COMPRESSIONS if name != ".zstd")
SUPPORTED_SUFFIXES: Final = f"{', '.join(_NAMES)}; all but Parquet and Lance also with {_ALSO_COMPRESSED}"

_ETAGS: Final = ("ETag", "etag", "e_tag", "md5Hash", "blob_id", "xet_hash", "content_md5")
_TIMES: Final = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


@dataclass(frozen=True, slots=True)
class Listing:
    """What is behind some sources."""

    files: tuple[SourceFile, ...]
    """Sorted by URI, each once."""
    passed_over: Mapping[str, str]
    """URI of what is not read → why (`pipeline.corpus.passed_over`)."""


def list_sources(
    sources: Sequence[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    skip: Callable[[str], bool] = lambda _: False,
    dialect: AskedDialect = UNSAID,
    begun: Collection[tuple[str, str]] = (),
) -> list[SourceFile]:
    """The files of `look_through`, to be read.

    Args:
        sources: what a person named.
        storage_options: for remote sources.
        skip: see `look_through`.
        dialect: what a person says of how text is written.
        begun: (uri, version) of files that were read before (`pipeline.corpus.dialects`).

    Raises:
        SourceError, UsageError: see `look_through`.
    """
    files = look_through(sources, storage_options=storage_options, skip=skip).files
    return settle_dialects(list(files), dialect, begun, storage_options=storage_options)


def look_through(
    sources: Sequence[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    skip: Callable[[str], bool] = lambda _: False,
    is_table: Callable[[str], bool] = lambda _: False,
) -> Listing:
    """All files behind `sources`, and what is passed over there.

    Args:
        sources: what a person named.
        storage_options: for remote sources.
        skip: which Lance directories, by URI, are left out without a word; they are not opened.
        is_table: which Lance directories, by URI, hold somebody's embeddings: they are passed over unless they are
            named themselves.

    Raises:
        SourceError: a path does not exist, holds no readable file, or cannot be listed.
        UsageError: a storage option that cannot be passed on.
    """
    found: dict[str, SourceFile] = {}
    passed: dict[str, str] = {}
    for source in sources:
        files, others = _expand(source, storage_options, skip, is_table)
        found.update((file.uri, file) for file in files)
        passed.update(others)
    return Listing(
        tuple(found[uri] for uri in sorted(found)), {uri: why for uri, why in passed.items() if uri not in found}
    )


def _expand(
    source: str,
    storage_options: Mapping[str, Any] | None,
    skip: Callable[[str], bool],
    is_table: Callable[[str], bool],
) -> tuple[list[SourceFile], dict[str, str]]:
    """The files of one source, and by URI what is passed over."""
    if not source.strip():
        raise SourceError("an empty SOURCE: give a path, a directory, a glob or a URL")
    fs, path = filesystem(absolute(source) if is_local(source) else source, storage_options)
    paths: dict[str, str] = {}
    with fsspec_errors(f"{source}: cannot be listed"):
        fs.invalidate_cache()
        try:
            infos, what = matches(fs, path, paths)
        except FileNotFoundError as error:
            hint = "; a private dataset needs HF_TOKEN" if source.startswith("hf://") else ""
            raise SourceError(f"{source}: no such file or directory{hint}") from error
    wanted = [info for info in infos if not (is_lance(info["name"]) and skip(_uri(fs, info)))]
    files: list[SourceFile] = []
    for info in wanted:
        if what == "directory" and _is_card(fs, info):
            file = CARD
        elif what != "file" and is_lance(info["name"]) and is_table(_uri(fs, info)):
            file = TABLE
        else:
            file = _source_file(fs, info, storage_options)
        if isinstance(file, SourceFile):
            files.append(file)
        else:
            paths[info["name"]] = file
    if not files and len(wanted) == len(infos):
        raise _nothing(source, what, paths)
    return files, {str(fs.unstrip_protocol(name.rstrip("/"))): why for name, why in paths.items()}


def _nothing(source: str, what: str, passed: Mapping[str, str]) -> SourceError:
    if what == "file":
        return SourceError(f"{source}: not a format that can be read; these are: {SUPPORTED_SUFFIXES}")
    if what == "glob" and not passed:
        return SourceError(f"{source}: no file matches")
    others = f" (not read: {described(by_reason(passed))})" if passed else ""
    return SourceError(f"{source}: no readable file in this {what}{others}; readable are: {SUPPORTED_SUFFIXES}")


def absolute(source: str) -> str:
    """A local path without ``..``, so that one file has one URI; links stay as they are."""
    return os.path.abspath(Path(local_path(source)).expanduser())  # noqa: PTH100 - Path.absolute() keeps ``..``


def _is_card(fs: Any, info: Mapping[str, Any]) -> bool:
    """A dataset's card on the hub: it is about the documents, and none of them unless it is named."""
    return str(fs.unstrip_protocol(info["name"])).startswith("hf://") and info["name"].endswith("/README.md")


def _format_of(name: str) -> tuple[str, Compression | None] | None:
    stem, suffix = posixpath.splitext(name.lower())
    compression = _COMPRESSIONS.get(suffix)
    if compression is not None:
        suffix = posixpath.splitext(stem)[1]
    format_ = _NAMES.get(suffix)
    if format_ is None or (compression is not None and not FORMATS[format_].compressible):
        return None
    return format_, compression


def version_of(fs: Any, info: dict[str, Any], storage_options: Mapping[str, Any] | None) -> str | None:
    """The version of the file of which fsspec says `info`; None where it is none that can be read."""
    file = _source_file(fs, info, storage_options)
    return file.version if isinstance(file, SourceFile) else None


def _source_file(fs: Any, info: dict[str, Any], storage_options: Mapping[str, Any] | None) -> SourceFile | str:
    """The file, or why it is passed over."""
    path = info["name"].rstrip("/")
    kind = _format_of(posixpath.basename(path))
    uri = _uri(fs, info)
    if kind is None or (info["type"] == "directory") != (kind[0] == "lance"):
        return kind_of(path, _COMPRESSIONS)
    try:
        uri.encode()
    except UnicodeEncodeError:
        logger.warning("skipped %r: its name is not UTF-8; rename it to have it read", uri)
        return NOT_UTF8
    if "?versionId=" in path and uri.startswith("s3"):  # s3fs would open the key that ends before it
        return VERSION_MARK
    if kind[0] == "lance":
        return _lance_source(uri, storage_options)
    if is_local(uri):
        return _local_source(uri, *kind)
    return SourceFile(uri, *kind, size=int(info.get("size") or 0), version=_remote_version(info))


def _uri(fs: Any, info: Mapping[str, Any]) -> str:
    return str(fs.unstrip_protocol(info["name"].rstrip("/")))


def _local_source(uri: str, format_: str, compression: Compression | None) -> SourceFile | str:
    path = Path(local_path(uri))
    if not path.is_file():
        return NO_FILE
    status = path.stat()
    return SourceFile(uri, format_, compression, status.st_size, f"{status.st_size}-{status.st_mtime_ns}")


def _remote_version(info: Mapping[str, Any]) -> str:
    for key in _ETAGS:
        if info.get(key):
            return str(info[key]).strip('"')
    modified = next((info[key] for key in _TIMES if info.get(key)), "")
    return f"{int(info.get('size') or 0)}-{modified}"


def _lance_source(uri: str, storage_options: Mapping[str, Any] | None) -> SourceFile:
    """A Lance directory; its version names the dataset's version, and a hash over its files, whose names are random."""
    unlisted = lance_table.unlisted(uri)
    try:
        with noted(unlisted, storage_options):
            dataset = lance_table.open_dataset(uri, None, storage_options)
    except UnreadableError:
        return unlisted  # its reader rejects it; the others are read
    fragments = [fragment.metadata for fragment in dataset.get_fragments()]
    content = json.dumps([fragment.to_json() for fragment in fragments], sort_keys=True)
    size = sum(file.file_size_bytes or 0 for fragment in fragments for file in fragment.files)
    digest = hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
    return SourceFile(uri, "lance", None, size, f"{dataset.version}-{digest}")
