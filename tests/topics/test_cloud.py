"""Topics of a table in object storage, on a local S3 server."""

from __future__ import annotations

import boto3
import lance
import numpy as np
import pytest

from pipeline.table.location import TableLocation
from pipeline.topics import fit_topics, load_topics
from pipeline.topics.operations import assign, fit
from pipeline.topics.tensors import tensor_names

KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "aws_region": "us-east-1"}


@pytest.fixture
def bucket(endpoint, monkeypatch):
    """A bucket of which the environment knows nothing, and how to reach it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **_login()).create_bucket(Bucket="topics")
    return "s3://topics", {**KEYS, "aws_endpoint": endpoint, "allow_http": "true"}


def _login():
    return {name: KEYS[name] for name in ("aws_access_key_id", "aws_secret_access_key")}


def test_tables_and_artefacts_lie_in_the_bucket(bucket, helpers, monkeypatch):
    place, options = bucket
    monkeypatch.setattr(fit, "cluster", lambda vectors, *_, **__: vectors[:, :2].argmax(axis=1))
    monkeypatch.setattr(assign, "UNIT_ROWS", 60)
    vectors = np.eye(helpers.DIMENSION)[np.arange(120) % 2]
    rows = helpers.table_of([f"d{row}" for row in range(120)], ["planet", "engine"] * 60, vectors)
    lance.write_dataset(rows, f"{place}/docs.lance", storage_options=options, max_rows_per_file=40)
    fitted = fit_topics(f"{place}/docs", limit=50, storage_options=options)
    loaded = load_topics(f"{place}/docs", storage_options=options)
    assert loaded.model == fitted.model
    assert loaded.model.documents == loaded.assignments().num_rows == 120
    assert loaded.artefact().counts.matrix.sum() == 120
    location = TableLocation.parse(f"{place}/docs", options)
    assert tensor_names(location) == [loaded.model.artefact]
