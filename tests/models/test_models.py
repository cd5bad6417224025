from __future__ import annotations

import json
import shutil

import pytest

from pipeline.errors import ModelError
from pipeline.models import locate, reference_texts, resolve_spec
from pipeline.models.content import content_hash
from pipeline.spec import EmbeddingSpec


@pytest.fixture
def copy(tmp_path):
    """The built-in model's files, elsewhere."""
    return shutil.copytree(locate("mini").path, tmp_path / "copy")


def test_identity_is_content_and_not_place(copy):
    here, there = locate("mini"), locate(str(copy))
    assert (here.identity, here.tokenizer) == (there.identity, there.tokenizer)


def test_changed_weights_are_another_model(copy):
    before = locate(str(copy))
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    after = locate(str(copy))
    assert after.identity != before.identity
    assert after.tokenizer == before.tokenizer


@pytest.mark.parametrize("written", ["[1]", "{x", '{"promt": "none"}', '{"pooling": "first"}'])
def test_defaults_that_no_spec_has_are_refused(copy, written):
    (copy / "moee.json").write_text(written)
    with pytest.raises(ModelError, match=r"moee\.json"):
        locate(str(copy))


def test_a_checkpoints_own_defaults_are_taken(copy):
    (copy / "moee.json").write_text(json.dumps({"pooling": "mean", "prompt": "none"}))
    spec, meaning, _ = resolve_spec(EmbeddingSpec(model=str(copy)))
    assert (spec.pooling, spec.prompt) == ("mean", "none")
    assert meaning["pooling"] == "mean"


def test_hashes_are_the_same_without_the_memory_of_them(copy, tmp_path, monkeypatch):
    monkeypatch.setenv("MOEE_CACHE", str(tmp_path / "cache"))
    first = content_hash(copy, ["*.json"])
    assert (tmp_path / "cache" / "hashes.json").is_file()
    assert content_hash(copy, ["*.json"]) == first
    (tmp_path / "cache" / "hashes.json").write_text("damaged")
    assert content_hash(copy, ["*.json"]) == first


def test_a_cache_that_cannot_be_written_is_done_without(copy, monkeypatch):
    monkeypatch.setenv("MOEE_CACHE", "/proc/nowhere")
    assert len(content_hash(copy, ["*.json"])) == 32


def test_the_built_in_model_is_small_and_says_what_it_wants():
    mini = locate("mini")
    assert sum(file.stat().st_size for file in mini.path.iterdir()) <= 24_000_000
    assert mini.config["model_type"] == "olmoe"
    spec, _, _ = resolve_spec("mini")
    assert dict(mini.defaults).items() <= spec.model_dump().items()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("/no/such/place", "no such directory"),
        ("./nothing", "no such directory"),
        ("word", "no such directory"),
        ("nobody/nothing-at-all", "not to be had from the hub|neither a directory"),
    ],
)
def test_a_model_that_is_nowhere_is_refused_in_one_line(model, message):
    with pytest.raises(ModelError, match=message) as caught:
        locate(model)
    assert "\n" not in str(caught.value)


def test_a_directory_without_safetensors_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        locate(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="other weight formats are not loaded"):
        locate(str(tmp_path))


def test_reference_texts_are_many_and_distinct():
    texts = reference_texts()
    assert len(set(texts)) == 2048
    assert all(text.strip() for text in texts)


def test_a_checkpoint_knows_the_size_of_its_weights():
    found = locate("mini")
    assert found.weight_bytes == (found.path / "model.safetensors").stat().st_size
