from __future__ import annotations

import logging

import numpy as np
import pytest

from pipeline import Encoder
from pipeline.embedding import reference_cache
from pipeline.embedding.reference_cache import encode_sample, reference_file
from pipeline.embedding.vectors import RawVectors
from pipeline.models import reference_texts

MEANING = {"checkpoint": "files:1", "dtype": "float32", "prompt": {"template": "{text}"}, "combine": "concat"}
OWN = ["a text of the corpus", "another one"]


class Counting:
    """Encodes texts to values that tell them apart, and remembers which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts):
        self.asked += texts
        numbers = np.array([hash(text) % 1009 for text in texts], np.float32)
        hidden = np.stack([numbers, numbers / 3], axis=1)
        return RawVectors(hidden, hidden[:, :1] * 7, numbers.astype(np.int32), numbers % 2 == 1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOEE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def assert_same(one: RawVectors, other: RawVectors) -> None:
    for name in ("hidden_state", "routing_weights", "n_tokens", "truncated"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)


def test_a_calibration_from_the_cache_is_the_one_that_was_computed(encoder, monkeypatch):
    passages = reference_texts()[:200]
    monkeypatch.setattr(reference_cache, "reference_texts", lambda: passages)
    texts = [*OWN, *passages[::-1][:198]]
    computed = Encoder(encoder.spec, device="cpu")
    vectors = computed.calibrated(texts).vectors
    read = Encoder(encoder.spec, device="cpu")
    asked: list[str] = []
    encode_raw = read.encode_raw
    read.encode_raw = lambda texts: asked.extend(texts) or encode_raw(texts)
    np.testing.assert_array_equal(read.calibrated(texts).vectors, vectors)
    assert read.calibration.hash == computed.calibration.hash
    assert asked == OWN


def test_reference_texts_are_encoded_once_and_come_in_the_order_that_was_asked_for():
    texts = [OWN[0], *reference_texts()[100:1600], OWN[1], *reference_texts()[:100]]
    encode = Counting()
    first = encode_sample(texts, MEANING, "cpu", encode)
    assert_same(first, Counting()(texts))
    encode.asked.clear()
    assert_same(encode_sample(texts, MEANING, "cpu", encode), first)
    assert encode.asked == OWN
    assert_same(encode_sample(reference_texts()[:9], MEANING, "cpu", encode), Counting()(reference_texts()[:9]))
    assert encode.asked == OWN


def test_a_sample_with_few_reference_texts_costs_no_more_than_its_own_texts(cache):
    texts = [*OWN, *reference_texts()[:1000]]
    encode = Counting()
    assert_same(encode_sample(texts, MEANING, "cpu", encode), Counting()(texts))
    assert encode.asked == texts
    assert not cache.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-5]),
        lambda file: file.write_bytes(file.read_bytes()[:-1] + b"\x07"),
        lambda file: file.unlink() or file.mkdir(),
    ],
    ids=["empty", "cut short", "a byte changed", "not a file"],
)
def test_a_damaged_file_is_computed_again(damage):
    file = reference_file(MEANING, "cpu")
    sound = encode_sample(reference_texts(), MEANING, "cpu", Counting())
    damage(file)
    encode = Counting()
    assert_same(encode_sample(reference_texts(), MEANING, "cpu", encode), sound)
    assert encode.asked == reference_texts()


def test_a_file_is_mended_by_what_is_computed_again():
    encode_sample(reference_texts(), MEANING, "cpu", Counting())
    reference_file(MEANING, "cpu").write_bytes(b"nothing")
    encode_sample(reference_texts(), MEANING, "cpu", Counting())
    encode = Counting()
    encode_sample(reference_texts(), MEANING, "cpu", encode)
    assert not encode.asked


def test_a_cache_that_cannot_be_written_is_told_to_developers_only(cache, caplog):
    cache.write_text("in the way")
    caplog.set_level(logging.DEBUG, logger="pipeline")
    assert_same(encode_sample(reference_texts(), MEANING, "cpu", Counting()), Counting()(reference_texts()))
    assert {record.levelname for record in caplog.records} == {"DEBUG"}


def test_large_files_are_not_kept(cache, monkeypatch):
    monkeypatch.setattr(reference_cache, "MAX_FILE_BYTES", 1000)
    encode_sample(reference_texts(), MEANING, "cpu", Counting())
    assert not cache.exists()


@pytest.mark.parametrize(
    "other",
    [
        {"checkpoint": "files:2"},
        {"dtype": "bfloat16"},
        {"prompt": {"template": "x {text}"}},
        {"quantization": "nf4"},
        {"semantics": 2},
        {"pooling": "mean"},
        {"routing": "logits"},
        {"routing_layers": [1]},
        {"max_tokens": 9},
    ],
    ids=lambda other: next(iter(other)),
)
def test_whatever_decides_a_raw_value_has_a_file_of_its_own(other):
    assert reference_file({**MEANING, **other}, "cpu") != reference_file(MEANING, "cpu")


def test_a_device_of_another_kind_has_a_file_of_its_own():
    assert reference_file(MEANING, "cuda") != reference_file(MEANING, "cpu")


@pytest.mark.parametrize("other", [{"combine": "hs"}, {"alpha": 2.0}, {"query_prompt": "x"}])
def test_what_comes_after_encoding_shares_a_file(other):
    assert reference_file({**MEANING, **other}, "cpu") == reference_file(MEANING, "cpu")
