"""Options of a run: what cannot be meant is refused with one clear line."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.embedding.chunks import Chunking
from pipeline.errors import UsageError
from pipeline.flow.engines.base import Replicas
from pipeline.flow.max_rejects import MaxRejects
from pipeline.flow.options import EmbedOptions


def test_what_is_written_is_parsed_once():
    options = EmbedOptions(keep="author", chunk="64:8", replicas="1:3", max_rejects="5%")
    assert options.keep == options.reader.keep == ("author",)
    assert options.chunk == Chunking(64, 8)
    assert options.replicas == Replicas(1, 3)
    assert options.max_rejects == MaxRejects(share=0.05)
    assert EmbedOptions(**{name: getattr(options, name) for name in EmbedOptions.model_fields}) == options


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"limit": 0}, "limit=0: at least one row"),
        ({"wait": -1}, "wait=-1: seconds, at least 0"),
        ({"device": "tpu"}, "device='tpu': auto, cpu, cuda or cuda:N"),
        ({"replicas": "2:1"}, "give N or MIN:MAX"),
        ({"chunk": "many"}, "say WINDOW or WINDOW:OVERLAP"),
        ({"max_rejects": "some"}, "say N, or P% of the rows read"),
        ({"chunk": 64, "drop_duplicates": True}, "--drop-duplicates compares whole texts"),
        ({"dedup": True, "with_text": False}, "leave --no-text out"),
        ({"chunk": 64, "keep": "chunk"}, "cannot be kept: chunks have a column of that name"),
        ({"colour": "red"}, "colour: there is no such option; there are: text, id"),
        ({"commit_rows": "many"}, "commit_rows='many': "),
    ],
)
def test_what_cannot_be_meant_is_refused(options, match):
    with pytest.raises(UsageError, match=match) as caught:
        EmbedOptions(**options)
    assert "\n" not in str(caught.value)


def test_keys_of_a_storage_are_not_told():
    with pytest.raises(UsageError) as caught:
        EmbedOptions(storage_options=["secret"])
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(EmbedOptions(storage_options={"key": "secret"}))


def test_options_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        EmbedOptions().limit = 3


@pytest.mark.parametrize("name", ["a`b", "a.b", "", "*", "a\0b", "_rowid", "_score"])
def test_a_name_that_lance_cannot_hold_is_refused_first(name):
    with pytest.raises(UsageError, match="cannot be kept: Lance"):
        EmbedOptions(keep=(name,))


@pytest.mark.parametrize("name", ["_cos_h", "_text_rank", "_passage", "_query"])
def test_a_name_that_explains_hits_is_refused_first(name):
    with pytest.raises(UsageError, match="cannot be kept: hits have"):
        EmbedOptions(keep=(name,))
