"""The Ray cluster: the one that we were submitted to, or one on this machine for the length of the command."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import ray
from ray.data import DataContext
from ray.exceptions import RayError
from ray.util.placement_group import placement_group, remove_placement_group

from pipeline.errors import MoeeError, RunError, UsageError, first_line
from pipeline.flow.engines.base import Replicas
from pipeline.flow.engines.ray_token import send_token, token_for_own_cluster
from pipeline.logs import FORMAT_VARIABLE, wants_json
from pipeline.threads import SPIN_BRIEFLY

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["await_resources", "cluster", "light_cpus", "quiet_data", "replica_resources", "unwrapped"]

logger = logging.getLogger(__name__)

FULL_SHARE_CPUS: Final = 16
MIN_SHARE: Final = 0.18
"""Reading asks for one CPU on machines with `FULL_SHARE_CPUS` of them, and for proportionally less on smaller ones:
there a few readers must find room beside a replica, which they wait for most of the time. Writing asks for the same.

Stub replica on two cores: 12,000 documents/s with one reader at a time, 22,000 with three.
"""

RESERVED_SHARE: Final = 0.1
"""The part of a cluster that Ray Data divides equally among the stages beforehand; the rest goes where there is work.
With Ray's own half, two replicas on two cores would leave writing less than it asks for."""

BLOCK_BYTES: Final = 1
"""Ray Data holds rows back until they make a block of this size. Ours are units and parcels, and each goes on as soon
as it is there: the feed would wait forever for the end of units that lie in a buffer."""

LOCAL_STORE_BYTES: Final = 1 << 30
"""Object store of a cluster of our own: holds the parcels in flight, never the corpus."""


WORKER_ENVIRONMENT: Final[Mapping[str, str]] = {**SPIN_BRIEFLY, "TOKENIZERS_PARALLELISM": "false"}
"""For all workers, with the format of the driver's logs."""

LOCAL_ENVIRONMENT: Final[Mapping[str, str]] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_num_workers_soft_limit": "16",
    "RAY_DATA_CLUSTER_AUTOSCALER": "V2",
}
"""For a cluster of our own: no reports to anybody, internal messages in log files only, and workers that stay.

Ray ends workers beyond one for each CPU when they are idle for a second. Ours take less than a CPU, so on two cores it
ended and started them all the time, 5 s of imports each: 1,400 documents/s with a stub replica, 6,000 without that.

Ray Data's default autoscaler grants a pipeline what it estimates that this needs, and of the rest whole CPUs only: of
two cores it took up to one away, for seconds, although nobody else was there.
"""


@contextmanager
def cluster(address: str | None = None) -> Generator[bool]:
    """Connect to the cluster at `address` or that ``RAY_ADDRESS`` names, or run one while the context lasts.

    Yields:
        Whether the cluster was there before, and may get more machines.

    Raises:
        RunError: there is no cluster at that address, or none can be started here.
    """
    if ray.is_initialized():
        yield True
        return
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        with _own_sigterm():
            _connect(address)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"the Ray cluster at {address}" if address else "a Ray cluster on this machine"
        raise RunError(f"{where} cannot be reached or started: {first_line(error)}") from error
    try:
        yield bool(address)
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    verbose = logger.isEnabledFor(logging.DEBUG)
    quiet: dict[str, Any] = {"logging_level": logging.INFO if verbose else logging.ERROR, "log_to_driver": verbose}
    if address:
        send_token()
        logs = {FORMAT_VARIABLE: "json"} if wants_json() else {}
        ray.init(address=address, runtime_env={"env_vars": {**WORKER_ENVIRONMENT, **logs}}, **quiet)
        return
    for name, value in {**WORKER_ENVIRONMENT, **LOCAL_ENVIRONMENT}.items():
        os.environ.setdefault(name, value)
    token_for_own_cluster()
    with warnings.catch_warnings():
        # lance and lancedb warn of every fork; Ray's children replace themselves by exec at once.
        warnings.filterwarnings("ignore", message=r".*(fork-safe|fork support)")
        with contextlib.nullcontext() if verbose else _silent_stderr():
            ray.init(
                address="local",
                num_cpus=os.cpu_count(),
                include_dashboard=False,
                object_store_memory=LOCAL_STORE_BYTES,
                **quiet,
            )


@contextmanager
def quiet_data() -> Generator[DataContext]:
    """Ray Data's settings for our graphs while the context lasts: no bars of its own, small blocks, little reserved."""
    context = DataContext.get_current()
    ours = {
        "enable_progress_bars": False,
        "raise_original_map_exception": True,
        "target_max_block_size": BLOCK_BYTES,
        "op_resource_reservation_ratio": RESERVED_SHARE,
    }
    kept = {name: getattr(context, name) for name in ours}
    _set(context, ours)
    loud = logging.getLogger("ray.data")
    level = loud.level
    if not logger.isEnabledFor(logging.DEBUG):
        loud.setLevel(logging.CRITICAL + 1)  # its errors reach us as exceptions, and are told in one line
    try:
        yield context
    finally:
        _set(context, kept)
        loud.setLevel(level)


def _set(context: DataContext, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(context, name, value)


def replica_resources(replicas: Replicas | None, device: str) -> tuple[Replicas, dict[str, Any], int | None]:
    """What each replica asks the cluster for: the pool's bounds, Ray's resources, and threads (None: not on CPUs)."""
    have = ray.cluster_resources()
    gpus, cpus = int(have.get("GPU", 0)), have.get("CPU", 1.0)
    if device.startswith("cuda") or (device != "cpu" and gpus):
        pool = replicas or Replicas(max(gpus, 1), max(gpus, 1))
        # Without a GPU yet, the CPUs that stand beside them are not known either.
        return pool, {"num_gpus": 1, "num_cpus": min(1.0, cpus / (4 * pool.most)) if gpus else 1.0}, None
    pool = replicas or Replicas(1, 1)
    largest_node = _largest_node()
    nodes = max(sum(bool(node["Alive"]) for node in ray.nodes()), 1)
    threads = max(largest_node // -(-pool.most // nodes), 1)
    light = light_cpus()
    share = (cpus - 3 * light) / pool.most
    if pool.least < pool.most:
        # Ray Data lets a pool grow by what is left when every stage has had its part: on two cores less than this.
        share /= 2
    if share < light / 2:
        raise UsageError(f"replicas={pool.most}: too many for a cluster of {cpus:g} CPUs")
    return pool, {"num_cpus": min(1.0, round(share, 3))}, threads


def await_resources(replicas: Replicas, resources: Mapping[str, Any], minutes: float | None) -> None:
    """Wait until the least number of replicas has room at once; a cluster that scales is asked for it.

    Args:
        replicas: how many.
        resources: of each, as Ray takes them.
        minutes: for which to wait; None: this is a machine that gets no more.

    Raises:
        RunError: there was none in that time.
    """
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    one = {names[name]: value for name, value in resources.items() if value}
    free = ray.available_resources()
    if all(free.get(name, 0.0) >= replicas.least * value for name, value in one.items()):
        return
    group = placement_group([one] * replicas.least)
    try:
        if group.wait(60 * (minutes or 0)):
            return
    finally:
        remove_placement_group(group)
    each = " and ".join(f"{value:g} {name}" for name, value in one.items())
    wanted = f"{replicas.least} replicas with {each} each" if replicas.least > 1 else f"a replica with {each}"
    if minutes is None:
        raise RunError(f"this machine has no room for {wanted}: ask for fewer (--replicas), or for CPUs (--device cpu)")
    raise RunError(
        f"the cluster had no room for {wanted} within {minutes:g} min: ask for fewer (--replicas), wait longer "
        "(--start-minutes), or see what it has and can get with ray status on its head"
    )


def light_cpus() -> float:
    """What a reading or a writing task asks for: on two cores so little that three of them run beside a replica."""
    return min(1.0, max(MIN_SHARE, _largest_node() / FULL_SHARE_CPUS))


def _largest_node() -> int:
    return max((int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"]), default=1)


def unwrapped(error: BaseException) -> MoeeError:
    """The error that a worker raised, out of what Ray wraps around it."""
    queue: list[BaseException | None] = [error]
    seen: set[int] = set()
    while queue:
        current = queue.pop(0)
        if current is None or id(current) in seen:
            continue
        if isinstance(current, MoeeError) and not isinstance(current, RayError):  # Ray's wrapper is both
            return type(current)(first_line(current))  # Ray adds advice of its own
        seen.add(id(current))
        queue += [getattr(current, "cause", None), current.__cause__, current.__context__]
    cause = getattr(error, "cause", None) or error
    return RunError(f"a worker failed with {type(cause).__name__}: {_last_line(cause)} (--debug shows where)")


@contextmanager
def _own_sigterm() -> Generator[None]:
    """Ray answers SIGTERM with a dump of its stack; how the driver ends is for the driver to say."""
    kept = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and kept is not None:
            signal.signal(signal.SIGTERM, kept)


@contextmanager
def _silent_stderr() -> Generator[None]:
    """Ray's core announces on the bare file descriptor that `LOCAL_ENVIRONMENT` made it quiet."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
