"""Content hashes of checkpoint files, remembered by size and modification time.

Hashing a 14 GB checkpoint takes most of a minute; a replica starts more often than its files change.
"""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["cache_directory", "content_hash"]

logger = logging.getLogger(__name__)


def cache_directory() -> Path:
    """This user's cache folder for the package (``MOEE_CACHE``, else ``XDG_CACHE_HOME``, else ``~/.cache``)."""
    if chosen := os.environ.get("MOEE_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "moee"


def content_hash(directory: Path, patterns: Sequence[str]) -> str:
    """Hash of the names and the content of all files in `directory` that match: 32 hexadecimal digits.

    Two directories with the same files hash alike, wherever they lie and whenever they were written.
    """
    files = sorted({file for pattern in patterns for file in directory.glob(pattern) if file.is_file()})
    known = _remembered()
    with ThreadPoolExecutor(max_workers=4) as pool:
        digests = dict(zip(files, pool.map(lambda file: known.get(_key(file)) or _digest(file), files), strict=True))
    fresh = {_key(file): digest for file, digest in digests.items() if _key(file) not in known}
    if fresh:
        _remember({**known, **fresh})
    whole = blake2b(digest_size=16)
    for file, digest in digests.items():
        whole.update(f"{file.name}\0{digest}\0".encode())
    return whole.hexdigest()


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return file_digest(stream, lambda: blake2b(digest_size=16)).hexdigest()


def _key(file: Path) -> str:
    stat = file.stat()
    return f"{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"


def _remembered() -> dict[str, str]:
    try:
        return json.loads((cache_directory() / "hashes.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _remember(hashes: dict[str, str]) -> None:
    target = cache_directory() / "hashes.json"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps(hashes), encoding="utf-8")
        scratch.replace(target)
    except OSError as error:
        logger.debug("cannot remember content hashes in %s: %s", target, error)
