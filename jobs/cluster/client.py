"""The Jobs API of a Ray cluster. Whatever it refuses, it refuses in one line."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from pipeline.errors import ClusterError, UsageError, first_line
from pipeline.flow.engines.ray_token import users_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Mapping

for _loud in (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
):
    logging.getLogger(_loud).setLevel(logging.ERROR)  # they say what our own lines say

__all__ = ["DEFAULT_ADDRESS", "Job", "JobExistsError", "Jobs", "connect", "job_address"]

DEFAULT_ADDRESS: Final = "http://127.0.0.1:8265"
"""Where ``ray start --head`` answers on its own machine."""

CONNECT_SECONDS: Final = 60.0
"""A head that was just started answers after 9 to 16 s."""

_TIMES: Final = (10, 120)
"""Seconds to connect, and to wait for an answer: uploads and submissions take some."""

_PROXY: Final = frozenset({502, 503, 504})
_OVER: Final = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
_STATUS: Final = re.compile(r"Request failed with status code (\d+): (.*)", re.DOTALL)
_TOKEN: Final = re.compile(r"[!-~]+")
_NO_RAY: Final = "answers, but not as a Ray cluster: the port of its dashboard is 8265"
_TOKEN_HELP: Final = "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file with the token"  # noqa: S105  no token


class JobExistsError(ClusterError):
    """Somebody was quicker: there is a job of this id."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the cluster knows it."""

    id: str
    status: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
    entrypoint: str
    metadata: Mapping[str, str]
    exit_status: int | None
    """Of the command; None where it was killed, or never began."""
    message: str
    started: datetime | None
    ended: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in _OVER

    @property
    def seconds(self) -> float | None:
        """How long it has taken, so far or in all."""
        if self.started is None:
            return None
        return ((self.ended or datetime.now(UTC)) - self.started).total_seconds()


def job_address(given: str | None) -> str:
    """The address of a cluster's Jobs API: as given, of the environment, or of this machine.

    Raises:
        UsageError: it is not an HTTP address.
    """
    address = given or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS") or DEFAULT_ADDRESS
    if not re.fullmatch(r"https?://[^/@\s]+/?", address):
        raise UsageError(f"--address: jobs are submitted over HTTP, write {DEFAULT_ADDRESS} with the head's name")
    return address.rstrip("/")


def connect(address: str, *, seconds: float = CONNECT_SECONDS) -> Jobs:
    """The Jobs API at `address`, which may take up to `seconds` until it answers.

    Raises:
        ClusterError: nothing answers there, it is no Ray cluster, it wants a token or another one, or speaks another
            version.
    """
    token = users_token()
    if token is not None and not _TOKEN.fullmatch(token):
        raise ClusterError(f"this token holds letters that no token has: {_TOKEN_HELP}")
    # Ray's client sends a token by itself only where RAY_AUTH_MODE was set before Ray was imported.
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    ends = time.monotonic() + seconds
    while True:
        try:
            with _refusals(address), _without_addresses():
                return Jobs(address, _Client(address, headers=headers))
        except _AwayError:
            if time.monotonic() > ends:
                raise
            time.sleep(1)


class Jobs:
    """What can be asked of a cluster's Jobs API.

    Every method raises `ClusterError` where the cluster refuses; where it does not answer, one that is also a
    `ConnectionError`.
    """

    def __init__(self, address: str, client: _Client) -> None:
        self.address = address
        self._client = client

    @property
    def ray_version(self) -> str:
        """Of the cluster."""
        with _refusals(self.address):
            return self._client.ray_version

    def submit(
        self,
        id: str,  # noqa: A002
        entrypoint: str,
        *,
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
    ) -> None:
        """Submit a command.

        Raises:
            JobExistsError: there is a job of this id.
        """
        with _refusals(self.address):
            self._client.submit_job(
                entrypoint=entrypoint, submission_id=id, runtime_env=dict(runtime_env), metadata=dict(metadata)
            )

    def get(self, id: str) -> Job:  # noqa: A002
        """One job.

        Raises:
            ClusterError: the cluster knows no job of this id.
        """
        with _refusals(self.address):
            return _job(self._client.get_job_info(id))

    def list(self) -> list[Job]:
        """All jobs that were submitted, oldest first."""
        with _refusals(self.address):
            found = [_job(each) for each in self._client.list_jobs() if each.submission_id]
        return sorted(found, key=lambda job: (job.started or datetime.now(UTC), job.id))

    def stop(self, id: str) -> None:  # noqa: A002
        """Ask a job to end; it has the time for it that it was submitted with."""
        with _refusals(self.address):
            self._client.stop_job(id)

    def delete(self, id: str) -> None:  # noqa: A002
        """Forget a job that is over, and its log."""
        with _refusals(self.address):
            self._client.delete_job(id)

    def log(self, id: str) -> str:  # noqa: A002
        """What a job has written until now."""
        with _refusals(self.address):
            return self._client.get_job_logs(id)

    def tail(self, id: str) -> AsyncIterator[str]:  # noqa: A002
        """The log from its beginning, in pieces, until the job is over or the connection breaks."""
        return self._client.tail_job_logs(id)


class _Client(JobSubmissionClient):
    """Ray's client, which does not wait forever."""

    @property
    def ray_version(self) -> str:
        """Of the cluster; `get_version` is that of its interface."""
        answer = self._do_request("GET", "/api/version")
        answer.raise_for_status()
        return answer.json()["ray_version"]

    def _do_request(self, method: str, endpoint: str, **given: Any) -> requests.Response:
        given.setdefault("timeout", _TIMES)
        return super()._do_request(method, endpoint, **given)


class _AwayError(ClusterError, ConnectionError):
    """Nothing answers, which may pass."""


@contextmanager
def _refusals(address: str) -> Generator[None]:
    """Ray's errors as ours, in one line."""
    try:
        yield
    except AuthenticationError as error:
        if users_token() is not None:
            raise ClusterError(f"{address} does not accept this token: {_TOKEN_HELP} of that cluster") from error
        raise ClusterError(f"{address} wants a token: {_TOKEN_HELP}") from error
    except requests.exceptions.SSLError as error:
        raise ClusterError(f"{address}: its certificate is not trusted here: {first_line(error)}") from error
    except (requests.exceptions.JSONDecodeError, json.JSONDecodeError, KeyError) as error:
        raise ClusterError(f"{address} {_NO_RAY}") from error
    except requests.exceptions.HTTPError as error:
        status, text = (0, "") if error.response is None else (error.response.status_code, error.response.text)
        raise _refused(address, status, text) from error
    except (ConnectionError, requests.exceptions.RequestException) as error:
        raise _AwayError(f"nothing answers at {address}: is this the address of the cluster's dashboard?") from error
    except RuntimeError as error:
        found = _STATUS.match(str(error))
        if "returned 404" in str(error):
            raise ClusterError(f"{address} {_NO_RAY}") from error
        if found is None:  # of another version
            raise ClusterError(f"{address}: {first_line(error)}") from error
        raise _refused(address, int(found[1]), found[2]) from error


def _refused(address: str, status: int, text: str) -> Exception:
    if status in _PROXY or "No available agent" in text:
        return _AwayError(f"{address} has no agent for jobs yet")
    if "already exists" in text:
        return JobExistsError("there is a job of this id")
    if status == 404 and "does not exist" in text:
        return ClusterError(f"{address} knows no such job (moee jobs list): a head that was started anew forgets them")
    if status == 404:
        return ClusterError(f"{address} {_NO_RAY}")
    lines = [line for line in text.strip().splitlines() if line.strip()] or [f"status {status}"]
    return ClusterError(f"{address} refuses: {lines[-1].strip()[:500]}")


@contextmanager
def _without_addresses() -> Generator[None]:
    """Ray's client takes these for more than what it is told."""
    names = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _job(details: Any) -> Job:
    metadata = cast("Mapping[str, str] | None", details.metadata)
    return Job(
        id=details.submission_id,
        status=str(details.status.value),
        entrypoint=details.entrypoint,
        metadata=metadata or {},
        exit_status=details.driver_exit_code,
        message=details.message or "",
        started=_time(details.start_time),
        ended=_time(details.end_time),
    )


def _time(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
