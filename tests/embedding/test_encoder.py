from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline import EmbeddingSpec, Encoder
from pipeline.embedding.calibration import Calibration
from pipeline.embedding.combine import combine
from pipeline.errors import FingerprintError, ModelError, SpecError, UsageError
from pipeline.models import locate

ORACLE = Path(__file__).parents[3] / "shared" / "oracle" / "olmoe"


def test_a_vector_is_the_same_alone_and_in_any_batch(encoder, texts):
    order = np.random.default_rng(1).permutation(len(texts))
    together = encoder.encode(texts)
    shuffled = encoder.encode([texts[i] for i in order])
    np.testing.assert_allclose(shuffled, together[order], atol=1e-5)
    for row in (0, 7, len(texts) - 1):
        np.testing.assert_allclose(encoder.encode(texts[row]), together[row], atol=1e-5)


def test_a_small_budget_changes_nothing(encoder, texts):
    tight = Encoder(encoder.spec, device="cpu", calibration=encoder.calibration, token_budget=70)
    np.testing.assert_allclose(tight.encode(texts), encoder.encode(texts), atol=1e-5)


@pytest.mark.parametrize(("prompt", "pooling"), [("{text}", "mean"), ("prompteol", "last")])
def test_bf16_vectors_stay_close_in_any_batch(texts, prompt, pooling):
    encoder = Encoder(EmbeddingSpec(prompt=prompt, pooling=pooling), device="cpu")
    together = encoder.encode(texts)
    alone = np.stack([encoder.encode(text) for text in texts])
    cosines = (together * alone).sum(axis=1)
    assert np.median(cosines) >= 0.999
    assert cosines.min() >= 0.99


@pytest.mark.skipif(not ORACLE.is_dir(), reason="the authors' answers lie beside the checkout, not in it")
@pytest.mark.parametrize("prompt", ["prompteol", "none"])
def test_the_authors_answers_come_out(prompt):
    texts = json.loads((ORACLE / "texts.json").read_text())["texts"]
    answers = np.load(ORACLE / f"{prompt}.npz")
    spec = EmbeddingSpec(model=str(ORACLE), dtype="float32", prompt=prompt, routing="logits")
    oracle = Encoder(spec, device="cpu")
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(texts))
        raw = oracle.encode_raw([texts[i] for i in order])
        np.testing.assert_allclose(raw.hidden_state, answers["hs"][order], atol=1e-5)
        np.testing.assert_allclose(raw.routing_weights, answers["rw"][order], atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("routing", ["scores", "logits"])
def test_raw_halves_agree_with_transformers_itself(texts, pooling, routing):
    """The reference is computed another way: the whole language model, one text at a time, official router logits."""
    from transformers import OlmoeForCausalLM

    spec = EmbeddingSpec(dtype="float32", prompt="none", pooling=pooling, routing=routing, max_tokens=60)
    encoder = Encoder(spec, device="cpu")
    model = OlmoeForCausalLM.from_pretrained(locate("mini").path, dtype=torch.float32).eval()
    tokens = encoder.tokenize(texts)
    raw = encoder.encode_raw(texts)
    for row in range(0, len(texts), 6):
        ids = torch.from_numpy(tokens.take(np.array([row])).ids).long()[None]
        with torch.no_grad():
            out = model(ids, output_hidden_states=True, output_router_logits=True)
        own = slice(-1, None) if pooling == "last" else slice(tokens.starts[row], tokens.stops[row])
        router = torch.stack([logits[own] for logits in out.router_logits], dim=1)
        router = router.softmax(-1) if routing == "scores" else router
        np.testing.assert_allclose(raw.hidden_state[row], out.hidden_states[-1][0, own].mean(0), atol=2e-5)
        np.testing.assert_allclose(raw.routing_weights[row], router.mean(0).flatten(), atol=2e-5)


@pytest.mark.parametrize("how", ["sum", "concat", "hs", "rw"])
def test_vectors_are_unit_length_and_of_the_promised_dimension(encoder, texts, how):
    other = Encoder(
        encoder.spec.model_copy(update={"combine": how, "alpha": 1.0 if how == "sum" else None}),
        device="cpu",
        calibration=encoder.calibration,
    )
    vectors = other.encode(texts)
    assert vectors.shape == (len(texts), other.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_norms_and_tokens_are_handed_out_with_the_vectors(encoder, texts):
    raw = encoder.encode_raw(texts)
    made = encoder.vectors_of(encoder.tokenize(texts))
    halves = encoder.calibration.apply(raw.hidden_state, raw.routing_weights)
    np.testing.assert_allclose(made.vectors, combine(halves, "sum", 1.0), atol=1e-5)
    np.testing.assert_allclose(made.hidden_norms, np.linalg.norm(halves.hidden, axis=1), rtol=1e-4)
    np.testing.assert_allclose(made.routing_norms, np.linalg.norm(halves.routing, axis=1), rtol=1e-4)
    np.testing.assert_array_equal(made.n_tokens, raw.n_tokens)


@pytest.mark.parametrize("text", ["", "   ", "\ud800 lone", "nul \0 byte", "x" * 10_000_000, "שלום", "😀" * 500, "\n"])
def test_no_text_raises(encoder, text):
    vector = encoder.encode(text)
    assert np.isfinite(vector).all()
    assert abs(np.linalg.norm(vector) - 1) < 1e-4


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("prompt", ["{text}", "none"])
def test_an_empty_text_leaves_its_neighbours_alone(encoder, prompt, pooling):
    spec = encoder.spec.model_copy(update={"prompt": prompt, "pooling": pooling})
    other = Encoder(spec, device="cpu", calibration=encoder.calibration)
    together = other.encode(["hello there", "", "cats"])
    assert np.isfinite(together).all()
    for row, text in enumerate(["hello there", "", "cats"]):
        np.testing.assert_allclose(other.encode(text), together[row], atol=1e-5)


def test_what_is_not_text_is_refused_by_its_place(encoder):
    with pytest.raises(UsageError, match="text 1 is NoneType"):
        encoder.encode(["fine", None])


def test_it_can_be_cloned_as_scikit_learn_does(encoder):
    assert encoder.get_params() == {}


def test_no_texts_give_no_vectors(encoder):
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_similarity_is_the_scores_of_a_search(encoder, texts):
    vectors = encoder.encode(texts[:6])
    np.testing.assert_allclose(encoder.similarity(vectors, vectors), vectors @ vectors.T, atol=1e-5)
    raw = encoder.encode_raw(texts[:6])
    halves = encoder.calibration.apply(raw.hidden_state, raw.routing_weights)
    hidden = combine(halves, "hs", None)
    np.testing.assert_allclose(encoder.similarity(vectors, vectors, alpha=0.0), hidden @ hidden.T, atol=1e-4)
    with pytest.raises(UsageError, match="0 or more"):
        encoder.similarity(vectors, vectors, alpha=-1)


def test_queries_may_be_asked_differently(encoder):
    spec = encoder.spec.model_copy(update={"query_prompt": "none"})
    asking = Encoder(spec, device="cpu", calibration=encoder.calibration)
    other = encoder.spec.model_copy(update={"prompt": "none"})
    plain = Encoder(other, device="cpu", calibration=encoder.calibration)
    np.testing.assert_allclose(asking.encode_query("cats"), plain.encode("cats"), atol=1e-5)
    np.testing.assert_allclose(asking.encode_document("cats"), encoder.encode("cats"), atol=1e-5)


def test_fingerprints_tell_specs_and_calibrations_apart(encoder):
    same = Encoder(encoder.spec, device="cpu", calibration=encoder.calibration)
    assert same.fingerprint == encoder.fingerprint
    recalibrated = Encoder(encoder.spec, device="cpu")
    recalibrated.calibrate(["some", "other", "texts"])
    assert recalibrated.fingerprint != encoder.fingerprint
    longer = Encoder(encoder.spec.model_copy(update={"max_tokens": 500}), device="cpu", calibration=encoder.calibration)
    assert longer.fingerprint != encoder.fingerprint
    with pytest.raises(FingerprintError, match="max_tokens: the table has 500, this is 512"):
        encoder.refuse_other_meaning(longer.meaning)


def test_routing_layers_choose_columns(encoder, texts):
    raw = encoder.encode_raw(texts[:3])
    spec = encoder.spec.model_copy(update={"routing_layers": (1, 3)})
    some = Encoder(spec, device="cpu", calibration=encoder.calibration)
    experts = raw.routing_weights.shape[1] // 4
    chosen = np.r_[experts : 2 * experts, 3 * experts : 4 * experts]
    np.testing.assert_allclose(some.encode_raw(texts[:3]).routing_weights, raw.routing_weights[:, chosen], atol=1e-5)


def test_out_of_memory_is_answered_by_smaller_batches(encoder, texts, monkeypatch):
    small = Encoder(encoder.spec, device="cpu", calibration=encoder.calibration)
    launch = small._replica.launch

    def scarce(batch, pooling):
        if len(batch.ids) > 600:
            raise torch.OutOfMemoryError
        return launch(batch, pooling)

    monkeypatch.setattr(small._replica, "launch", scarce)
    np.testing.assert_allclose(small.encode(texts), encoder.encode(texts), atol=1e-5)
    assert small._budget <= 1024


def test_calibrating_needs_more_than_one_text(encoder):
    with pytest.raises(UsageError, match="at least two"):
        Encoder(encoder.spec, device="cpu").calibrate(["alone"])


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (EmbeddingSpec(model="/no/such/place"), ModelError, "no such directory"),
        (EmbeddingSpec(prompt="prompteol", max_tokens=3), SpecError, "alone takes"),
        (EmbeddingSpec(max_tokens=1_000_000), SpecError, "positions end at"),
        (EmbeddingSpec(routing_layers=(9,)), ModelError, "MoE layers 0 to 3"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(spec, error, message):
    with pytest.raises(error, match=message) as caught:
        Encoder(spec, device="cpu")
    assert "\n" not in str(caught.value)


def test_an_encoder_takes_a_calibration_as_it_is(encoder):
    zero = np.zeros(encoder.halves[0], np.float32), np.ones(encoder.halves[0], np.float32)
    routing = np.zeros(encoder.halves[1], np.float32), np.ones(encoder.halves[1], np.float32)
    plain = Encoder(encoder.spec, device="cpu", calibration=Calibration(*zero, *routing, sample_size=2))
    raw = plain.encode_raw(["a cat"])
    made = plain.vectors_of(plain.tokenize(["a cat"]))
    np.testing.assert_allclose(made.hidden_norms, np.linalg.norm(raw.hidden_state, axis=1), rtol=1e-5)


def test_threads_may_share_an_encoder(encoder, texts):
    lists = [texts[:20], texts[20:]] * 4
    expected = [encoder.encode(own) for own in lists]
    with ThreadPoolExecutor(max_workers=2) as pool:
        for vectors, alone in zip(pool.map(encoder.encode, lists), expected, strict=True):
            np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_a_series_is_read_in_its_order_whatever_its_labels(encoder, texts):
    for labels in ([2, 0, 1], [5, 6, 7]):
        np.testing.assert_allclose(
            encoder.encode(pd.Series(texts[:3], index=labels)), encoder.encode(texts[:3]), atol=1e-5
        )


@pytest.mark.parametrize("odd", ["one string", ["a", None], None, b"ab"])
def test_raw_vectors_want_a_list_of_strings(encoder, odd):
    with pytest.raises(UsageError, match="text"):
        encoder.encode_raw(odd)
