from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SpecError, UsageError
from pipeline.spec import EmbeddingSpec, differing_fields, fingerprint_of

RESOLVED = EmbeddingSpec().resolve({})


def test_what_is_left_open_takes_the_papers_defaults():
    assert (RESOLVED.prompt, RESOLVED.pooling, RESOLVED.routing) == ("prompteol", "last", "scores")
    assert (RESOLVED.combine, RESOLVED.alpha) == ("sum", 1.0)


def test_a_models_defaults_come_before_the_papers_and_after_the_users():
    spec = EmbeddingSpec(pooling="last").resolve({"pooling": "mean", "prompt": "none", "alpha": 0.25})
    assert (spec.pooling, spec.prompt, spec.alpha) == ("last", "none", 0.25)


def test_a_weight_belongs_to_sum_alone():
    assert EmbeddingSpec(combine="concat").resolve({"alpha": 0.5}).alpha is None
    with pytest.raises(SpecError, match="only combine='sum'"):
        EmbeddingSpec(combine="hs", alpha=2.0).resolve({})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"alpha": 0}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"prompt": "no place"}, "{text}"),
        ({"prompt": "{text} {text}"}, "exactly once"),
        ({"quantization": "nf5"}, "quantization"),
        ({"model": ""}, "model"),
        ({"modle": "x"}, "modle"),
    ],
)
def test_nonsense_is_refused_by_name(fields, named):
    with pytest.raises(SpecError) as caught:
        EmbeddingSpec(**fields)
    assert named in str(caught.value)
    assert isinstance(caught.value, UsageError)


def test_a_spec_survives_json_and_is_frozen():
    spec = EmbeddingSpec(routing_layers=(0, 2), alpha=0.5)
    assert EmbeddingSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValueError, match="frozen"):
        spec.alpha = 1.0


def test_names_do_not_enter_the_meaning_but_content_does():
    meaning = RESOLVED.meaning("files:1", "t")
    renamed = RESOLVED.model_copy(update={"model": "elsewhere", "revision": "main"})
    assert renamed.meaning("files:1", "t") == meaning
    assert RESOLVED.meaning("files:2", "t") != meaning
    assert (
        EmbeddingSpec(prompt='This sentence : "{text}" means in one word:"').resolve({}).meaning("files:1", "t")
        != meaning
    )


def test_fields_at_their_default_are_left_out_of_the_meaning():
    meaning = RESOLVED.meaning("c", "t")
    assert {"quantization", "routing_layers", "query_prompt"}.isdisjoint(meaning)
    assert "quantization" in RESOLVED.model_copy(update={"quantization": "nf4"}).meaning("c", "t")


def test_an_unresolved_spec_has_no_meaning():
    with pytest.raises(SpecError, match="still open"):
        EmbeddingSpec().meaning("c", "t")


def test_what_says_the_same_means_the_same():
    plain = EmbeddingSpec(prompt="none").resolve({})
    assert EmbeddingSpec(prompt="none", query_prompt="none").resolve({}) == plain
    with pytest.raises(SpecError, match="each layer once"):
        EmbeddingSpec(routing_layers=(0, 0)).resolve({})


def test_another_model_is_said_in_words():
    (difference,) = differing_fields(RESOLVED.meaning("files:1", "t"), RESOLVED.meaning("files:2", "t"))
    assert "files of the model are not those" in difference


def test_the_field_that_differs_is_named():
    other = EmbeddingSpec(pooling="mean").resolve({}).meaning("c", "t")
    (difference,) = differing_fields(RESOLVED.meaning("c", "t"), other)
    assert difference == "pooling: the table has 'last', this is 'mean'"


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=4), st.text(max_size=5))
def test_the_fingerprint_does_not_depend_on_the_order_of_fields(meaning, calibration):
    backwards = dict(reversed(meaning.items()))
    assert fingerprint_of(meaning, calibration) == fingerprint_of(backwards, calibration)
    assert fingerprint_of(meaning, calibration) != fingerprint_of(meaning, calibration + "x")
