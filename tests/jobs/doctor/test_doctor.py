"""``moee doctor``: what it says of this machine, of models, of storages; and that it leaves nothing behind."""

from __future__ import annotations

import shutil
import socket
from types import SimpleNamespace

import boto3
import pytest

from jobs.doctor import machine, storage
from jobs.doctor.cluster import examine_cluster
from jobs.doctor.model import examine_model
from pipeline.models import locate
from pipeline.table.companions.lease import Lease
from pipeline.table.location import TableLocation


def states(findings):
    return {finding.what: finding.state for finding in findings}


def problems(findings):
    """All of them, each with what to type."""
    found = [finding for finding in findings if finding.state == "problem"]
    assert all(finding.do for finding in found)
    return [f"{finding.what}: {finding.why}" for finding in found]


def test_a_sound_machine_and_model_are_status_0(moee):
    outcome = moee("doctor", "--json")
    assert outcome.status == 0, outcome.out
    found = outcome.json
    assert found["problems"] == 0
    assert {"this machine", "model mini"} == {each["subject"] for each in found["findings"]}
    assert any("bitsandbytes" in each["what"] for each in found["findings"])
    assert "  problem" not in outcome.err


def test_a_problem_is_status_1_with_what_to_type(moee, monkeypatch):
    monkeypatch.setattr("jobs.doctor.machine.library_facts", dict)  # imports torch in a process of its own
    outcome = moee("doctor", "--model", "./nowhere")
    assert outcome.status == 1
    assert outcome.error == "error: 1 problem found: what to type stands below each"
    assert "  problem  model './nowhere': no such directory" in outcome.out
    assert "           → moee models" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--storage-option", "key=a"), "goes with --table"),
        (("--table", "lake/docs!"), "names no table"),
        (("--address", "head:6379"), "over HTTP"),
    ],
)
def test_wrong_usage_is_status_2(moee, arguments, what):
    outcome = moee("doctor", *arguments)
    assert outcome.status == 2
    assert what in outcome.error


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"torch": "2.13.0+cpu", "cuda": None, "gpus": [], "told": []}, "built for CPUs only: 2 GPUs stay idle"),
        ({"torch": "2.13.0", "cuda": "13.0", "gpus": [], "told": ["driver is too old"]}, "driver is too old"),
    ],
)
def test_gpus_that_torch_cannot_use_are_a_problem(monkeypatch, facts, what):
    monkeypatch.setattr(machine, "count_gpus", lambda: 2)
    (told,) = problems(machine._gpus(facts))
    assert what in told


def test_gpus_that_it_can_use_are_named(monkeypatch):
    monkeypatch.setattr(machine, "count_gpus", lambda: 1)
    gpu = {"name": "NVIDIA T4", "free": 14 << 30, "total": 15 << 30, "bfloat16": False}
    good, old = machine._gpus({"torch": "2.13.0", "cuda": "13.0", "gpus": [gpu], "told": []})
    assert "NVIDIA T4, 14.0 GiB of 15.0 GiB free" in good.what
    assert (old.state, old.do) == ("note", "moee embed … --dtype float16")


def test_libraries_that_break_are_told(monkeypatch):
    assert "ends the process" in problems(machine._libraries({"error": "importing torch ends the process: x"}))[0]
    broken = {"torch_error": "ImportError: libcudart", "bitsandbytes_error": "OSError: x"}
    assert len(problems(machine._libraries(broken))) == 2
    versions = {"torch": "1.0"}
    found = machine._version
    monkeypatch.setattr(machine, "_version", lambda name: versions.get(name) or found(name))
    assert [told for told in problems(machine._versions()) if told.startswith("torch 1.0: ")]


def test_little_room_is_told(monkeypatch):
    monkeypatch.setattr(machine, "host_memory", lambda: 1 << 20)
    assert machine._memory().state == "problem"
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (256, 256))
    assert machine._open_files().state == "problem"
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (256, machine.resource.RLIM_INFINITY))
    assert machine._open_files().state == "note"
    full = SimpleNamespace(total=100 << 30, used=97 << 30, free=3 << 30)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: full)
    assert machine._disk().state == "note"


@pytest.fixture
def copy(tmp_path):
    """The built-in model's files, elsewhere."""
    return shutil.copytree(locate("mini").path, tmp_path / "copy")


def test_a_directory_that_is_no_whole_checkpoint_is_a_problem(copy):
    assert problems(examine_model(str(copy), None)) == []
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "is damaged" in problems(examine_model(str(copy), None))[0]
    weights.unlink()
    assert "no *.safetensors" in problems(examine_model(str(copy), None))[0]
    (copy / "config.json").write_text("{")
    assert "config.json" in problems(examine_model(str(copy), None))[0]


def test_what_the_architecture_is_good_for_is_told(copy):
    (copy / "config.json").write_text('{"model_type": "doge"}')
    assert "mixes the tokens" in problems(examine_model(str(copy), None))[0]
    (copy / "config.json").write_text('{"model_type": "brandnew"}')
    assert states(examine_model(str(copy), None))["architecture brandnew, which is not verified"] == "note"


def test_a_hub_that_cannot_be_reached_is_a_problem():
    (told,) = problems(examine_model("nobody/nothing-at-all", None))
    assert told.startswith("nobody/nothing-at-all is not to be had: ")


def test_a_local_storage_is_tried_and_left_as_it_was(tmp_path):
    location = TableLocation.parse(tmp_path / "lake" / "docs")
    assert states(storage.examine_storage(location, None)) == {
        f"{tmp_path}/lake is not there yet; the first run makes it": "ok"
    }
    assert not (tmp_path / "lake").exists()
    (tmp_path / "lake").mkdir()
    found = states(storage.examine_storage(location, None))
    assert found["no table there yet; the first run makes it"] == "ok"
    assert list((tmp_path / "lake").iterdir()) == []


def test_a_file_in_the_way_is_a_problem(tmp_path):
    (tmp_path / "lake").write_text("a file")
    assert problems(storage.examine_storage(TableLocation.parse(tmp_path / "lake" / "docs"), None))


@pytest.fixture
def bucket(endpoint):
    options = {"key": "k", "secret": "s", "endpoint_url": endpoint, "region": "us-east-1"}
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    client.create_bucket(Bucket="clinic")
    yield client, options
    for listed in client.list_objects_v2(Bucket="clinic").get("Contents", []):
        client.delete_object(Bucket="clinic", Key=listed["Key"])
    client.delete_bucket(Bucket="clinic")


def test_object_storage_its_table_and_who_writes(bucket, load):
    client, options = bucket
    uri = "s3://clinic/lake/lab"
    load("table/lab.py").create(uri, storage_options=options)
    before = client.list_objects_v2(Bucket="clinic")["KeyCount"]
    location = TableLocation.parse(uri, options)
    found = storage.examine_storage(location, options)
    assert problems(found) == []
    assert {"its clock and this machine's agree", "nobody is writing into it"} <= states(found).keys()
    assert client.list_objects_v2(Bucket="clinic")["KeyCount"] == before
    with Lease(location, "another"):
        assert [each for each in storage.examine_storage(location, options) if "run another" in each.what]


def test_a_bucket_that_is_not_there_is_one_problem(bucket):
    _, options = bucket
    location = TableLocation.parse("s3://nobucket/docs", options)
    (told,) = problems(storage.examine_storage(location, options))
    assert "bucket does not exist" in told


def test_a_cluster_that_is_not_there_is_a_problem(monkeypatch):
    monkeypatch.setattr("jobs.doctor.cluster.CONNECT_SECONDS", 0.5)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (told,) = problems(examine_cluster(f"http://127.0.0.1:{port}"))
    assert "nothing answers" in told
