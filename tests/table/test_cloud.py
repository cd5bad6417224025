"""Tables in object storage, on a local S3 server."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import boto3
import lancedb
import numpy as np
import pytest

from pipeline.errors import LeaseError, MoeeError, TableError, TableNotFoundError
from pipeline.table import TableLocation, VectorTable, stage
from pipeline.table.companions.lease import Lease, read_holder
from pipeline.table.fragments.orphans import collect_orphans, orphans


@pytest.fixture
def bucket(endpoint, monkeypatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="lake")
    return "s3://lake"


def test_a_whole_run_by_the_environment(table_lab, bucket):
    uri = f"{bucket}/run/lab"
    table_lab.drive(uri)
    table_lab.assert_exactly_once(uri)
    table = VectorTable.open(uri)
    table.index()
    assert table.search(np.ones(8), k=3).num_rows == 3
    assert table.search("text", k=3, mode="text").num_rows == 3
    assert table.info()["companions"] == ["files", "rejects", "slices"]
    plain = lancedb.connect(f"{bucket}/run", storage_options=table.storage_options).open_table("lab")
    assert plain.count_rows() == len(table_lab.expected_ids())


@pytest.fixture
def trouble(bucket, endpoint, tmp_path, monkeypatch):
    """A proxy before the server that answers one request in ten with 500, 503 or, for a second, not at all."""
    control = tmp_path / "share"
    control.write_text("0.1", encoding="ascii")
    script = Path(__file__).parents[1] / "soak" / "proxy.py"
    seed = random.SystemRandom().randrange(10**6)
    print(f"the proxy's seed: {seed}")  # noqa: T201 — shown when a test fails
    command = [sys.executable, str(script), endpoint.removeprefix("http://"), str(control), str(seed), "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.stdout.readline().strip()}")
        yield control
        proxy.kill()


def test_a_storage_in_trouble_loses_and_doubles_nothing(table_lab, bucket, trouble, monkeypatch, endpoint):
    uri = f"{bucket}/trouble/lab"
    for attempt in range(8):
        try:
            table_lab.drive(uri, run=f"run{attempt}", max_rows=24)
            break
        except MoeeError:
            continue
    else:
        pytest.fail("it never got through")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    table_lab.assert_exactly_once(uri)


def test_lease_and_orphans(table_lab, bucket):
    uri = f"{bucket}/tidy/lab"
    table_lab.drive(uri)
    location = TableLocation.parse(uri)
    with Lease(location, "mine", beat=0.1) as lease:
        with pytest.raises(LeaseError, match="run mine"), Lease(location, "other"):
            pass
        stage(location, table_lab.read([(2, 3)])[0])
        found = sum(orphans(location).values())
        assert collect_orphans(location, "mine") == found > 0
        lease.check()
    assert not orphans(location)
    assert read_holder(location) is None
    table_lab.assert_exactly_once(uri)


def test_options_in_fsspecs_names(table_lab, bucket, endpoint, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    options = {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": endpoint, "region_name": "us-east-1"}}
    table = table_lab.create(f"{bucket}/options/lab", storage_options=options)
    table.add(["a"], table_lab.vectors(1))
    assert VectorTable.open(table.location).count_rows() == 1
    assert "test" not in repr(table) + repr(table.location)


def test_places_that_are_not_there(table_lab, bucket):
    with pytest.raises(TableNotFoundError, match="no tables"):
        VectorTable.open(f"{bucket}/empty/docs")
    with pytest.raises(TableError, match="bucket does not exist") as caught:
        table_lab.create("s3://nobucket/docs/lab")
    assert "\n" not in str(caught.value)


def test_where_it_is(bucket):
    location = TableLocation.parse(f"{bucket}/a/b/docs")
    assert (location.directory, location.name) == (f"{bucket}/a/b", "docs")
    assert location.options["allow_http"] == "true"
