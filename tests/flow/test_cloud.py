"""Source and table both in object storage, through Ray, against a real S3 API on this machine; secrets stay secret."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import boto3
import lancedb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import VectorTable

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

KEY, SECRET = "AKIAQUITEUNLIKELY", "a-secret/that+nobody=guesses"


@pytest.fixture
def bucket(lab, endpoint):
    """A bucket with two files: 45 documents, an empty one, and an id that comes twice; the table comes beside them."""
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    client.create_bucket(Bucket="crawl")
    whole = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(lab.documents(30, "p")), whole)
    lines = [*lab.documents(15, "l"), {"id": "l-empty", "text": " ", "theme": "none"}, lab.documents(1, "p")[0]]
    client.put_object(Bucket="crawl", Key="in/a.parquet", Body=whole.getvalue())
    client.put_object(Bucket="crawl", Key="in/b.jsonl", Body="\n".join(map(json.dumps, lines)).encode())
    yield client
    for listed in client.list_objects_v2(Bucket="crawl").get("Contents", []):
        client.delete_object(Bucket="crawl", Key=listed["Key"])
    client.delete_bucket(Bucket="crawl")


def moee(environment, *arguments):
    command = [
        sys.executable,
        "-m",
        "jobs.cli",
        "embed",
        *arguments,
        "--max-tokens",
        "24",
        "--pooling",
        "last",
        "--json",
    ]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stdout + done.stderr


def by_environment(endpoint):
    names = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    return {**names, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint}, []


def by_options(endpoint):
    given = {"key": KEY, "secret": SECRET, "endpoint_url": endpoint, "region": "us-east-1"}
    return {}, [part for name, value in given.items() for part in ("--storage-option", f"{name}={value}")]


@pytest.mark.parametrize("credentials", [by_environment, by_options])
def test_from_a_bucket_into_a_bucket(lab, endpoint, bucket, tmp_path, credentials):
    variables, arguments = credentials(endpoint)
    environment = lab.environment(tmp_path / "home", **variables)
    environment = {name: value for name, value in environment.items() if name in variables or name[:4] != "AWS_"}
    command = ["s3://crawl/", "--table", "s3://crawl/lake/docs", *arguments]
    report, said = moee(environment, *command)
    assert (report["documents"], report["rejects"]) == (45, 2)
    again, more = moee(environment, *command)
    assert again["nothing_to_do"]

    options = dict(zip(("key", "secret", "endpoint_url", "region"), (KEY, SECRET, endpoint, "us-east-1"), strict=True))
    table = VectorTable.open("s3://crawl/lake/docs", options)
    plain = lancedb.connect("s3://crawl/lake", storage_options=table.storage_options).open_table("docs")
    expected = {row["id"] for row in [*lab.documents(30, "p"), *lab.documents(15, "l")]}
    assert set(plain.to_arrow()["id"].to_pylist()) == expected
    assert sorted(row["reason"] for row in table.rejects().to_pylist()) == ["duplicate id", "empty"]
    told = said + more + json.dumps([report, again]) + json.dumps(table.info()) + str(table.runs().to_pylist())
    logs = [path.read_text(errors="replace") for path in written(tmp_path)]
    for secret in (SECRET, KEY):
        assert secret not in told
        assert not any(secret in text for text in logs)


def written(tmp_path):
    """What was written into the process's home: nothing of it may hold a secret."""
    return [path for path in (tmp_path / "home").rglob("*") if path.is_file() and path.stat().st_size < 1 << 20]
