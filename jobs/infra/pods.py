"""Pods: what every container of ours has, what a node of Ray has, and where it may run.

All of it passes the pod security standard `restricted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from jobs.cluster.submission import STOP_SECONDS

if TYPE_CHECKING:
    from jobs.infra.values import Values

__all__ = ["CONTAINER_SECURITY", "PORTS", "GroupName", "Json", "command_pod", "head_pod", "instance", "worker_pod"]

Json = dict[str, Any]
GroupName = Literal["cpu", "gpu", "spot"]

USER: Final = 1000
"""Of the images, too. A number: `runAsNonRoot` cannot check a name."""

PORTS: Final = {"gcs-server": 6379, "dashboard": 8265, "serve": 8000, "metrics": 8080}
MODELS: Final = "/models"
"""Where the images look for downloaded models."""

GRACE_SECONDS: Final = 60
"""Between the word that a node must go and its end. GCP gives its spot nodes 30 s, AWS 120 s."""
ENVIRONMENT: Final = {
    # A node that must go hands over what it does, for so long. Ray's own 30 s are all of Kubernetes' usual grace.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "20",
    # A job that is stopped commits what waits. Ray kills it after 3 s unless told otherwise.
    "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
}

CONTAINER_SECURITY: Final[Json] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_POD_SECURITY: Final[Json] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}

_SPOT: Final = {
    "gke": ("cloud.google.com/gke-spot", "true"),
    "eks": ("eks.amazonaws.com/capacityType", "SPOT"),
    "karpenter": ("karpenter.sh/capacity-type", "spot"),
    "aks": ("kubernetes.azure.com/scalesetpriority", "spot"),
}
"""The label of spot nodes; their taint, where there is one, has the same key and value."""


def instance(owner: str) -> Json:
    """Labels of the pods that belong to `owner`, however many clusters it gets one after the other."""
    return {"app.kubernetes.io/name": "moee", "app.kubernetes.io/instance": owner}


def head_pod(values: Values, owner: str) -> Json:
    """The head of a cluster: control store, dashboard, driver; KubeRay adds its autoscaler, which asks Kubernetes."""
    container = _ray_container(values, "ray-head", values.images.cpu, PORTS)
    container["resources"] = _resources(values.head.cpus, values.head.memory)
    return _pod(owner, {**_ray_spec(values, container), "affinity": _never_on_spot(values)})


def worker_pod(values: Values, owner: str, group: GroupName) -> Json:
    """A worker: of the group `spot` on spot nodes only, of the others never on one."""
    chosen = getattr(values, group)
    gpus = getattr(chosen, "gpus", 0)
    ports = {name: PORTS[name] for name in ("serve", "metrics")}
    container = _ray_container(values, "ray-worker", values.images.cuda if gpus else values.images.cpu, ports)
    container["resources"] = _resources(chosen.cpus, chosen.memory, gpus)
    spec: Json = {
        **_ray_spec(values, container),
        "automountServiceAccountToken": False,
        "nodeSelector": dict(chosen.node_selector),
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}] if gpus else [],
    }
    if group == "spot":
        key, value = _SPOT[values.provider]
        spec["nodeSelector"][key] = value
        spec["tolerations"].append({"key": key, "operator": "Equal", "value": value})
    else:
        spec["affinity"] = _never_on_spot(values)
    return _pod(owner, spec)


def command_pod(values: Values, owner: str, container: Json) -> Json:
    """A pod that runs one command in the CPU image and ends; `container` says what it has of its own."""
    whole = {
        "image": values.images.cpu,
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "securityContext": CONTAINER_SECURITY,
        **container,
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": _POD_SECURITY,
        "containers": [whole],
    }
    return _pod(owner, spec)


def environment_of(values: Values) -> Json:
    """What a container needs to reach storage and hub."""
    if values.environment_secret is None:
        return {}
    return {"envFrom": [{"secretRef": {"name": values.environment_secret}}]}


def models_volume(values: Values) -> Json:
    """Where downloaded models lie: on the shared claim, or on a volume that goes with the pod."""
    cache = values.model_cache
    if cache.claim is None:
        return {"name": "models", "emptyDir": {"sizeLimit": cache.size}}
    return {"name": "models", "persistentVolumeClaim": {"claimName": cache.claim}}


def _pod(owner: str, spec: Json) -> Json:
    return {"metadata": {"labels": instance(owner)}, "spec": spec}


def _ray_spec(values: Values, container: Json) -> Json:
    account = {} if values.service_account is None else {"serviceAccountName": values.service_account}
    return {
        **account,
        "restartPolicy": "Never",  # what the autoscaler of version 2 asks for
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": _POD_SECURITY,
        "containers": [container],
        "volumes": [
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},  # counts as memory of the pod
            {"name": "session", "emptyDir": {}},
            models_volume(values),
        ],
    }


def _ray_container(values: Values, name: str, image: str, ports: dict[str, int]) -> Json:
    environment = dict(ENVIRONMENT)
    if values.model_cache.claim is not None:
        environment["HF_HUB_OFFLINE"] = "1"  # the hub's locks do not hold across nodes: only `models.yaml` writes
    return {
        "name": name,
        "image": image,
        "ports": [{"name": port, "containerPort": number} for port, number in ports.items()],
        "env": [{"name": variable, "value": value} for variable, value in environment.items()],
        **environment_of(values),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108  Ray's object store
            {"name": "session", "mountPath": "/tmp"},  # noqa: S108  Ray's logs, sockets and what it spills
            {"name": "models", "mountPath": MODELS},
        ],
    }


def _resources(cpus: int, memory: str, gpus: int = 0) -> Json:
    amount: Json = {"cpu": str(cpus), "memory": memory} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    return {"requests": amount, "limits": amount}


def _never_on_spot(values: Values) -> Json:
    key, value = _SPOT[values.provider]
    other = {"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [other]}}}
