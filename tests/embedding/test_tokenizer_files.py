"""Read from its file or put together by transformers: the same tokenizer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.embedding import tokenizer_files
from pipeline.embedding.tokenizer_files import load_backend
from pipeline.errors import ModelError
from pipeline.models import locate

MINI = locate("mini").path


@cache
def both():
    direct = tokenizer_files._from_file(MINI)
    assert direct is not None, "the built-in tokenizer is plain"
    return direct, tokenizer_files._from_transformers(MINI)


@given(st.lists(st.text(max_size=80) | st.sampled_from(["<|endoftext|>", "a<|padding|> b", " é日 \n"]), max_size=4))
@settings(max_examples=100)
def test_a_plain_file_gives_what_transformers_gives(texts):
    (direct, nothing), (built, same) = both()
    assert nothing == same
    for text in ["", *texts]:
        one, other = direct.encode(text), built.encode(text)
        assert (one.ids, one.offsets) == (other.ids, other.offsets)


def test_a_plain_tokenizer_needs_no_transformers():
    script = f"import sys; from pipeline.embedding.tokenizer_files import load_backend; load_backend({str(MINI)!r}); "
    done = subprocess.run([sys.executable, "-c", script + "print('transformers' in sys.modules)"],
                          stdout=subprocess.PIPE, check=True, text=True)  # fmt: skip
    assert done.stdout.strip() == "False"


def copy(tmp_path, **changes):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MINI / name, tmp_path / name)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return tmp_path


@pytest.mark.parametrize(
    "changes",
    [
        {"add_bos_token": True, "bos_token": "<|endoftext|>"},
        {"tokenizer_class": "LlamaTokenizerFast"},
        {"eos_token": "<brand new>"},
        {"eos_token": {"content": "<|endoftext|>", "lstrip": True}},
        {"added_tokens_decoder": {}},
    ],
)
def test_what_is_more_than_its_file_is_left_to_transformers(tmp_path, changes):
    assert tokenizer_files._from_file(copy(tmp_path, **changes)) is None


def test_other_files_and_a_post_processor_are_left_to_transformers(tmp_path):
    directory = copy(tmp_path)
    assert tokenizer_files._from_file(directory) is not None
    (directory / "special_tokens_map.json").write_text("{}")
    assert tokenizer_files._from_file(directory) is None
    (directory / "special_tokens_map.json").unlink()
    whole = json.loads((directory / "tokenizer.json").read_text())
    whole["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    (directory / "tokenizer.json").write_text(json.dumps(whole))
    assert tokenizer_files._from_file(directory) is None


def test_an_empty_directory_is_told_in_one_line(tmp_path):
    with pytest.raises(ModelError, match="no tokenizer can be read"):
        load_backend(tmp_path)
