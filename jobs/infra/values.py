"""What the manifests are made from: one validated, frozen model of values, its reader, and its documented defaults.

The string under each field is its documentation: `documented` writes it as the comment above the key.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import UsageError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Aws", "Embed", "Gcp", "GpuGroup", "Group", "Node", "Values", "documented", "read_values"]

VERSION: Final = "0.1.0"

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=30)]
"""A DNS label with room for what KubeRay appends."""
Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]*(Mi|Gi|Ti)$")]
Image = Annotated[str, Field(pattern=r"^[^\s@:]+(:[0-9]+)?(/[^\s@:]+)*(:[\w.-]+|@sha256:[0-9a-f]{64})$")]
Url = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*://\S+$")]
"""Every node must reach it: no path of one machine."""
Labels = dict[str, str]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Images(_Section):
    """Images of `images/`, in a registry that the nodes reach; with a tag or a digest."""

    cpu: Image = f"registry.example.org/moee:{VERSION}-cpu"
    cuda: Image = f"registry.example.org/moee:{VERSION}-cuda"


class ModelCache(_Section):
    """Where downloaded models lie."""

    claim: str | None = None
    """A ReadWriteMany claim that all nodes share and `models.yaml` fills; null: a volume of each pod's own."""
    size: Memory = "100Gi"
    """Of a pod's own volume, at most."""


class Node(_Section):
    """A node of Ray, which is a pod, or a machine."""

    cpus: int = Field(4, ge=1)
    memory: Memory = "16Gi"


class Group(Node):
    """Nodes of one kind."""

    cpus: int = Field(7, ge=1)
    memory: Memory = "28Gi"
    max_nodes: int = Field(8, ge=1)
    node_selector: Labels = {}
    """Labels of the Kubernetes nodes that may be taken."""


class GpuGroup(Group):
    """Nodes with GPUs."""

    gpus: int = Field(1, ge=1)
    """Of each node. One replica takes one."""
    max_nodes: int = Field(4, ge=1)


class Embed(_Section):
    """The job that embeds."""

    sources: tuple[Url, ...] = Field(("s3://corpus/",), min_length=1)
    """Files, folders and globs of object storage or the hub."""
    arguments: tuple[str, ...] = ()
    """Further arguments of `moee embed`, such as `--keep` and `--quantization`."""
    market: Literal["spot", "gpu"] = "spot"
    """The group that its GPUs come from. A spot node that goes costs the units in flight."""
    nodes: int = Field(4, ge=1)
    """All are there before the job begins, so that it begins with all its replicas."""
    retries: int = Field(3, ge=0)
    """New clusters for a job that failed. Each goes on where the last one was."""


class Topics(_Section):
    """The refresh of topics."""

    schedule: str = Field("17 3 * * *", pattern=r"^\S+( \S+){4}$")
    """When the standing cluster refreshes them, in the form of cron."""
    arguments: tuple[str, ...] = ("--wait", "3600")
    """Further arguments of `moee topics refresh`."""


class Serve(_Section):
    """The HTTP service."""

    replicas: int = Field(2, ge=1)
    replica_cpus: int = Field(2, ge=1)
    replica_gpus: int = Field(0, ge=0)
    """With any, replicas run in the group `gpu`, else in `cpu`."""
    host_names: tuple[str, ...] = ("search.example.org",)
    """By which clients outside of Kubernetes reach it; those inside need none here."""
    secret: Name = "moee-serve"  # noqa: S105  its name
    """Holds the hash of the token that requests bring, as MOEE_SERVE_TOKEN_HASH."""


class Network(_Section):
    """Namespaces from which pods are reached; nobody else reaches them."""

    operator: Name = "kuberay-system"
    """Of the KubeRay operator."""
    clients: tuple[Name, ...] = ("ingress-nginx",)
    """Which reach the service, port 8000."""
    submitters: tuple[Name, ...] = ()
    """Which reach the dashboard and the job API, port 8265: whoever does may run anything."""
    prometheus: Name = "monitoring"
    """Which reaches the metrics, port 8080. They have no token."""


class Aws(_Section):
    """Machines of AWS, for Ray's own cluster launcher."""

    region: str = "us-west-2"
    head: str = "m6i.xlarge"
    cpu: str = "m6i.2xlarge"
    gpu: str = "g6.2xlarge"
    """Instance types. What they offer is said by `head`, `cpu`, `gpu` and `spot` above."""
    image: str | None = None
    """With Docker and NVIDIA's container runtime; null: the one that Ray knows for the region."""
    instance_profile: str | None = None
    """ARN of the role by which machines reach the object storage."""


class Gcp(_Section):
    """Machines of GCP, for Ray's own cluster launcher."""

    project: str = "example-project"
    region: str = "us-west1"
    zone: str = "us-west1-a"
    head: str = "n2-standard-4"
    cpu: str = "n2-standard-8"
    gpu: str = "g2-standard-8"
    """Machine types. What they offer is said by `head`, `cpu`, `gpu` and `spot` above."""
    image: str = "projects/deeplearning-platform-release/global/images/family/common-cpu"
    gpu_image: str = "projects/deeplearning-platform-release/global/images/family/common-gpu"
    """Boot images with Docker, and with NVIDIA's driver and container runtime. Look up which your project offers."""
    service_account: str | None = None
    """By which machines reach the object storage."""


class Values(_Section):
    """Everything that differs from one installation to the next. Secrets are named here, never held."""

    name: Name = "moee"
    """Of the standing cluster; what belongs to it begins with it."""
    namespace: Name = "moee"
    """Of Kubernetes, for this alone: what is in it is closed to all others."""
    images: Images = Images()
    ray_version: str = Field("2.60.0", pattern=r"^2\.(5[89]|6[0-9])\.[0-9]+$")
    """Of Ray in the images, which KubeRay goes by."""
    provider: Literal["gke", "eks", "karpenter", "aks"] = "gke"
    """Whose labels tell which Kubernetes nodes are spot nodes."""
    ray_token_secret: Name = "moee-ray-token"  # noqa: S105  its name
    """Holds Ray's token, as auth_token."""
    environment_secret: Name | None = "moee-environment"  # noqa: S105  its name
    """Its keys are environment variables of all nodes: the object storage's, HF_TOKEN. null where a role grants all."""
    service_account: Name | None = None
    """Of Kubernetes, where it carries a role for the object storage."""
    model_cache: ModelCache = ModelCache()
    head: Node = Node.model_validate({})
    """The driver runs here: it plans, commits, indexes and fits topics. Never on spot."""
    cpu: Group = Group.model_validate({})
    """Read, check and tokenize."""
    gpu: GpuGroup = GpuGroup.model_validate({})
    """Hold replicas, on demand: taken where spot nodes are not to be had."""
    spot: GpuGroup = GpuGroup.model_validate({"max_nodes": 8})
    """Hold replicas, and may be taken away."""
    node_wait_seconds: int = Field(1800, ge=60)
    """A job fails where the nodes that it begins with have not come by then."""
    table: Url = "s3://lake/docs"
    """All jobs work on it, and the service serves it."""
    model: str = Field("allenai/OLMoE-1B-7B-0924", min_length=1)
    revision: str | None = None
    """Branch, tag or commit of a model of the hub."""
    embed: Embed = Embed.model_validate({})
    topics: Topics = Topics.model_validate({})
    serve: Serve = Serve.model_validate({})
    network: Network = Network()
    aws: Aws = Aws()
    gcp: Gcp = Gcp()


def read_values(file: Path | None) -> Values:
    """The values in a YAML file; what it leaves out, or everything without a file, is at its default.

    Raises:
        UsageError: there is no such file, or it holds what is no value.
    """
    if file is None:
        return Values.model_validate({})
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {first_line(error)}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict | None):
        raise UsageError(f"{file} holds no mapping of values: moee infra values prints one")
    try:
        return Values.model_validate(given or {})
    except ValidationError as error:
        raise UsageError(f"{file}: {_first(error)}") from error


def documented(values: Values) -> str:
    """`values` as YAML, each with its meaning above it."""
    return "\n".join(_lines(values)) + "\n"


def _first(error: ValidationError) -> str:
    """One line for the first thing that is wrong, and how many more there are."""
    found = error.errors()
    path = ".".join(map(str, found[0]["loc"]))
    unknown = found[0]["type"] == "extra_forbidden"
    said = "there is no such value" if unknown else f"{found[0]['msg']}, not {found[0]['input']!r}"
    said = said.replace("tuple", "list").replace("Tuple", "List")
    others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{path}: {said}{others}; moee infra values prints all with their meaning"


def _lines(section: BaseModel, indent: str = "") -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value: Any = getattr(section, name)
        nested = isinstance(value, BaseModel)
        about = field.description or (nested and type(value).__doc__) or ""
        yield from (f"{indent}# {line.strip()}" for line in about.splitlines())
        if nested:
            yield f"{indent}{name}:"
            yield from _lines(value, f"{indent}  ")
        else:
            yield f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}"
