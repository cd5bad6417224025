from __future__ import annotations

import os

import boto3
import fsspec
import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus import ReaderOptions, list_sources, plan, read_unit
from pipeline.corpus.formats.base import UnreadableError
from pipeline.corpus.passed_over import VERSION_MARK
from pipeline.corpus.sources import look_through
from pipeline.corpus.unchanged import exists, has_changed
from pipeline.errors import SourceError, UsageError
from pipeline.storage import _fsspec_options, lance_uri, object_store_options

TABLE = pa.table({"id": [f"d{index}" for index in range(10)], "text": [f"text {index}" for index in range(10)]})


@pytest.fixture
def memory():
    fs = fsspec.filesystem("memory")
    with fs.open("/bucket/sub/a.parquet", "wb") as file:
        pq.write_table(TABLE, file)
    fs.pipe("/bucket/b.jsonl", b'{"id": "e", "text": "x"}\n')
    fs.pipe("/bucket/_hidden/c.jsonl", b"")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_a_folder_of_any_fsspec_storage_is_read(memory, read):
    assert [file.uri for file in list_sources(["memory://bucket"])] == [
        "memory:///bucket/b.jsonl",
        "memory:///bucket/sub/a.parquet",
    ]
    assert read("memory://bucket").documents.num_rows == 11
    assert read("memory://bucket/**/*.parquet").documents.num_rows == 10
    with pytest.raises(SourceError, match="no such file"):
        list_sources(["memory://bucket/nothing"])


def test_small_files_that_are_read_side_by_side_come_in_order(memory, read, tmp_path):
    large = "".join(f'{{"id": "large{row}", "text": "{"word " * 100}"}}\n' for row in range(2500))
    files = {f"{number:02}.jsonl": f'{{"id": "d{number}", "text": "of {number}"}}\nrubbish\n' for number in range(40)}
    for name, content in (files | {"20-large.jsonl": large}).items():
        memory.pipe(f"/many/{name}", content.encode())
        (tmp_path / name).write_text(content)
    here, there = read(tmp_path), read("memory://many")
    assert there.documents["id"].to_pylist() == here.documents["id"].to_pylist()
    assert len(there.documents) == 2540
    assert there.reasons == here.reasons
    assert [record.rows for record in there.records] == [record.rows for record in here.records]


@pytest.mark.parametrize("name", ["sub/a.parquet", "b.jsonl"])
@pytest.mark.parametrize("error", [OSError("connection reset"), RuntimeError("credentials expired")])
def test_a_read_that_fails_never_looks_like_a_corrupt_file(memory, monkeypatch, name, error):
    options = ReaderOptions("text", "id")
    units = list(plan(list_sources([f"memory://bucket/{name}"]), options))

    def fail(*_):
        raise error

    monkeypatch.setattr(fsspec.implementations.memory.MemoryFile, "read", fail, raising=False)
    with pytest.raises(SourceError, match="reading failed") as caught:
        [list(read_unit(unit, options)) for unit in units]
    assert not isinstance(caught.value, UnreadableError)


@pytest.mark.parametrize(
    ("scheme", "options", "expected"),
    [
        (
            "s3",
            {"aws_access_key_id": "a", "AWS_SECRET_ACCESS_KEY": "b", "aws_region": "r", "allow_http": "true"},
            {"key": "a", "secret": "b", "client_kwargs": {"region_name": "r"}},
        ),
        ("s3", {"key": "a", "endpoint_url": "u"}, {"key": "a", "endpoint_url": "u"}),
        ("s3", {"region_name": "r", "anon": "false"}, {"client_kwargs": {"region_name": "r"}, "anon": False}),
        ("s3", {"access_key_id": "a", "aws_skip_signature": "true"}, {"key": "a", "anon": True}),
        ("az", {"azure_storage_account_name": "n"}, {"account_name": "n"}),
        ("gs", {"google_service_account": "f.json"}, {"token": "f.json"}),
        ("file", {"aws_access_key_id": "a"}, {}),
    ],
)
def test_storage_options_may_be_spelled_as_for_the_table(scheme, options, expected):
    assert _fsspec_options(scheme, options) == expected


def test_lance_takes_the_names_of_either(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    assert object_store_options("/local", {"key": "x"}) == {}
    assert object_store_options("s3://b", {"key": "k", "anon": True, "token": None}) == {
        "aws_access_key_id": "k",
        "aws_skip_signature": "true",
    }
    assert object_store_options("s3://b", {"aws_region": "eu", "endpoint_url": "https://e"}) == {
        "aws_region": "eu",
        "aws_endpoint": "https://e",
    }
    for name in ("aws_endpoint_url", "AWS_ENDPOINT_URL", "endpoint"):
        assert object_store_options("s3://b", {name: "http://e"}) == {"aws_endpoint": "http://e", "allow_http": "true"}
    assert object_store_options("hf://datasets/a/b", {"token": "of the table", "hf_token": "t"}) == {"hf_token": "t"}
    assert object_store_options("abfs://c", {"account_name": "a"}) == {"azure_storage_account_name": "a"}
    with pytest.raises(UsageError, match="config_kwargs"):
        object_store_options("s3://b", {"config_kwargs": {}})


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("file:///data/a b.lance", "/data/a b.lance"),
        ("/data/x.lance", "/data/x.lance"),
        ("s3://b/x.lance", "s3://b/x.lance"),
        ("abfs://c/x.lance", "az://c/x.lance"),
        ("gcs://b/x.lance", "gs://b/x.lance"),
        ("s3://b/a b%20#?.lance", "s3://b/a%20b%2520%23%3F.lance"),
    ],
)
def test_lance_knows_a_storage_by_one_scheme(uri, expected):
    assert lance_uri(uri) == expected


@pytest.fixture(scope="module")
def s3(endpoint):
    pytest.importorskip("s3fs")
    options = {
        "aws_access_key_id": "testing",
        "aws_secret_access_key": "testing",
        "aws_region": "us-east-1",
        "aws_endpoint": endpoint,
        "allow_http": "true",
    }
    fs = fsspec.filesystem("s3", key="testing", secret="testing", endpoint_url=endpoint)
    fs.mkdir("corpus")
    with fs.open("corpus/year=1/a.parquet", "wb") as file:
        pq.write_table(TABLE, file)
    fs.pipe("corpus/b.jsonl", b'{"id": "e", "text": "x"}\n')
    fs.pipe("corpus/bad.parquet", b"rubbish")
    fs.pipe("corpus/_temporary/c.parquet", b"rubbish")
    lance.write_dataset(
        TABLE.set_column(0, "id", pa.array([f"l{index}" for index in range(10)])),
        "s3://corpus/t.lance",
        storage_options=options,
    )
    return fs, options


def by_object_store(endpoint):
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return {**keys, "aws_region": "us-east-1", "aws_endpoint": endpoint, "allow_http": "true"}, {}


def by_other_names_of_object_store(endpoint):
    keys = {"access_key_id": "testing", "SECRET_ACCESS_KEY": "testing"}
    return {**keys, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint}, {}


def by_fsspec(endpoint):
    return {"key": "testing", "secret": "testing", "endpoint_url": endpoint, "region": "us-east-1"}, {}


def by_fsspecs_client(endpoint):
    client = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    return {"key": "testing", "secret": "testing", "client_kwargs": client}, {}


def by_environment(endpoint):
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    return None, {**keys, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint}


@pytest.mark.parametrize(
    "credentials", [by_object_store, by_other_names_of_object_store, by_fsspec, by_fsspecs_client, by_environment]
)
def test_object_storage_with_the_tables_own_options(s3, endpoint, read, monkeypatch, credentials):
    fs, _ = s3
    options, variables = credentials(endpoint)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    type(fs).clear_instance_cache()
    files = list_sources(["s3://corpus"], storage_options=options)
    assert [file.uri for file in files] == [
        "s3://corpus/b.jsonl",
        "s3://corpus/bad.parquet",
        "s3://corpus/t.lance",
        "s3://corpus/year=1/a.parquet",
    ]
    assert files[0].version == fs.info("corpus/b.jsonl")["ETag"].strip('"')
    assert list_sources(["s3://corpus/t.lance", "s3://corpus/year*/*.parquet"], storage_options=options) == files[2:]
    result = read("s3://corpus", storage_options=options)
    assert sorted(result.documents["id"].to_pylist()) == sorted(["e", *(f"{k}{i}" for k in "dl" for i in range(10))])
    assert result.rejects.select(["source", "reason"]).to_pylist() == [
        {"source": "s3://corpus/bad.parquet", "reason": "unreadable"}
    ]


def test_a_lance_directory_that_is_skipped_is_not_opened(s3):
    fs, options = s3
    fs.pipe("corpus/half/made.lance/data/0.lance", b"rubbish")
    try:
        with pytest.raises(SourceError, match="not readable as a Lance dataset"):
            list_sources(["s3://corpus/half"], storage_options=options)
        skip = {"s3://corpus/half/made.lance"}.__contains__
        assert list_sources(["s3://corpus/half"], storage_options=options, skip=skip) == []
        assert len(list_sources(["s3://corpus"], storage_options=options, skip=skip)) == 4
    finally:
        fs.rm("corpus/half", recursive=True)


@pytest.mark.parametrize("name", ["std::vector", "a[1]*?", "a b%20c", "a#b?c=d&e", "ä+~{1}"])
def test_a_key_is_a_name(s3, read, name):
    """Of a file, of a folder and of a Lance directory: listed, named alone, read, looked at again."""
    fs, options = s3
    fs.mkdir("names")
    folder = f"names/{name}"
    fs.pipe(f"{folder}/{name}.jsonl", b'{"id": "one", "text": "x"}\n')
    lance.write_dataset(TABLE, lance_uri(f"s3://{folder}/{name}.lance"), storage_options=options)
    files = list_sources(["s3://names"], storage_options=options)
    try:
        assert [file.uri for file in files] == [f"s3://{folder}/{name}.jsonl", f"s3://{folder}/{name}.lance"]
        for file in files:
            assert list_sources([file.uri], storage_options=options) == [file]
            assert not has_changed(file, options)
        assert list_sources([f"s3://{folder}"], storage_options=options) == files
        found = read("s3://names", storage_options=options)
        assert found.documents["id"].to_pylist() == ["one", *TABLE["id"].to_pylist()]
        assert not found.rejects.num_rows
        fs.rm_file(f"{folder}/{name}.jsonl")
        assert not exists(files[0].uri, options)
    finally:
        fs.rm("names", recursive=True)


def test_a_key_with_an_empty_part_is_read(s3, read):
    fs, options = s3
    fs.pipe("corpus/odd//s3://x.jsonl", b'{"id": "one", "text": "x"}\n')
    try:
        assert read("s3://corpus/odd", storage_options=options).documents["source"].to_pylist() == [
            "s3://corpus/odd//s3://x.jsonl"
        ]
    finally:
        fs.rm_file("corpus/odd//s3://x.jsonl")


def test_a_key_that_its_driver_would_cut_is_told(s3, endpoint):
    fs, options = s3
    fs.mkdir("marks")
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, **keys)
    for key in ("a.jsonl", "a.jsonl?versionId=b.jsonl"):
        client.put_object(Bucket="marks", Key=key, Body=b'{"id": "one", "text": "x"}\n')
    listing = look_through(["s3://marks"], storage_options=options)
    assert [file.uri for file in listing.files] == ["s3://marks/a.jsonl"]
    assert listing.passed_over == {"s3://marks/a.jsonl?versionId=b.jsonl": VERSION_MARK}


def test_object_storage_that_refuses_is_said_in_one_line(s3):
    _, options = s3
    with pytest.raises(SourceError, match=r"no such file|cannot be listed"):
        list_sources(["s3://no-such-bucket/x"], storage_options=options)
