"""From what a person names as SOURCE to the files that are read.

A SOURCE is a path, a directory, a glob or a URL of any of these. What comes out is sorted by canonical URI and
distinct, so that the plan does not depend on how the sources were spelled or ordered. A file's *version* changes
when its content does: the ledger is keyed by both.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.corpus.dialect import UNSAID, AskedDialect
from pipeline.corpus.dialects import settle_dialects
from pipeline.corpus.formats import lance_table
from pipeline.corpus.formats.base import UnreadableError
from pipeline.corpus.formats.registry import FORMATS
from pipeline.corpus.source_file import Compression, SourceFile
from pipeline.errors import SourceError
from pipeline.storage import filesystem, fsspec_errors, is_local, local_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

__all__ = ["SUPPORTED_SUFFIXES", "absolute", "list_sources", "version_of"]

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


def list_sources(
    sources: Sequence[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    skip: Callable[[str], bool] = lambda _: False,
    dialect: AskedDialect | None = UNSAID,
    begun: Collection[tuple[str, str]] = (),
) -> list[SourceFile]:
    """All files behind `sources`, sorted by URI, each once.

    Args:
        sources: what a person named.
        storage_options: for remote sources.
        skip: which Lance directories, by URI, are left out; they are not opened.
        dialect: what a person says of how text is written; None: nobody is going to read the files.
        begun: (uri, version) of files that were read before (`pipeline.corpus.dialects`).

    Raises:
        SourceError: a path does not exist, holds no readable file, or cannot be listed.
        UsageError: a storage option that cannot be passed on.
    """
    found: dict[str, SourceFile] = {}
    for source in sources:
        found.update((file.uri, file) for file in _expand(source, storage_options, skip))
    files = [found[uri] for uri in sorted(found)]
    return files if dialect is None else settle_dialects(files, dialect, begun, storage_options=storage_options)


def _expand(source: str, storage_options: Mapping[str, Any] | None, skip: Callable[[str], bool]) -> list[SourceFile]:
    if not source.strip():
        raise SourceError("an empty SOURCE: give a path, a directory, a glob or a URL")
    fs, path = filesystem(absolute(source) if is_local(source) else source, storage_options)
    with fsspec_errors(f"{source}: cannot be listed"):
        fs.invalidate_cache()
        try:
            infos, what = _matches(fs, path)
        except FileNotFoundError as error:
            hint = "; a private dataset needs HF_TOKEN" if source.startswith("hf://") else ""
            raise SourceError(f"{source}: no such file or directory{hint}") from error
    infos = [info for info in infos if not (what == "directory" and _is_card(fs, info))]
    wanted = [info for info in infos if not (_is_lance(info["name"]) and skip(_uri(fs, info)))]
    files = [file for info in wanted if (file := _source_file(fs, info, storage_options)) is not None]
    if files or len(wanted) < len(infos):
        return files
    if what == "file":
        raise SourceError(f"{source}: not a format that can be read; these are: {SUPPORTED_SUFFIXES}")
    if what == "glob" and not infos:
        raise SourceError(f"{source}: no file matches")
    raise SourceError(f"{source}: no readable file in this {what}; readable are: {SUPPORTED_SUFFIXES}")


def absolute(source: str) -> str:
    """A local path without ``..``, so that one file has one URI; links stay as they are."""
    return os.path.abspath(Path(local_path(source)).expanduser())  # noqa: PTH100 - Path.absolute() keeps ``..``


def _matches(fs: Any, path: str) -> tuple[list[dict[str, Any]], str]:
    if any(mark in path for mark in "*?[") and not fs.exists(path):
        wants_hidden = posixpath.basename(path).startswith((".", "_"))
        infos: Mapping[str, dict[str, Any]] = fs.glob(path, detail=True)
        return [info for name, info in sorted(infos.items()) if wants_hidden or not _hidden(name)], "glob"
    info: dict[str, Any] = fs.info(path)
    if info["type"] != "directory" or _is_lance(path):
        return [info], "file"
    return list(_walk(fs, path) if is_local(str(fs.unstrip_protocol(path))) else _find(fs, path)), "directory"


def _walk(fs: Any, top: str) -> Iterator[dict[str, Any]]:
    pending = [top]
    while pending:
        infos: list[dict[str, Any]] = fs.ls(pending.pop(), detail=True)
        for info in infos:
            name = info["name"].rstrip("/")
            if _hidden(name) or name == top.rstrip("/"):
                continue
            if info["type"] == "directory" and not _is_lance(name):
                pending.append(name)
            else:
                yield info


def _find(fs: Any, top: str) -> Iterator[dict[str, Any]]:
    """As `_walk`, by one flat listing: an object store answers each folder with a request of its own."""
    start = len(top.rstrip("/")) + 1
    lance_directories: set[str] = set()
    infos: Mapping[str, dict[str, Any]] = fs.find(top, detail=True)
    for name, info in infos.items():
        parts = name[start:].split("/")
        lance_at = next((index for index, part in enumerate(parts) if _is_lance(part)), None)
        if any(_hidden(part) for part in parts[: None if lance_at is None else lance_at + 1]):
            continue
        if lance_at is None:
            yield info
        else:
            lance_directories.add(name[:start] + "/".join(parts[: lance_at + 1]))
    yield from ({"name": name, "type": "directory"} for name in sorted(lance_directories))


def _hidden(path: str) -> bool:
    return posixpath.basename(path.rstrip("/")).startswith((".", "_"))


def _is_card(fs: Any, info: Mapping[str, Any]) -> bool:
    """A dataset's card on the hub: it is about the documents, and none of them unless it is named."""
    return str(fs.unstrip_protocol(info["name"])).startswith("hf://") and info["name"].endswith("/README.md")


def _is_lance(path: str) -> bool:
    return path.rstrip("/").endswith(".lance")


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
    return None if file is None else file.version


def _source_file(fs: Any, info: dict[str, Any], storage_options: Mapping[str, Any] | None) -> SourceFile | None:
    path = info["name"].rstrip("/")
    kind = _format_of(posixpath.basename(path))
    uri = _uri(fs, info)
    if kind is None or (info["type"] == "directory") != (kind[0] == "lance"):
        return None
    try:
        uri.encode()
    except UnicodeEncodeError:
        logger.warning("skipped %r: its name is not UTF-8; rename it to have it read", uri)
        return None
    if kind[0] == "lance":
        return _lance_source(uri, storage_options)
    if is_local(uri):
        return _local_source(uri, *kind)
    return SourceFile(uri, *kind, size=int(info.get("size") or 0), version=_remote_version(info))


def _uri(fs: Any, info: Mapping[str, Any]) -> str:
    return str(fs.unstrip_protocol(info["name"].rstrip("/")))


def _local_source(uri: str, format_: str, compression: Compression | None) -> SourceFile | None:
    path = Path(local_path(uri))
    if not path.is_file():  # a broken link, a socket, or a link to a directory
        return None
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
    try:
        dataset = lance_table.open_dataset(uri, None, storage_options)
    except UnreadableError:
        return SourceFile(uri, "lance", None, 0, "0-damaged")  # its reader rejects it; the others are read
    fragments = [fragment.metadata for fragment in dataset.get_fragments()]
    content = json.dumps([fragment.to_json() for fragment in fragments], sort_keys=True)
    size = sum(file.file_size_bytes or 0 for fragment in fragments for file in fragment.files)
    digest = hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
    return SourceFile(uri, "lance", None, size, f"{dataset.version}-{digest}")
