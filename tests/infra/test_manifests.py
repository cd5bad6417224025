"""Kubernetes' and KubeRay's resources: their schemas, and what a schema does not say."""

from __future__ import annotations

import copy
import gzip
import json
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel
from ray.serve.schema import ServeDeploySchema

from jobs.infra.pods import ENVIRONMENT, GRACE_SECONDS
from pipeline.service.ray_app import RaySettings, build

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES = "1.33"
SPOT_KEYS = {
    "gke": "cloud.google.com/gke-spot",
    "eks": "eks.amazonaws.com/capacityType",
    "karpenter": "karpenter.sh/capacity-type",
    "aks": "kubernetes.azure.com/scalesetpriority",
}


@cache
def validator(kind):
    return jsonschema.Draft7Validator(json.loads(gzip.decompress((SCHEMAS / f"{kind}.v1.json.gz").read_bytes())))


def check(document):
    if (SCHEMAS / f"{document['kind']}.v1.json.gz").exists():
        validator(document["kind"]).validate(document)
    else:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def within(node, key):
    """Every dictionary below `node` that has `key`."""
    if isinstance(node, dict):
        if key in node:
            yield node
        for value in node.values():
            yield from within(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from within(value, key)


def of_kind(manifests, kind):
    return [document for document in manifests if document["kind"] == kind]


def clusters(manifests):
    """The specification of every Ray cluster, by the name of what it belongs to."""
    return {
        document["metadata"]["name"]: spec
        for document in manifests
        if document["apiVersion"] == "ray.io/v1"
        for spec in within(document, "headGroupSpec")
    }


def groups(manifests):
    return [group for spec in clusters(manifests).values() for group in spec["workerGroupSpecs"]]


def variables(container):
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def test_every_resource_passes_the_schema_of_its_kind(manifests, values):
    for document in manifests:
        check(document)
        if document["kind"] != "Namespace":
            assert document["metadata"]["namespace"] == values.namespace
    kinds = {"Namespace", "NetworkPolicy", "RayCluster", "RayJob", "CronJob", "RayService", "PodMonitor"}
    assert {document["kind"] for document in manifests} - {"Job"} == kinds


def test_pods_inside_of_ray_resources_pass_kubernetes_own_schema(manifests):
    pods = list(within(manifests, "containers"))
    assert len(pods) > 10
    for pod in pods:
        probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": pod}
        kubernetes_validate.validate(probe, KUBERNETES, strict=True)


@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        ("RayJob", ("spec", "shutdownAfterJobFinish"), True),
        ("RayJob", ("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "containers", 0, "resource"), {}),
        ("RayCluster", ("spec", "authOption"), {}),
        ("RayService", ("spec", "serveConfig"), ""),
        ("PodMonitor", ("spec", "podMetricsEndpoint"), []),
        ("CronJob", ("spec", "concurencyPolicy"), "Forbid"),
        ("NetworkPolicy", ("spec", "ingres"), []),
    ],
)
@pytest.mark.parametrize("values", ["defaults"], indirect=True)
def test_a_misspelt_field_is_found(manifests, kind, path, wrong):
    document = copy.deepcopy(of_kind(manifests, kind)[0])
    *parents, last = path
    place = document
    for key in parents:
        place = place[key]
    place[last] = wrong
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError), match=str(last)):
        check(document)


def test_what_kuberay_refuses_beyond_its_schema(manifests):
    for job in of_kind(manifests, "RayJob"):
        spec = job["spec"]
        assert spec["shutdownAfterJobFinishes"]  # ttlSecondsAfterFinished needs it
        assert "deletionStrategy" not in spec  # not beside it
        assert "clusterSelector" not in spec  # not beside a budget of retries
    assert all(len(name) <= 47 for name in clusters(manifests))
    for spec in clusters(manifests).values():
        assert tuple(map(int, spec["rayVersion"].split("."))) >= (2, 56, 0)  # authOptions and priority need it
        assert spec["autoscalerOptions"]["version"] == "v2"  # priority needs it
        for group in spec["workerGroupSpecs"]:
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_version_of_ray_is_the_tested_one(default_files):
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray==")]
    assert pinned == [f"ray=={yaml.safe_load(default_files['values.yaml'])['ray_version']}"]


def test_every_pod_passes_the_standard_restricted(manifests):
    allowed = {"emptyDir", "persistentVolumeClaim"}
    for pod in within(manifests, "containers"):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all(volume.keys() - {"name"} <= allowed for volume in pod.get("volumes", []))
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert not any("hostPort" in port for port in container.get("ports", []))
    for spec in clusters(manifests).values():  # the container that KubeRay adds
        assert spec["autoscalerOptions"]["securityContext"]["allowPrivilegeEscalation"] is False
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_only_the_head_may_ask_kubernetes(manifests):
    for pod in within(manifests, "containers"):
        heads = pod["containers"][0]["name"] == "ray-head"
        assert pod.get("automountServiceAccountToken", True) == heads


def test_a_token_is_asked_for_everywhere_and_comes_from_a_secret(manifests, values):
    for spec in clusters(manifests).values():
        assert spec["authOptions"] == {"mode": "token", "secretName": values.ray_token_secret}
    (timed,) = of_kind(manifests, "CronJob")
    (container,) = next(within(timed, "containers"))["containers"]
    assert variables(container) == {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": {"secretKeyRef": {"name": values.ray_token_secret, "key": "auth_token"}},
    }


def test_credentials_come_from_a_secret_and_stand_nowhere_else(manifests, values):
    secret = values.environment_secret
    for spec in clusters(manifests).values():
        for pod in within(spec, "containers"):
            sources = pod["containers"][0].get("envFrom", [])
            assert sources == ([{"secretRef": {"name": secret}}] if secret else [])
            assert pod.get("serviceAccountName") == values.service_account
    assert not list(within(manifests, "runtimeEnvYAML"))
    assert of_kind(manifests, "Secret") == []


def test_a_node_that_must_go_has_time_to_drain(manifests):
    assert int(ENVIRONMENT["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]) < 30 < GRACE_SECONDS  # GCP says it 30 s before
    assert int(ENVIRONMENT["RAY_JOB_STOP_WAIT_TIME_S"]) >= 120
    from ray._private import ray_constants
    from ray.dashboard.modules.job import job_supervisor

    assert hasattr(ray_constants, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S")
    assert "RAY_JOB_STOP_WAIT_TIME_S" in Path(job_supervisor.__file__).read_text()
    for spec in clusters(manifests).values():
        for pod in within(spec, "containers"):
            assert pod["terminationGracePeriodSeconds"] == GRACE_SECONDS
            assert pod["restartPolicy"] == "Never"  # the autoscaler of version 2 asks for it
            assert "lifecycle" not in pod["containers"][0]  # `ray stop` before the end did harm
            assert variables(pod["containers"][0]).items() >= ENVIRONMENT.items()


def test_the_head_and_what_is_not_spot_never_run_on_spot_nodes(manifests, values):
    key = SPOT_KEYS[values.provider]
    for spec in clusters(manifests).values():
        others = [group["template"] for group in spec["workerGroupSpecs"] if group["groupName"] != "spot"]
        for template in [spec["headGroupSpec"]["template"], *others]:
            (term,) = next(within(template, "nodeSelectorTerms"))["nodeSelectorTerms"]
            (rule,) = term["matchExpressions"]
            assert (rule["key"], rule["operator"]) == (key, "NotIn")
            assert key not in template["spec"].get("nodeSelector", {})
    for group in groups(manifests):
        if group["groupName"] == "spot":
            spec = group["template"]["spec"]
            assert spec["nodeSelector"].items() >= {key: spec["nodeSelector"][key], **values.spot.node_selector}.items()
            assert key in {toleration["key"] for toleration in spec["tolerations"]}
            assert group["labels"] == {"ray.io/market-type": "spot"}
            assert "affinity" not in spec


def test_the_standing_cluster_grows_from_its_head_and_asks_for_spot_first(manifests, values):
    spec = clusters(manifests)[values.name]
    assert spec["enableInTreeAutoscaling"]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    by_name = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    assert {name: (group["minReplicas"], group["maxReplicas"]) for name, group in by_name.items()} == {
        "cpu": (0, values.cpu.max_nodes),
        "gpu": (0, values.gpu.max_nodes),
        "spot": (0, values.spot.max_nodes),
    }
    assert by_name["spot"]["priority"] > by_name["gpu"]["priority"]


def test_gpus_are_asked_for_and_only_gpu_nodes_have_the_large_image(manifests, values):
    for group in groups(manifests):
        spec = group["template"]["spec"]
        limits = spec["containers"][0]["resources"]["limits"]
        gpus = 0 if group["groupName"] == "cpu" else getattr(values, group["groupName"]).gpus
        assert limits.get("nvidia.com/gpu") == (str(gpus) if gpus else None)
        assert spec["containers"][0]["image"] == (values.images.cuda if gpus else values.images.cpu)
        assert ("nvidia.com/gpu" in {each["key"] for each in spec["tolerations"]}) == bool(gpus)


def test_embedding_begins_with_all_its_nodes_and_is_tried_again(manifests, values):
    (job,) = [job for job in of_kind(manifests, "RayJob") if job["metadata"]["name"].endswith("-embed")]
    assert job["spec"]["backoffLimit"] == values.embed.retries
    assert job["spec"]["preRunningDeadlineSeconds"] == values.node_wait_seconds
    gpus = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][-1]
    assert gpus["groupName"] == values.embed.market
    assert gpus["minReplicas"] == gpus["replicas"] == gpus["maxReplicas"] == values.embed.nodes
    replicas = values.embed.nodes * getattr(values, values.embed.market).gpus
    assert job["spec"]["entrypoint"].split("--replicas ")[1].split()[0] == str(replicas)


def test_two_refreshes_never_run_at_once(manifests, values):
    (timed,) = of_kind(manifests, "CronJob")
    assert timed["spec"]["concurrencyPolicy"] == "Forbid"
    assert timed["spec"]["schedule"] == values.topics.schedule
    assert timed["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0


def test_weights_are_read_once_a_node_or_once_for_all(manifests, values):
    shared = values.model_cache.claim is not None
    claim = {"name": "models", "persistentVolumeClaim": {"claimName": values.model_cache.claim}}
    for spec in clusters(manifests).values():
        for pod in within(spec, "containers"):
            (container,) = pod["containers"]
            assert {"name": "models", "mountPath": "/models"} in container["volumeMounts"]
            assert (claim in pod["volumes"]) == shared
            assert variables(container).get("HF_HUB_OFFLINE") == ("1" if shared else None)
    fetching = of_kind(manifests, "Job")
    assert len(fetching) == shared
    assert not any("HF_HUB_OFFLINE" in json.dumps(job) for job in fetching)


def test_objects_are_kept_in_memory_and_sessions_on_a_volume(manifests):
    for spec in clusters(manifests).values():
        for pod in within(spec, "containers"):
            mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            assert volumes[mounts["/dev/shm"]]["emptyDir"] == {"medium": "Memory"}
            assert "/tmp" in mounts


class Reach:
    """Who reaches which port of a pod under the network policies."""

    def __init__(self, manifests):
        self.policies = [policy["spec"] for policy in of_kind(manifests, "NetworkPolicy")]

    def __call__(self, peer, pod, port):
        chosen = [policy for policy in self.policies if policy["podSelector"]["matchLabels"].items() <= pod.items()]
        assert chosen  # a pod without a policy is open to all
        return any(
            peer in rule["from"] and ("ports" not in rule or {"protocol": "TCP", "port": port} in rule["ports"])
            for policy in chosen
            for rule in policy["ingress"]
        )


def namespace(name):
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def test_only_those_who_are_named_reach_a_pod(manifests, values):
    reach = Reach(manifests)
    for owner, spec in clusters(manifests).items():
        labels = spec["headGroupSpec"]["template"]["metadata"]["labels"]
        assert all(group["template"]["metadata"]["labels"] == labels for group in spec["workerGroupSpecs"])
        ray = labels | {"ray.io/is-ray-node": "yes"}
        head, worker = ray | {"ray.io/node-type": "head"}, ray | {"ray.io/node-type": "worker"}
        own, prometheus, stranger = {"podSelector": {"matchLabels": labels}}, namespace("monitoring"), namespace("x")
        for pod in (head, worker):
            assert reach(own, pod, 6379)
            assert reach(prometheus, pod, 8080)
            assert not any(reach(prometheus, pod, port) for port in (6379, 8000, 8265))
            assert not any(reach(stranger, pod, port) for port in (6379, 8000, 8080, 8265, 52365))
            for client in values.network.clients:
                assert reach(namespace(client), pod, 8000) == owner.endswith("-serve")
                assert not any(reach(namespace(client), pod, port) for port in (6379, 8080, 8265))
        for operator in ("kuberay-system", *values.network.submitters):
            assert reach(namespace(operator), head, 8265)
            assert not reach(namespace(operator), worker, 8265)
    (timed,) = of_kind(manifests, "CronJob")
    submitting = timed["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert reach({"podSelector": {"matchLabels": submitting}}, head, 8265)
    assert not reach(own, submitting, 8265)


def test_a_submitter_reaches_the_head_of_its_job(manifests):
    for job in of_kind(manifests, "RayJob"):
        labels = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["metadata"]["labels"]
        assert job["spec"]["submitterPodTemplate"]["metadata"]["labels"] == labels


def test_prometheus_looks_where_the_metrics_are(manifests):
    (monitor,) = of_kind(manifests, "PodMonitor")
    assert monitor["spec"]["selector"]["matchLabels"] == {"ray.io/is-ray-node": "yes"}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for spec in clusters(manifests).values():
        for pod in within(spec, "containers"):
            assert {"name": endpoint["port"], "containerPort": 8080} in pod["containers"][0]["ports"]


def unknown(given, schema):
    """Keys that Serve would pass over in silence."""
    for name, value in given.items():
        kept = getattr(schema, name, None)
        if name not in type(schema).model_fields:
            yield name
        elif isinstance(kept, BaseModel):
            yield from unknown(value, kept)
        elif isinstance(kept, list):
            for each, part in zip(value, kept, strict=True):
                if isinstance(part, BaseModel):
                    yield from unknown(each, part)


def test_the_service_is_one_that_serve_and_its_settings_understand(manifests, values, monkeypatch):
    (service,) = of_kind(manifests, "RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    schema = ServeDeploySchema.model_validate(config)
    assert list(unknown(config, schema)) == []
    assert config["proxy_location"] == "EveryNode"  # under HeadOnly no worker becomes ready
    (application,) = schema.applications
    assert application.import_path == f"{build.__module__}:{build.__name__}"
    monkeypatch.setenv("MOEE_SERVE_TOKEN_HASH", "0" * 64)
    settings = RaySettings(**application.args)
    assert settings.token_hash == "0" * 64
    assert settings.tables == (values.table,)
    assert settings.replica_gpus == values.serve.replica_gpus
    assert f"{values.name}-serve-serve-svc.{values.namespace}" in settings.host_names


def test_the_service_gets_the_hash_of_its_token_by_a_secret(manifests, values):
    for owner, spec in clusters(manifests).items():
        for pod in within(spec, "containers"):
            found = variables(pod["containers"][0]).get("MOEE_SERVE_TOKEN_HASH")
            wanted = {"secretKeyRef": {"name": values.serve.secret, "key": "MOEE_SERVE_TOKEN_HASH"}}
            assert found == (wanted if owner.endswith("-serve") else None)


@pytest.mark.parametrize("values", ["defaults"], indirect=True)
def test_the_service_is_that_of_the_example(manifests):
    (service,) = of_kind(manifests, "RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    example = yaml.safe_load((ROOT / "examples/serve.yaml").read_text())
    for each in (config, example):
        arguments = each["applications"][0].pop("args")
        assert arguments["tables"] == ["s3://lake/docs"]
        assert arguments["limits"] == {"requests": 64}
    assert config == example
