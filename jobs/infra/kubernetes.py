"""Kubernetes' own resources: the namespace, who reaches what, the timed refresh, the models' claim, and the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobs.infra.entrypoints import fetch_command, refresh_command
from jobs.infra.pods import MODELS, PORTS, Json, command_pod, environment_of, instance, models_volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.infra.values import Values

__all__ = ["fetch_model", "namespace", "network_policies", "pod_monitor", "timed_refresh"]

CLUSTERS: Final = ("", "-embed", "-index", "-topics", "-serve")
"""What the names of clusters end in, after the one of the values."""

AGENT_PORT: Final = 52365
"""Of the agent on each node, which the operator asks for its health."""


def namespace(values: Values) -> Json:
    """The namespace, which takes no pod that asks for more than `restricted` allows."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": values.namespace, "labels": labels}}


def network_policies(values: Values) -> list[Json]:
    """Nobody reaches a pod but those who are named here. What pods reach is left open: storage and hub are outside."""
    network, name = values.network, values.name
    heads, nodes = {"ray.io/node-type": "head"}, {"ray.io/is-ray-node": "yes"}
    jobs = [_pods(instance(_refresh(values))), *map(_namespace, network.submitters)]
    # A job's submitter bears the label of its cluster.
    clusters = [f"{name}{end}" for end in CLUSTERS]
    return [
        _policy(values, f"{name}-nobody", {}, []),
        *(_policy(values, f"{own}-nodes", instance(own), [_pods(instance(own))]) for own in clusters),
        _policy(
            values,
            f"{name}-operator",
            heads,
            [_namespace(network.operator)],
            (PORTS["dashboard"], PORTS["serve"], AGENT_PORT),
        ),
        _policy(values, f"{name}-jobs", heads, jobs, (PORTS["dashboard"],)),
        _policy(
            values, f"{name}-clients", instance(f"{name}-serve"), [*map(_namespace, network.clients)], (PORTS["serve"],)
        ),
        _policy(values, f"{name}-metrics", nodes, [_namespace(network.prometheus)], (PORTS["metrics"],)),
    ]


def timed_refresh(values: Values) -> Json:
    """Submits the refresh of topics to the standing cluster; never two at once, and none that comes an hour late."""
    name = _refresh(values)
    address = f"http://{values.name}-head-svc:{PORTS['dashboard']}"
    token = {"secretKeyRef": {"name": values.ray_token_secret, "key": "auth_token"}}
    container = {
        "name": "submit",
        "command": ["moee", "submit", "--address", address, "--"],
        "args": refresh_command(values),
        "env": [{"name": "RAY_AUTH_MODE", "value": "token"}, {"name": "RAY_AUTH_TOKEN", "valueFrom": token}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "namespace": values.namespace},
        "spec": {
            "schedule": values.topics.schedule,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": command_pod(values, name, container)}},
        },
    }


def fetch_model(values: Values) -> Json | None:
    """Fetches the model onto the claim that all nodes read; None where each pod has a volume of its own."""
    if values.model_cache.claim is None:
        return None
    name = f"{values.name}-models"
    container = {
        "name": "fetch",
        "command": ["moee"],
        "args": fetch_command(values),
        **environment_of(values),
        "volumeMounts": [{"name": "models", "mountPath": MODELS}],
    }
    pod = command_pod(values, name, container)
    pod["spec"]["volumes"] = [models_volume(values)]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": values.namespace},
        "spec": {"backoffLimit": 3, "template": pod},
    }


def pod_monitor(values: Values) -> Json:
    """Tells the Prometheus operator of all nodes of Ray in the namespace."""
    kept = ("ray_io_cluster", "ray_io_node_type")
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {"name": values.name, "namespace": values.namespace},
        "spec": {
            "selector": {"matchLabels": {"ray.io/is-ray-node": "yes"}},
            "podMetricsEndpoints": [
                {
                    "port": "metrics",
                    "interval": "15s",
                    "relabelings": [
                        {"sourceLabels": [f"__meta_kubernetes_pod_label_{label}"], "targetLabel": label}
                        for label in kept
                    ],
                }
            ],
        },
    }


def _refresh(values: Values) -> str:
    return f"{values.name}-refresh"


def _policy(values: Values, name: str, pods: dict[str, str], peers: Sequence[Json], ports: Sequence[int] = ()) -> Json:
    """`peers` reach the pods with these labels at `ports`, or at all of them; without peers nobody does."""
    at = {"ports": [{"protocol": "TCP", "port": port} for port in ports]} if ports else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": values.namespace},
        "spec": {
            "podSelector": {"matchLabels": pods},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": list(peers), **at}] if peers else [],
        },
    }


def _pods(labels: dict[str, str]) -> Json:
    return {"podSelector": {"matchLabels": labels}}


def _namespace(name: str) -> Json:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
