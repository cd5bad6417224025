"""Clusters of machines: Ray's own schema and checks, and what they let pass."""

from __future__ import annotations

import copy
import json
import shlex
from pathlib import Path

import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())


@pytest.fixture(params=["aws", "gcp"])
def cluster(request, files):
    return yaml.safe_load(files[f"machines/{request.param}.yaml"])


def test_ray_takes_it(cluster):
    jsonschema.validate(cluster, SCHEMA)
    validate_config(prepare_config(copy.deepcopy(cluster)))


def test_a_misspelt_field_is_found(cluster):
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        jsonschema.validate({**cluster, "idle_timeout": 5}, SCHEMA)


def test_only_spot_machines_can_be_taken_away(cluster):
    def is_spot(node):
        scheduling = node.get("scheduling", [{}])[0].get("preemptible", False)
        return scheduling or node.get("InstanceMarketOptions") == {"MarketType": "spot"}

    types = cluster["available_node_types"]
    assert [name for name, kind in types.items() if is_spot(kind["node_config"])] == ["spot"]
    assert types["spot"]["priority"] > types["gpu"]["priority"]
    assert types[cluster["head_node_type"]]["resources"] == {"CPU": 0}


def test_nothing_is_installed_at_the_start(cluster):
    filled = prepare_config(copy.deepcopy(cluster))
    assert [filled[name] for name in ("setup_commands", "head_setup_commands", "worker_setup_commands")] == [[], [], []]


def test_a_token_is_asked_for_and_stands_on_no_command_line(cluster):
    options = cluster["docker"]["run_options"]
    assert "--env RAY_AUTH_MODE=token" in options
    (path,) = [option.split("=")[1] for option in options if "RAY_AUTH_TOKEN" in option]
    assert path.rpartition("/")[0] in cluster["file_mounts"]
    (start,) = [command for command in cluster["head_start_ray_commands"] if "--head" in command]
    assert "--dashboard-host=127.0.0.1" in start  # by a tunnel: ray dashboard


def test_start_commands_have_options_that_ray_start_knows(cluster):
    from ray.scripts.scripts import start

    known = {option for parameter in start.params for option in parameter.opts}
    for command in (*cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]):
        if "ray start" in command:
            words = shlex.split(command.split("ray start")[1])
            assert {word.partition("=")[0] for word in words} <= known


def test_gpu_machines_have_the_image_for_them(cluster, values):
    for name, kind in cluster["available_node_types"].items():
        if name != "head":
            assert kind["docker"]["worker_image"] == (values.images.cpu if name == "cpu" else values.images.cuda)
            assert kind["resources"].get("GPU", 0) == getattr(getattr(values, name), "gpus", 0)
