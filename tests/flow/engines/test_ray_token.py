"""A cluster of our own asks for a token, whatever Ray's version does by itself, and the token is nobody else's."""

from __future__ import annotations

import stat
import subprocess
import sys

import pytest

pytestmark = pytest.mark.cluster

CHECK = """
import os, subprocess, sys, ray
from pathlib import Path
from pipeline.flow.engines.cluster import cluster

ASK = "import ray, sys; ray.init(address=sys.argv[1], logging_level=50); print('let in')"

def ask(**token):
    names = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    call = [sys.executable, "-c", ASK, ray.get_runtime_context().gcs_address]
    return subprocess.run(call, env={**names, **token}, capture_output=True, text=True, timeout=100)

with cluster():
    @ray.remote(num_cpus=0)
    def worker():
        return os.environ["RAY_AUTH_MODE"]
    assert ray.get(worker.remote()) == "token"
    assert "let in" in ask(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=os.environ["RAY_AUTH_TOKEN"]).stdout
    assert "let in" not in ask(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="another" * 8).stdout
assert not Path("~/.ray").expanduser().exists()
"""


@pytest.mark.slow
def test_it_lets_in_who_has_the_token_also_where_the_environment_wants_none(lab, tmp_path):
    environment = lab.environment(tmp_path / "home", RAY_AUTH_MODE="disabled")
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr


USE = """
import os
from pipeline.flow.engines.ray_token import {function}
{function}()
print(os.environ.get("RAY_AUTH_MODE"), "RAY_AUTH_TOKEN" in os.environ)
"""


def used(function, environment):
    command = [sys.executable, "-c", USE.format(function=function)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=True).stdout


def test_the_users_own_token_is_taken_and_its_file_closed_to_others(lab, tmp_path):
    file = tmp_path / "home" / ".ray" / "auth_token"
    file.parent.mkdir(parents=True)
    file.write_text("0123456789abcdef" * 4)
    file.chmod(0o644)
    assert used("token_for_own_cluster", lab.environment(tmp_path / "home")) == "token False\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_token_that_is_there_goes_to_a_cluster_that_is_there(lab, tmp_path):
    assert used("send_token", lab.environment(tmp_path)) == "None False\n"
    assert used("send_token", lab.environment(tmp_path, RAY_AUTH_TOKEN="a")) == "token True\n"
    assert used("send_token", lab.environment(tmp_path, RAY_AUTH_TOKEN="a", RAY_AUTH_MODE="k8s")) == "k8s True\n"
