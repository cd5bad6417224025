"""KubeRay's resources: the standing cluster, jobs that bring a cluster of their own, and the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml

from jobs.infra.entrypoints import embed_command, entrypoint, index_command, refresh_command
from jobs.infra.pods import CONTAINER_SECURITY, PORTS, GroupName, Json, command_pod, head_pod, worker_pod

if TYPE_CHECKING:
    from jobs.infra.values import Values

__all__ = ["embed_job", "index_job", "refresh_job", "serve_config", "service", "standing_cluster"]

PRIORITY: Final = {"spot": 10, "gpu": 0, "cpu": 0}
"""Which group is asked first for what several could give."""

IDLE_SECONDS: Final = 300
"""A worker without work goes after so long. A new GPU node takes minutes to come and reads the weights again."""

KEEP_SECONDS: Final = 60
"""How long the cluster of a job outlives it."""

SUBMITTER: Final = "ray-job-submitter"


def standing_cluster(values: Values) -> Json:
    """A cluster for `moee submit`. It begins as a head alone; spot nodes are asked for before on-demand GPUs."""
    groups = [_group(values, values.name, group) for group in ("cpu", "spot", "gpu")]
    return _resource("RayCluster", values, values.name, _cluster(values, values.name, groups))


def embed_job(values: Values) -> Json:
    """The job that embeds, with all its GPU nodes from its beginning; a failed one is tried again in a new cluster."""
    name = f"{values.name}-embed"
    gpus = _group(values, name, values.embed.market, fixed=values.embed.nodes)
    job = _job(values, name, embed_command(values), [_group(values, name, "cpu"), gpus])
    job["spec"]["backoffLimit"] = values.embed.retries
    return job


def index_job(values: Values) -> Json:
    """The job that builds the indexes, by its driver alone."""
    return _job(values, f"{values.name}-index", index_command(values), [])


def refresh_job(values: Values) -> Json:
    """The job that refreshes the topics once."""
    name = f"{values.name}-topics"
    return _job(values, name, refresh_command(values), [_group(values, name, "cpu")])


def service(values: Values) -> Json:
    """The service, on a cluster of its own; a change of it starts a second one and then moves over."""
    name = f"{values.name}-serve"
    group: GroupName = "gpu" if values.serve.replica_gpus else "cpu"
    cluster = _cluster(values, name, [_group(values, name, group, least=1)])
    hash_of_token = {"name": "MOEE_SERVE_TOKEN_HASH"} | _from_secret(values.serve.secret, "MOEE_SERVE_TOKEN_HASH")
    for each in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        each["template"]["spec"]["containers"][0]["env"].append(hash_of_token)
    spec = {
        "serveConfigV2": yaml.safe_dump(serve_config(values), sort_keys=False),
        "excludeHeadPodFromServeSvc": True,
        "upgradeStrategy": {"type": "NewCluster"},
        "rayClusterConfig": cluster,
    }
    return _resource("RayService", values, name, spec)


def serve_config(values: Values) -> Json:
    """What Ray Serve runs. The hash of the token is not in it: Ray shows it to everybody who may ask."""
    serve = values.serve
    within = f"{values.name}-serve-serve-svc"
    of_kubernetes = [within, f"{within}.{values.namespace}", f"{within}.{values.namespace}.svc"]
    return {
        "proxy_location": "EveryNode",  # under HeadOnly no worker ever becomes ready
        "http_options": {"host": "0.0.0.0", "port": PORTS["serve"], "request_timeout_s": 60},  # noqa: S104  of its pod
        "logging_config": {"log_level": "WARNING", "enable_access_log": False},  # it would hold what was asked
        "applications": [
            {
                "name": "moee",
                "route_prefix": "/",
                "import_path": "pipeline.service.ray_app:build",
                "args": {
                    "tables": [values.table],
                    "host_names": [*serve.host_names, *of_kubernetes],
                    "replicas": serve.replicas,
                    "replica_cpus": serve.replica_cpus,
                    "replica_gpus": serve.replica_gpus,
                    "limits": {"requests": 64},
                },
            }
        ],
    }


def _job(values: Values, name: str, command: list[str], groups: list[Json]) -> Json:
    submitter = command_pod(values, name, {"name": SUBMITTER})
    spec = {
        "entrypoint": entrypoint(command),
        "submissionMode": "K8sJobMode",  # the submitter's pod keeps the log when the cluster is gone
        "submitterPodTemplate": submitter,
        "backoffLimit": 0,
        "preRunningDeadlineSeconds": values.node_wait_seconds,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": KEEP_SECONDS,
        "rayClusterSpec": _cluster(values, name, groups),
    }
    return _resource("RayJob", values, name, spec)


def _cluster(values: Values, owner: str, groups: list[Json]) -> Json:
    return {
        "rayVersion": values.ray_version,  # decides how KubeRay asks nodes for their health
        "authOptions": {"mode": "token", "secretName": values.ray_token_secret},
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "idleTimeoutSeconds": IDLE_SECONDS,
            "securityContext": CONTAINER_SECURITY,
        },
        "headGroupSpec": {
            # No CPUs: tasks run elsewhere, the head is the driver's.
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},  # noqa: S104  the network policy guards it
            "template": head_pod(values, owner),
        },
        "workerGroupSpecs": groups,
    }


def _group(values: Values, owner: str, group: GroupName, *, least: int = 0, fixed: int | None = None) -> Json:
    """Workers of one kind: as many as there is work for, from `least` on; or `fixed`, all the time."""
    most = getattr(values, group).max_nodes
    return {
        "groupName": group,
        "replicas": least if fixed is None else fixed,
        "minReplicas": least if fixed is None else fixed,
        "maxReplicas": most if fixed is None else fixed,
        "priority": PRIORITY[group],
        "labels": {"ray.io/market-type": "spot" if group == "spot" else "on-demand"},
        "rayStartParams": {},
        "template": worker_pod(values, owner, group),
    }


def _from_secret(name: str, key: str) -> dict[str, Any]:
    return {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def _resource(kind: str, values: Values, name: str, spec: Json) -> Json:
    return {
        "apiVersion": "ray.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": values.namespace},
        "spec": spec,
    }
