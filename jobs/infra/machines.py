"""Clusters of machines for Ray's own launcher, `ray up`: the same images in Docker, spot machines for replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jobs.infra.pods import ENVIRONMENT

if TYPE_CHECKING:
    from jobs.infra.pods import GroupName, Json
    from jobs.infra.values import Values

__all__ = ["aws", "gcp"]

HOME: Final = "/home/moee"
"""Of the user in the images."""
TOKEN_DIRECTORY: Final = ".moee-cluster"  # noqa: S105  where the token lies, at home here and there

IDLE_MINUTES: Final = 5
DISK_GB: Final = 200
"""Of a machine: image, weights, and what Ray spills."""

GROUPS: Final[tuple[GroupName, ...]] = ("cpu", "spot", "gpu")
PRIORITY: Final = {"spot": 10}


def aws(values: Values) -> Json:
    """Machines of AWS."""
    chosen = values.aws
    disk = [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": DISK_GB, "VolumeType": "gp3"}}]
    common: Json = {"BlockDeviceMappings": disk}
    common |= {} if chosen.image is None else {"ImageId": chosen.image}
    common |= {} if chosen.instance_profile is None else {"IamInstanceProfile": {"Arn": chosen.instance_profile}}
    spot = {"InstanceMarketOptions": {"MarketType": "spot"}}
    return _cluster(
        values,
        {"type": "aws", "region": chosen.region, "cache_stopped_nodes": False},
        {
            "head": {"InstanceType": chosen.head, **common},
            "cpu": {"InstanceType": chosen.cpu, **common},
            "spot": {"InstanceType": chosen.gpu, **spot, **common},
            "gpu": {"InstanceType": chosen.gpu, **common},
        },
    )


def gcp(values: Values) -> Json:
    """Machines of GCP."""
    chosen = values.gcp

    def machine(kind: str, image: str, **scheduling: Any) -> Json:
        boot = {"diskSizeGb": DISK_GB, "sourceImage": image}
        node: Json = {
            "machineType": kind,
            "disks": [{"boot": True, "autoDelete": True, "type": "PERSISTENT", "initializeParams": boot}],
        }
        if chosen.service_account is not None:
            scopes = ["https://www.googleapis.com/auth/cloud-platform"]
            node["serviceAccounts"] = [{"email": chosen.service_account, "scopes": scopes}]
        return node | ({"scheduling": [scheduling]} if scheduling else {})

    return _cluster(
        values,
        {"type": "gcp", "region": chosen.region, "availability_zone": chosen.zone, "project_id": chosen.project},
        {
            "head": machine(chosen.head, chosen.image),
            "cpu": machine(chosen.cpu, chosen.image),
            "spot": machine(chosen.gpu, chosen.gpu_image, onHostMaintenance="TERMINATE", preemptible=True),
            "gpu": machine(chosen.gpu, chosen.gpu_image, onHostMaintenance="TERMINATE"),
        },
    )


def _cluster(values: Values, provider: Json, machines: dict[str, Json]) -> Json:
    start = "ulimit -n 65536; ray start"
    return {
        "cluster_name": values.name,
        "max_workers": sum(getattr(values, group).max_nodes for group in GROUPS),
        "idle_timeout_minutes": IDLE_MINUTES,
        "provider": provider,
        "auth": {"ssh_user": "ubuntu"},
        "docker": {
            "head_image": values.images.cpu,
            "worker_image": values.images.cpu,
            "container_name": "moee",
            "pull_before_run": True,
            "run_options": [
                "--env RAY_AUTH_MODE=token",
                f"--env RAY_AUTH_TOKEN_PATH={HOME}/{TOKEN_DIRECTORY}/auth_token",
                *(f"--env {name}={value}" for name, value in ENVIRONMENT.items()),
                "--ulimit nofile=65536:65536",
            ],
            "worker_run_options": ["--env NVIDIA_VISIBLE_DEVICES=all"],
        },
        "file_mounts": {f"{HOME}/{TOKEN_DIRECTORY}": f"~/{TOKEN_DIRECTORY}"},
        "head_node_type": "head",
        "available_node_types": {
            "head": {"node_config": machines["head"], "resources": {"CPU": 0}, "max_workers": 0},
            **{name: _node_type(values, name, machines[name]) for name in GROUPS},
        },
        # Everything is in the image. Ray's defaults would install a version of a night.
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [
            "ray stop",
            f"{start} --head --port=6379 --dashboard-host=127.0.0.1 --autoscaling-config=~/ray_bootstrap_config.yaml",
        ],
        "worker_start_ray_commands": ["ray stop", f"{start} --address=$RAY_HEAD_IP:6379"],
    }


def _node_type(values: Values, name: GroupName, machine: Json) -> Json:
    group = getattr(values, name)
    gpus = getattr(group, "gpus", 0)
    return {
        "min_workers": 0,
        "max_workers": group.max_nodes,
        "priority": PRIORITY.get(name, 0),
        "labels": {"ray.io/market-type": "spot" if name == "spot" else "on-demand"},
        "resources": {"CPU": group.cpus, **({"GPU": gpus} if gpus else {})},
        "node_config": machine,
        "docker": {"worker_image": values.images.cuda if gpus else values.images.cpu},
    }
