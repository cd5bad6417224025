"""Values: their defaults, their documentation, and how wrong ones are told."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from jobs.infra.values import Values, documented, read_values
from pipeline.errors import UsageError


def test_documented_values_are_the_values(values, tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(documented(values))
    assert read_values(file) == values


def test_every_value_that_no_name_explains_has_its_meaning(default_files):
    lines = default_files["values.yaml"].splitlines()
    plain = {"model", "cpus", "memory", "max_nodes", "replicas", "replica_cpus", "region", "zone", "project"}
    plain |= {"cpu", "cuda", "head", "image"}
    for before, line in pairwise(lines):
        name = line.strip().partition(":")[0]
        if not name.startswith("#") and name not in plain:
            assert before.strip().startswith("#"), line


def test_an_empty_file_is_all_defaults(tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text("# nothing yet\n")
    assert read_values(file) == read_values(None) == Values()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tabel: s3://lake/docs", "tabel: there is no such value"),
        ("embed: {source: [s3://a]}", "embed.source: there is no such value"),
        ("table: lake/docs", "table: String should match pattern"),
        ("embed: {sources: []}", "embed.sources: List should have at least 1 item"),
        ("embed: {arguments: --dedup}", "embed.arguments: Input should be a valid list"),
        ("spot: {gpus: 0}", "spot.gpus: "),
        ("name: Moee", "name: String should match"),
        ("images: {cpu: moee}", "images.cpu: String should match"),
        ("head: {memory: 16}", "head.memory: "),
        ("provider: azure", "provider: Input should be 'gke', 'eks', 'karpenter' or 'aks'"),
        ("topics: {schedule: daily}", "topics.schedule: "),
        ("ray_version: 2.6", "ray_version: "),
        ("a: 1\nb: 2", r"a: there is no such value \(and 1 more\)"),
        ("- a", "no mapping of values"),
        ("a: [", "is not YAML"),
        ("a: !!python/object:os.system {}", "is not YAML"),
    ],
)
def test_what_cannot_be_meant_is_one_line_that_says_where(tmp_path, text, told):
    file = tmp_path / "values.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=told) as error:
        read_values(file)
    assert "\n" not in str(error.value)
    assert "values.yaml" in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        read_values(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="bytes"):
        read_values(tmp_path / "bytes.yaml")


def test_values_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Values().table = "s3://other/one"


def test_the_sample_holds_the_defaults():
    text = (Path(__file__).parents[2] / "infra/values.yaml").read_text()
    assert Values.model_validate(yaml.safe_load(text)) == Values()
