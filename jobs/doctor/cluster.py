"""The Ray cluster: who may reach it, which versions meet, and what a command meets there, told by a job."""

from __future__ import annotations

import json
import platform
import secrets
import shlex
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import requests

from jobs.cluster.client import connect
from jobs.cluster.following import wait
from jobs.doctor.finding import Finding, ok
from pipeline.errors import ClusterError, first_line

if TYPE_CHECKING:
    from jobs.cluster.client import Jobs

__all__ = ["examine_cluster"]

PACKAGE: Final = "moee-pipeline"

CONNECT_SECONDS: Final = 5.0
JOB_SECONDS: Final = 60.0
"""A job that does nothing takes 6 s, and 20 s on a head that was just started."""

PROBE: Final = """
import json, platform, sys
from importlib import metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
versions = {name: version(name) for name in ("ray", "moee-pipeline")}
print("PROBE", json.dumps({"executable": sys.executable, "python": platform.python_version(), **versions}))
"""
"""What the job runs; it needs nothing but an interpreter."""

_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_AGENT_LOG: Final = "on its head: less /tmp/ray/session_latest/logs/dashboard_agent.log"


def examine_cluster(address: str) -> list[Finding]:
    """Look at the cluster whose dashboard is at `address`, an HTTP URL."""
    own = _own_token()
    try:
        jobs = connect(address, seconds=CONNECT_SECONDS)
        there = jobs.ray_version
        answer = requests.get(f"{address}/api/version", timeout=CONNECT_SECONDS)
    except (ClusterError, requests.RequestException) as error:
        away = "kubectl port-forward service/NAME-head-svc 8265  (or let it through the firewall)"
        do = "export RAY_AUTH_TOKEN=$(ssh HEAD ray get-auth-token)" if "token" in str(error) else away
        return [*own, Finding(first_line(error), "problem", "no job can be submitted", do)]
    return [*own, _guard(address, answer.status_code), _ray(there), *_probed(jobs)]


def _own_token() -> list[Finding]:
    """Whether this user's token is nobody else's to read."""
    file = Path("~/.ray/auth_token").expanduser()
    if not file.is_file() or not file.stat().st_mode & 0o077:
        return []
    why = "whoever has the token may run anything on the cluster"
    return [Finding(f"others may read {file}", "problem", why, f"chmod 600 {file}")]


def _guard(address: str, status: int) -> Finding:
    """What it says to somebody without a token; that it takes ours is known."""
    if status in {401, 403}:
        return ok("it asks for a token, and takes this one")
    why = "whoever reaches it may run anything there, with its credentials"
    do = "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(openssl rand -hex 32)  (on every node, before ray start)"
    return Finding("it asks for no token", "note" if urlsplit(address).hostname in _LOCAL else "problem", why, do)


def _ray(there: str) -> Finding:
    here = metadata.version("ray")
    if there == here:
        return ok(f"Ray {here} on both sides")
    why = "jobs can be submitted all the same; what connects directly (RAY_ADDRESS) is refused"
    return Finding(f"Ray {there} there, {here} here", "note", why, f"pip install 'ray[data,default]=={there}'")


def _probed(jobs: Jobs) -> list[Finding]:
    """Run the probe as a job, and compare what it finds with this machine; the job is forgotten afterwards."""
    name = f"moee-doctor-{secrets.token_hex(4)}"
    began = time.monotonic()
    try:
        jobs.submit(name, shlex.join(["python", "-c", PROBE]), runtime_env={}, metadata={})
        job = wait(jobs, name, lambda job: job.is_over, JOB_SECONDS)
        said = jobs.log(name)
    except ClusterError as error:
        return [Finding("no job can be run there", "problem", str(error), _AGENT_LOG)]
    finally:
        with suppress(ClusterError):
            jobs.stop(name)
            jobs.delete(name)
    line = next((line for line in said.splitlines() if line.startswith("PROBE ")), None)
    if line is not None:
        return _interpreter(json.loads(line.removeprefix("PROBE ")), time.monotonic() - began)
    if not job.is_over:
        why = f"it is {job.status} after {JOB_SECONDS:.0f} s: the head has no agent, or no memory for a driver"
        return [Finding("a job does not end there", "problem", why, _AGENT_LOG)]
    last = (said.strip() or job.message.strip() or job.status).splitlines()[-1]
    do = "moee submit --python /path/to/python …  (or put it first in the PATH of the head's container)"
    return [Finding("a job's python does not run there", "problem", last, do)]


def _interpreter(there: dict[str, Any], seconds: float) -> list[Finding]:
    """What the probe found: a job's ``python`` is the first on the head's PATH, which may be another than Ray's."""
    found = [ok(f"a job ran in {seconds:.0f} s; its python is {there['executable']}, Python {there['python']}")]
    another = "moee submit --python /path/to/python …  (one that has all of it)"
    here, ours = platform.python_version(), metadata.version(PACKAGE)
    if here.split(".")[:2] != there["python"].split(".")[:2]:
        why = "jobs can be submitted all the same; what connects directly (RAY_ADDRESS) is refused"
        found.append(Finding(f"Python {there['python']} there, {here} here", "note", why, "use the same minor version"))
    if there["ray"] is None:
        found.append(Finding("that python has no Ray", "problem", "it is not the one that runs the cluster", another))
    if there[PACKAGE] is None:
        do = "moee submit --wheel moee_pipeline-….whl …  (sends it along), or --python /path/to/python"
        found.append(Finding(f"that python has no {PACKAGE}", "problem", "no command can run there", do))
    elif there[PACKAGE] != ours:
        why = "what is checked here may be refused there, and tables may be of another layout"
        do = f"pip install {PACKAGE}=={ours}  (on every node)"
        found.append(Finding(f"{PACKAGE} {there[PACKAGE]} there, {ours} here", "note", why, do))
    else:
        found.append(ok(f"{PACKAGE} {ours} on both sides"))
    return found
