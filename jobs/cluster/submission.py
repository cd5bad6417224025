"""What is submitted: a `moee` command, checked here, as the command line, environment and record of a Ray job."""

from __future__ import annotations

import json
import shlex
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from jobs.cli import COMMANDS, command_of
from jobs.cluster.secrets import refuse_secrets
from jobs.command import parse_command
from pipeline.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Mapping

__all__ = ["COMMAND_KEY", "Submission"]

STOP_SECONDS: Final = 120
"""Between the request to end and the end by force. Ray's own 3 s cut a commit short, and give a replica no time at all.
It is read from the job's own environment."""

COMMAND_KEY: Final = "moee_command"
"""In a job's metadata: the command, as a JSON list of words."""

_NOT_AS_JOBS: Final = frozenset({"submit", "jobs", "infra"})
_NAME_LETTERS: Final = 40


@dataclass(frozen=True, slots=True)
class Submission:
    """A command as a job of a cluster.

    Raises:
        UsageError: there is no such command, it holds a secret or a relative path, or the wheel is none. A command that
            is wrong as written ends the process with its own line, as it would here.
    """

    command: tuple[str, ...]
    """Words after ``moee``."""
    python: str = "python"
    """The interpreter on the cluster's machines."""
    wheel: str | None = None
    """Of this package, for machines that have what it depends on, but not itself or another version."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables for the job."""

    def __post_init__(self) -> None:
        name, *rest = self.command or ("",)
        if name not in COMMANDS or name in _NOT_AS_JOBS:
            possible = ", ".join(each for each in COMMANDS if each not in _NOT_AS_JOBS)
            raise UsageError(f"submit: {name!r} is no command for a job; after -- comes one of {possible}")
        refuse_secrets(self.command, self.environment)
        _refuse_relative(parse_command(command_of(name), rest))
        if self.wheel is not None and not _is_wheel(self.wheel):
            raise UsageError(f"--wheel {self.wheel}: this is no wheel of moee-pipeline (make dist builds one)")

    @property
    def prefix(self) -> str:
        """Of the ids of its jobs: what it does, and a hash of the command."""
        words = [word for word in self.command[:2] if word.isidentifier()]
        table = next((word for word in reversed(self.command) if "/" in word and not word.endswith("/")), "")
        readable = "-".join([*words, PurePosixPath(table).name])[:_NAME_LETTERS].strip("-")
        kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in readable)
        return f"{kept}-{blake2b(self._words.encode(), digest_size=4).hexdigest()}-"

    @property
    def entrypoint(self) -> str:
        """The command line. The module is named, not ``moee``: a wheel of a runtime environment brings no script."""
        return shlex.join([self.python, "-m", "jobs.cli", *self.command])

    @property
    def runtime_env(self) -> dict[str, Any]:
        """Of the job. The job's own call of ``ray.init`` sets variables, too: Ray refuses that without the override."""
        # Messages of Ray's core, which its log files have too, would come between the lines of the command.
        quiet = {"NO_COLOR": "1", "RAY_BACKEND_LOG_LEVEL": "fatal"}
        ours = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS), "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1"}
        return {"env_vars": {**quiet, **self.environment, **ours}}

    @contextmanager
    def modules(self) -> Generator[dict[str, Any]]:
        """The part of the runtime environment that brings the wheel, unpacked while the context lasts.

        Ray would install a wheel with all that it depends on, anew on every node: gigabytes, and other versions than
        those of the image.
        """
        if self.wheel is None:
            yield {}
            return
        with tempfile.TemporaryDirectory(prefix="moee-wheel-") as folder, zipfile.ZipFile(self.wheel) as wheel:
            wheel.extractall(folder)
            yield {"py_modules": sorted(str(part) for part in Path(folder).iterdir())}

    @property
    def metadata(self) -> dict[str, str]:
        """What is kept with the job."""
        return {COMMAND_KEY: self._words, "moee_version": version("moee-pipeline")}

    @property
    def _words(self) -> str:
        return json.dumps(list(self.command))


def _is_wheel(path: str) -> bool:
    """Whether a file is a wheel of this package, whose commands can be run from it."""
    try:
        with zipfile.ZipFile(path) as wheel:
            return path.endswith(".whl") and "jobs/cli.py" in wheel.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _refuse_relative(arguments: argparse.Namespace) -> None:
    """A path below the directory of this shell means another one where the job runs."""
    for name in ("source", "table"):
        given: str | list[str] | None = getattr(arguments, name, None)
        for path in [given] if isinstance(given, str) else given or []:
            if "://" not in path and not path.startswith("/"):
                raise UsageError(
                    f"{path}: a relative path means another place on the cluster's machines: "
                    "give a URL, or the absolute path of a file system that they share"
                )
