"""The Ray cluster: who may reach it, which versions meet, and what a command meets there, told by a job."""

from __future__ import annotations

import json
import platform
import secrets
import shlex
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from jobs.doctor.finding import Finding, ok
from pipeline.errors import RunError, UsageError, first_line
from pipeline.flow.engines.ray_token import has_token, send_token

__all__ = ["examine_cluster"]

PACKAGE: Final = "moee-pipeline"

CONNECT_SECONDS: Final = 5.0
JOB_SECONDS: Final = 60.0
"""A job that does nothing takes 6 s; on a head that was just started, whose agent is not there yet, some 20 s."""

PROBE: Final = """
import json, platform, sys
from importlib import metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
names = ("ray", "moee-pipeline", "torch", "transformers", "pylance", "lancedb")
found = {name: version(name) for name in names}
print("PROBE", json.dumps({"executable": sys.executable, "python": platform.python_version(), **found}))
"""
"""What the job runs; it needs nothing but an interpreter."""

_TOKEN: Final = "export RAY_AUTH_TOKEN=…  (the cluster's: ray get-auth-token, on its head)"  # noqa: S105  no token
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def examine_cluster(address: str) -> list[Finding]:
    """Look at the cluster whose dashboard is at `address`.

    Raises:
        UsageError: that is no HTTP address.
    """
    address = address.rstrip("/")
    if urlsplit(address).scheme not in {"http", "https"}:
        raise UsageError(f"--address {address}: jobs are submitted over HTTP, write http://head:8265")
    found = [*_own_token(), *_guard(address)]
    if any(finding.state == "problem" for finding in found[-1:]) and "answers" in found[-1].what:
        return found
    try:
        client = connect(address)
    except RunError as error:
        return [*found, Finding(str(error), "problem", "no job can be submitted", _TOKEN)]
    found += [ok(f"it takes jobs{' with this token' if has_token() else ''}"), *_ray(client.get_version())]
    return [*found, *_probed(client)]


def connect(address: str) -> JobSubmissionClient:
    """The cluster's Jobs API.

    Raises:
        RunError: it does not answer, or wants another token.
    """
    send_token()
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise RunError(
            "the cluster does not accept this token" if has_token() else "the cluster wants a token"
        ) from error
    except (ConnectionError, RuntimeError, requests.RequestException) as error:
        raise RunError(f"no Jobs API answers at {address}: {first_line(error)}") from error


def _guard(address: str) -> list[Finding]:
    """Whether the cluster asks for a token, told by asking without one."""
    try:
        answer = requests.get(f"{address}/api/version", timeout=CONNECT_SECONDS)
    except requests.RequestException as error:
        why = f"no job can be submitted ({type(error).__name__})"
        do = f"kubectl port-forward service/NAME-head-svc 8265  (or see that a firewall lets {address} through)"
        return [Finding(f"nothing answers at {address}", "problem", why, do)]
    if answer.status_code in {401, 403}:
        return [ok("it asks for a token")]
    if not answer.ok:
        why = f"it answers with status {answer.status_code}"
        return [
            Finding(
                f"what answers at {address} is no Ray dashboard", "problem", why, "use the port of --dashboard-port"
            )
        ]
    why = "whoever reaches it may run anything there, with its credentials"
    do = "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(openssl rand -hex 32)  (before ray start, on every node)"
    state = "note" if urlsplit(address).hostname in _LOCAL else "problem"
    return [Finding("it asks for no token", state, why, do)]


def _own_token() -> list[Finding]:
    """Whether this user's token is nobody else's to read."""
    file = Path("~/.ray/auth_token").expanduser()
    if not file.is_file() or not file.stat().st_mode & 0o077:
        return []
    return [
        Finding(f"others may read {file}", "problem", "who has the token may run anything there", f"chmod 600 {file}")
    ]


def _ray(there: str) -> list[Finding]:
    here = metadata.version("ray")
    if there == here:
        return [ok(f"Ray {here} on both sides")]
    why = "the Jobs API works between versions; ray.init (RAY_ADDRESS) refuses them"
    return [Finding(f"Ray {there} there, {here} here", "note", why, f"pip install 'ray[default]=={there}'")]


def _probed(client: JobSubmissionClient) -> list[Finding]:
    """Run the probe as a job, and compare what it finds with this machine; the job is forgotten afterwards."""
    job = f"moee-doctor-{secrets.token_hex(4)}"
    began = time.monotonic()
    try:
        client.submit_job(entrypoint=shlex.join(["python", "-c", PROBE]), submission_id=job)
        status = _awaited(client, job, began + JOB_SECONDS)
        said = client.get_job_logs(job)
        message = client.get_job_info(job).message or ""
    except (RuntimeError, requests.RequestException) as error:
        last = str(error).strip().splitlines()[-1]
        return [Finding("no job can be submitted", "problem", last, "look at the head's dashboard_agent.log")]
    finally:
        _forget(client, job)
    line = next((line for line in said.splitlines() if line.startswith("PROBE ")), None)
    if line is not None:
        return _interpreter(json.loads(line.removeprefix("PROBE ")), time.monotonic() - began)
    if status in {"PENDING", "RUNNING"}:
        why = f"after {JOB_SECONDS:.0f} s it is {status}: the head has no agent, or no memory for a driver"
        return [Finding("a job does not end", "problem", why, "look at the head's dashboard_agent.log")]
    why = (said.strip() or message).splitlines()[-1:]
    do = "put the interpreter's folder first in the PATH of the head's container or service"
    return [Finding("python runs no job there", "problem", "".join(why), do)]


def _awaited(client: JobSubmissionClient, job: str, ends: float) -> str:
    """The job's status when it is over, or when time is."""
    while (status := client.get_job_status(job).value) in {"PENDING", "RUNNING"} and time.monotonic() < ends:
        time.sleep(0.3)
    return status


def _forget(client: JobSubmissionClient, job: str) -> None:
    """Stop the job, if it goes on, and delete what is kept of it; one that never was is gone already."""
    try:
        client.stop_job(job)
        client.delete_job(job)
    except (RuntimeError, requests.RequestException):
        pass


def _interpreter(there: dict[str, Any], seconds: float) -> list[Finding]:
    """What the probe found: ``python`` of an entrypoint is the first on the head's PATH, and not always Ray's own."""
    found = [ok(f"a job ran in {seconds:.0f} s; its python is {there['executable']}, Python {there['python']}")]
    first = "put the interpreter that has them first in the PATH of the head's container or service"
    here = platform.python_version()
    if here.split(".")[:2] != there["python"].split(".")[:2]:
        why = (
            "what ray.init sends from here (functions, settings) is not understood there; moee submit is not concerned"
        )
        found.append(Finding(f"Python {there['python']} there, {here} here", "note", why, "use the same minor version"))
    ours = metadata.version(PACKAGE)
    if there[PACKAGE] is None:
        why = "commands run there only with the package sent along, and what it needs installed"
        found.append(
            Finding(f"that python has no {PACKAGE}", "problem", why, f"{first}; pip install {PACKAGE}=={ours} there")
        )
    elif there[PACKAGE] != ours:
        why = "tables and fingerprints may be of other versions"
        do = f"pip install {PACKAGE}=={ours}  (there, on every node)"
        found.append(Finding(f"{PACKAGE} {there[PACKAGE]} there, {ours} here", "note", why, do))
    else:
        found.append(ok(f"{PACKAGE} {ours} on both sides"))
    if there["ray"] is None:
        found.append(
            Finding("that python has no Ray", "problem", "it is not the interpreter that runs the cluster", first)
        )
    return found
