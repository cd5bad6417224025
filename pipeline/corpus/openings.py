"""Files that kill the process that opens them, known by what a dead process has left behind.

Native code reads the metadata of a file, in the driver, too. What kills it there ends the run, and cannot be caught. So
each opening has a note: an empty file in the temporary folder, locked as long as the opening lasts. A note that nobody
has locked is of a process that died. Its file is opened by a process of its own first; if that one dies as well, the
file is damaged. A note takes 30 µs; a process that opens all files beforehand would cost every run half a second.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.corpus.formats.base import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from pipeline.corpus.source_file import SourceFile

__all__ = ["noted"]

logger = logging.getLogger(__name__)

_TRIAL: Final = (
    "import os, sys; sys.path[:] = sys.argv[2].split(os.pathsep); "
    "from pipeline.corpus.readers import open_on_trial; open_on_trial(int(sys.argv[1]))"
)

_deaths: Final[dict[SourceFile, str]] = {}
"""Files whose trial ended in a death → of which signal."""


@contextmanager
def noted(file: SourceFile, storage_options: Mapping[str, Any] | None) -> Generator[None]:
    """Around the opening of a file.

    Raises:
        UnreadableError: a process died with the file open, and so did the one that opened nothing else.
    """
    logger.debug("opening %s", file.uri)
    note = _note(file.uri)
    was_there = note is not None and note.exists()
    lock = None if note is None else _locked(note)
    if note is None or lock is None:
        yield
        return
    try:
        if was_there and (death := _death_of(file, storage_options)):
            raise UnreadableError(f"the process that opens it dies ({death})")
        try:
            yield
        finally:
            note.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _note(uri: str) -> Path | None:
    """Where the note of a file is; None where nothing can be written down."""
    try:
        folder = Path(tempfile.gettempdir(), f"moee-openings-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        logger.debug("no notes of openings: %s", error)
        return None
    return folder / hashlib.blake2b(uri.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _locked(note: Path) -> int | None:
    """A descriptor of the note; None where somebody else has the file open right now, or it cannot be written."""
    try:
        descriptor = os.open(note, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        logger.debug("no note: %s", error)
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _death_of(file: SourceFile, storage_options: Mapping[str, Any] | None) -> str:
    """The signal that ended a process that did nothing but open the file; empty where it lived."""
    if file in _deaths:
        return _deaths[file]
    logger.warning("%s: a process died while it had this file open: it is tried in another process", file.uri)
    ours, theirs = Pipe()
    with ours, theirs:
        process = subprocess.Popen(  # noqa: S603 — nothing of it comes from outside
            [sys.executable, "-c", _TRIAL, str(theirs.fileno()), os.pathsep.join(sys.path)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ours.send((file, storage_options))
        status = process.wait()
    if status < 0:
        _deaths[file] = signal.Signals(-status).name
    return _deaths.get(file, "")
