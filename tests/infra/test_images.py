"""Container files and the script of secrets: checked by hadolint and shellcheck; the script is run."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
IMAGES = ["images/cpu.Containerfile", "images/cuda.Containerfile"]


def run(*command, **settings):
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **settings)


@pytest.mark.parametrize("path", IMAGES)
def test_hadolint_has_nothing_to_say(default_files, path):
    done = run(BIN / "hadolint", "--no-color", "-", input=default_files[path])
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_say_it(default_files):
    done = run(BIN / "hadolint", "-", input=default_files[IMAGES[0]] + "RUN cd /tmp && sudo pip install ray\n")
    assert done.returncode == 1
    assert "DL3004" in done.stdout


@pytest.mark.parametrize("path", IMAGES)
def test_an_image_has_what_kuberay_and_rays_launcher_ask_for(default_files, path):
    text = default_files[path]
    last = text.rpartition("\nFROM ")[2]
    assert text.count("\nFROM ") == 2
    assert re.search(r"^ARG BASE=python:3\.11\.\d+-slim-bookworm$", text, re.MULTILINE)
    assert "--constraint constraints.txt" in text
    assert "\nUSER 1000:1000\n" in last  # a number, or runAsNonRoot refuses it
    assert "PATH=/opt/moee/bin:$PATH" in last  # a job takes the first python there
    assert "HOME=/home/moee" in last  # Ray's launcher looks for it
    assert {"rsync", "wget"} <= set(last.split())
    assert "HF_HOME=/models" in last
    assert "ENTRYPOINT" not in text


def test_only_the_cpu_image_takes_torch_without_cuda(default_files):
    cpu, cuda = (default_files[path] for path in IMAGES)
    assert re.search(r"^ARG TORCH_INDEX=https://.*/cpu$", cpu, re.MULTILINE)
    assert re.search(r"^ARG TORCH_INDEX=$", cuda, re.MULTILINE)


def test_the_version_is_that_of_the_package(default_files):
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert f"\nARG VERSION={version}\n" in default_files[IMAGES[0]]


def test_shellcheck_has_nothing_to_say(files, tmp_path):
    script = tmp_path / "secrets.sh"
    script.write_text(files["kubernetes/secrets.sh"])
    done = run(BIN / "shellcheck", "--severity=style", script)
    assert (done.returncode, done.stdout) == (0, "")


KUBECTL = """#!/bin/sh
echo "$@" >> "$LOG/calls"
case "$*" in
  "get secret $THERE "*) echo "secret/$THERE" ;;
  "create secret generic "*) cat > "$LOG/$4" ;;
esac
"""


@pytest.fixture
def secrets(default_files, tmp_path):
    """Run the script with a kubectl that notes its calls: there is no Kubernetes here."""
    script, stub = tmp_path / "secrets.sh", tmp_path / "bin" / "kubectl"
    script.write_text(default_files["kubernetes/secrets.sh"])
    stub.parent.mkdir()
    stub.write_text(KUBECTL)
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)

    def run_script(there="nothing", **environment):
        path = f"{stub.parent}:{os.environ['PATH']}"
        done = run("sh", script, env={"PATH": path, "LOG": str(tmp_path), "THERE": there, **environment})
        made = {file.name: file.read_text() for file in tmp_path.glob("moee-*")}
        return done, made, (tmp_path / "calls").read_text()

    return run_script


def test_secrets_are_made_and_stand_on_no_command_line(secrets):
    done, made, calls = secrets(AWS_ACCESS_KEY_ID="a-key", AWS_SECRET_ACCESS_KEY="an = odd/key", OTHER="x")
    assert done.returncode == 0, done.stderr
    assert sorted(made) == ["moee-environment", "moee-ray-token", "moee-serve"]
    ray = re.fullmatch(r"auth_token=([0-9a-f]{64})\n", made["moee-ray-token"])[1]
    token, kept = re.fullmatch(
        r"token=([0-9a-f]{64})\nMOEE_SERVE_TOKEN_HASH=([0-9a-f]{64})\n", made["moee-serve"]
    ).groups()
    assert sha256(token.encode()).hexdigest() == kept
    assert sorted(made["moee-environment"].splitlines()) == [
        "AWS_ACCESS_KEY_ID=a-key",
        "AWS_SECRET_ACCESS_KEY=an = odd/key",
    ]
    shown = calls + done.stdout + done.stderr
    assert not [secret for secret in (ray, token, "a-key", "odd/key") if secret in shown]
    assert calls.count("--namespace moee") == len(calls.splitlines())


def test_a_secret_that_is_there_is_left_as_it_is(secrets):
    done, made, _ = secrets(there="moee-ray-token", HF_TOKEN="t")
    assert done.returncode == 0
    assert "moee-ray-token is there already" in done.stdout
    assert "moee-ray-token" not in made


def test_keys_that_are_missing_are_told(secrets):
    done, made, _ = secrets()
    assert done.returncode == 1
    assert "moee-environment" not in made
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no keys of an object storage in the environment")
