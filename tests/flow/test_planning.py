"""What is planned where the sources hold the table itself, or what kills the planner."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from in_process import InProcessEngine

from pipeline import embed
from pipeline.corpus import ReaderOptions
from pipeline.corpus.passed_over import TABLE
from pipeline.errors import SourceError
from pipeline.flow.work import plan_work
from pipeline.rejects import EMPTY, UNREADABLE, slice_rejects
from pipeline.spec import EmbeddingSpec
from pipeline.table import TableLocation, VectorTable
from pipeline.table.companions.files import begin_files
from pipeline.table.companions.lease import Lease
from pipeline.table.companions.rejects import write_rejects

ROOT = Path(__file__).parents[2]
ROWS = pa.table({"id": ["a"], "text": ["one text"]})


def create(location):
    spec = EmbeddingSpec(model="lab", prompt="none", pooling="last", routing="scores", combine="sum", alpha=1.0)
    meaning = {"semantics": 1, "checkpoint": "lab", "tokenizer": "lab"}
    reader = {"text": "text", "id": "id"}
    return VectorTable.create(location, spec=spec, meaning=meaning, halves=(5, 3), reader=reader)


def planned(source, location, storage_options=None):
    table = create(location)
    with Lease(location, "run"), Lease(location.sibling("topics"), "topics"):
        work = plan_work([str(source)], location, table, ReaderOptions(), storage_options=storage_options)
    return [file.uri for file in work.files]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A working directory with one dataset, and a link to it beside it."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    lance.write_dataset(ROWS, str(folder / "a.lance"))
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("table", ["lake/t", "../data/lake/t", "sub/../lake/t", "../link/lake/t"])
@pytest.mark.parametrize("source", [".", "../link", "../link/../data"])
def test_a_table_among_its_sources_is_not_embedded(data, table, source):
    (uri,) = planned(source, TableLocation.parse(table))
    assert uri.endswith("/a.lance")


def test_a_dataset_with_a_similar_name_is_no_companion(data):
    lance.write_dataset(ROWS, "lake/docs.de.lance")
    assert planned("lake", TableLocation.parse("lake/docs")) == [f"file://{data}/lake/docs.de.lance"]


def test_nothing_but_the_table_is_nothing_to_read(data):
    for source in ("lake", "lake/t.lance", "lake/t*"):
        with pytest.raises(SourceError, match="holds only the table"):
            planned(source, TableLocation.parse("lake/t"))


def test_other_tables_below_a_source_are_passed_over_with_their_companions(data):
    """Also those of a table that was dropped; a dataset that only has such a name is read."""
    other = TableLocation.parse("lake/other")
    create(other)
    write_rejects(other, slice_rejects([(0, "a", EMPTY, "")], "file:///a", 1))
    begin_files(TableLocation.parse("lake/dropped"), [("file:///a", "1")], "run")
    lance.write_dataset(ROWS, "lake/mine.rejects.lance")
    table = TableLocation.parse("lake/t")
    assert planned("lake", table) == [f"file://{data}/lake/mine.rejects.lance"]
    work = plan_work(["lake"], table, VectorTable.open(table), ReaderOptions())
    left = [path.name for path in Path("lake").iterdir() if not path.name.startswith(("t.", "mine."))]
    assert work.passed_over == {TABLE: len(left)}
    assert sorted(left) == ["dropped.files.lance", "other.lance", "other.rejects.lance"]
    named = plan_work(["lake/other.lance"], table, VectorTable.open(table), ReaderOptions())
    assert [file.uri for file in named.files] == [f"file://{data}/lake/other.lance"]


@pytest.mark.parametrize("by", ["options", "environment"])
def test_a_table_among_its_sources_in_object_storage(endpoint, monkeypatch, by):
    given = {"key": "k", "secret": "s", "endpoint_url": endpoint, "region": "us-east-1"}
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
    for name, value in zip(names, given.values(), strict=True):
        if by == "environment":
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)
    options = given if by == "options" else None
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    bucket = f"planning-{by}"
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="a.jsonl", Body=b'{"id": "a", "text": "one text"}\n')
    client.put_object(Bucket=bucket, Key="lake/docs.journal.lance/data/half-made.lance", Body=b"rubbish")
    location = TableLocation.parse(f"s3://{bucket}/lake/docs", options)
    assert planned(f"s3://{bucket}", location, options) == [f"s3://{bucket}/a.jsonl"]


def test_a_run_that_a_footer_killed_while_it_planned_ends_well_the_next_time(
    load, stub, stub_model, tmp_path, monkeypatch
):
    """Promise 3 for what is opened in the driver: a Parquet file at whose row groups Arrow calls abort()."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    source, table = tmp_path / "in", str(tmp_path / "lake" / "docs")

    def run():
        spec = {"model": stub_model, "max_tokens": 8, "pooling": "last"}
        return embed(str(source), table, spec, engine=stub.planted(InProcessEngine()))

    source.mkdir()
    pq.write_table(ROWS, source / "b.parquet")
    assert run().documents == 1
    deadly = load("corpus/deadly_footer.py").write(source / "a.parquet")
    pq.write_table(pa.table({"id": ["c", "d"], "text": ["w1", "w2"]}), source / "c.parquet")
    command = "import sys; from pipeline import embed; embed(*sys.argv[1:])"
    died = subprocess.run(
        [sys.executable, "-c", command, str(source), table], cwd=ROOT, stderr=subprocess.DEVNULL, check=False
    )
    assert died.returncode == -signal.SIGABRT
    report = run()
    assert (report.documents, report.rejects, report.failed_files) == (2, 1, {f"file://{deadly}": UNREADABLE})
    assert run().nothing_to_do
