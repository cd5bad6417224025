"""What is behind a SOURCE: the entries of a storage below a directory, or those that a glob matches.

Linked folders of this machine are followed, each folder once: under its own name where it has one below the source, and
never back to a folder that holds the link.
"""

from __future__ import annotations

import os
import posixpath
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.corpus.passed_over import BROKEN_LINK, FOLDER, HIDDEN, LOOP
from pipeline.storage import is_local

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["is_lance", "matches"]

_FOLDER: Final = "a folder"
_LINKED_FOLDER: Final = "a linked folder"
_ENTRY: Final = "a file or a Lance directory"


def matches(fs: Any, path: str, passed: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
    """What fsspec says of each entry at `path`, and whether `path` is a file, a directory or a glob.

    Args:
        fs: an fsspec file system.
        path: in it. A path that exists is no glob, whatever its name.
        passed: filled with the paths that are passed over, each with the reason.

    Raises:
        FileNotFoundError: there is nothing.
    """
    if any(mark in path for mark in "*?[") and not fs.exists(path):
        return list(_glob(fs, path, passed)), "glob"
    info: dict[str, Any] = fs.info(path)
    if info["type"] != "directory" or is_lance(path):
        return [info], "file"
    below = _walk(fs, path, passed) if is_local(str(fs.unstrip_protocol(path))) else _find(fs, path, passed)
    return list(below), "directory"


def is_lance(path: str) -> bool:
    """Whether a directory of that name is a Lance dataset."""
    return path.rstrip("/").endswith(".lance")


def _glob(fs: Any, pattern: str, passed: dict[str, str]) -> Iterator[dict[str, Any]]:
    """As `_walk`, but that links to folders are told and not followed, and a pattern may ask for what is hidden."""
    asked = pattern.split("/")
    infos: Mapping[str, dict[str, Any]] = fs.glob(pattern, detail=True)
    for name, info in sorted(infos.items()):
        parts = name.split("/")
        hidden = next((at for at, part in enumerate(parts, 1) if _is_hidden(part) and not _is_asked(part, asked)), None)
        role = _role(name, info)
        if any(is_lance(part) and part not in asked for part in parts[:-1]):
            continue
        if hidden is not None:
            passed["/".join(parts[:hidden])] = HIDDEN
        elif role == _ENTRY:
            yield _entry(name, info)
        elif role == _LINKED_FOLDER or (role == _FOLDER and "**" not in pattern):
            passed[name] = FOLDER
        elif role != _FOLDER:
            passed[name] = role
    if "**" in pattern and is_local(str(fs.unstrip_protocol(pattern))):
        passed.update(dict.fromkeys(_linked_folders(pattern), FOLDER))


def _linked_folders(pattern: str) -> Iterator[str]:
    """Those below the folder from which the pattern looks into all others, where fsspec does not enter links."""
    top = re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0]
    for folder, names, _ in os.walk(top or "/"):
        names[:] = [name for name in names if not _is_hidden(name) and not is_lance(name)]
        yield from (posixpath.join(folder, name) for name in names if Path(folder, name).is_symlink())


def _is_asked(part: str, asked: Iterable[str]) -> bool:
    return any(_is_hidden(each) and fnmatchcase(part, each) for each in asked)


def _walk(fs: Any, top: str, passed: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Folders first, then those behind links, so that a folder that is below `top` keeps its own name."""
    seen: set[tuple[int, int]] = set()
    pending, links = [top], list[str]()
    while pending or links:
        if not pending:
            pending, links = sorted(links, reverse=True), []
        folder = pending.pop()
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for info in fs.ls(folder, detail=True):
            name = info["name"].rstrip("/")
            role = HIDDEN if _is_hidden(name) else _role(name, info)
            if role == _FOLDER:
                pending.append(name)
            elif role == _LINKED_FOLDER:
                links.append(name)
            elif role == _ENTRY:
                yield _entry(name, info)
            else:
                passed[name] = role


def _role(name: str, info: Mapping[str, Any]) -> str:
    """What to do with an entry that is not hidden, or why it is passed over."""
    if info["type"] == "directory" and not is_lance(name):
        return _FOLDER
    if not info.get("islink"):
        return _ENTRY
    if Path(name).is_dir() and not is_lance(name):
        return LOOP if _leads_back(name) else _LINKED_FOLDER
    return _ENTRY if Path(name).exists() else BROKEN_LINK


def _entry(name: str, info: dict[str, Any]) -> dict[str, Any]:
    """`info`; a linked Lance directory is one, too."""
    return {**info, "type": "directory"} if info.get("islink") and is_lance(name) and Path(name).is_dir() else info


def _leads_back(link: str) -> bool:
    """Whether a linked folder holds the link."""
    target, place = os.path.realpath(link), os.path.realpath(posixpath.dirname(link))
    return f"{place}/".startswith(f"{target.rstrip('/')}/")


def _find(fs: Any, top: str, passed: dict[str, str]) -> Iterator[dict[str, Any]]:
    """As `_walk`, by one flat listing: an object store answers each folder with a request of its own."""
    start = len(top.rstrip("/")) + 1
    lance_directories: set[str] = set()
    infos: Mapping[str, dict[str, Any]] = fs.find(top, detail=True)
    for name, info in infos.items():
        parts = name[start:].split("/")
        at = next((index for index, part in enumerate(parts) if is_lance(part) or _is_hidden(part)), None)
        if at is None:
            yield info
            continue
        directory = name[:start] + "/".join(parts[: at + 1])
        if _is_hidden(parts[at]):
            passed[directory] = HIDDEN
        else:
            lance_directories.add(directory)
    yield from ({"name": name, "type": "directory"} for name in sorted(lance_directories))


def _is_hidden(path: str) -> bool:
    return posixpath.basename(path.rstrip("/")).startswith((".", "_"))
