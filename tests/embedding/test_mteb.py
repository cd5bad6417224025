"""The MTEB face: MTEB's own evaluator runs on it, offline, on a task made of the package's reference texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from pipeline import EmbeddingSpec, Encoder
from pipeline.embedding.mteb import MtebEncoder
from pipeline.errors import UsageError
from pipeline.models import reference_texts


@pytest.fixture(scope="module")
def face(encoder):
    spec = encoder.spec.model_copy(update={"query_prompt": "none"})
    return MtebEncoder(Encoder(spec, device="cpu", calibration=encoder.calibration))


def test_batches_are_encoded_in_their_order(face, texts):
    batches = [{"text": texts[:3]}, {"text": texts[3:4], "id": ["x"]}]
    made = face.encode(batches, task_metadata=None, hf_split="test", hf_subset="default", batch_size=2)
    np.testing.assert_allclose(made, face.encoder.encode(texts[:4]), atol=1e-5)
    assert face.encode([], task_metadata=None, hf_split="", hf_subset="").shape == (0, face.encoder.dimension)


def test_queries_have_their_own_prompt(face):
    batches = [{"text": ["a cat"]}]
    asked = face.encode(batches, prompt_type="query")
    np.testing.assert_allclose(asked, face.encoder.encode_query(["a cat"]), atol=1e-5)
    np.testing.assert_allclose(face.encode(batches, prompt_type="document"), face.encode(batches), atol=1e-5)
    assert np.abs(asked - face.encode(batches)).max() > 1e-3


def test_similarities_are_scores_of_arrays_and_tensors(face, texts):
    vectors = face.encode([{"text": texts[:4]}])
    whole = face.similarity(vectors, torch.from_numpy(vectors))
    np.testing.assert_allclose(whole, vectors @ vectors.T, atol=1e-5)
    pairs = face.similarity_pairwise(vectors, vectors[::-1].copy())
    np.testing.assert_allclose(pairs, whole[range(4), range(3, -1, -1)], atol=1e-6)
    assert face.similarity(vectors[0], vectors[1]).shape == (1, 1)


def test_what_is_not_text_is_refused(face):
    with pytest.raises(UsageError, match="MTEB gives image"):
        face.encode([{"image": [None]}])


def test_a_finished_encoder_leaves_nothing_to_choose(face):
    with pytest.raises(UsageError, match="go with a model's name"):
        MtebEncoder(face.encoder, "main")
    with pytest.raises(UsageError, match="go with a model's name"):
        MtebEncoder(EmbeddingSpec(), pooling="mean")


@pytest.fixture(scope="module")
def mteb():
    return pytest.importorskip("mteb", reason="the extra mteb is not installed")


def sts_task(mteb):
    """Pairs of passages: the same one cut short, or two different ones."""
    from datasets import Dataset
    from mteb.abstasks.sts import AbsTaskSTS

    passages = reference_texts()[:24]
    rows = [{"sentence1": text, "sentence2": text[: len(text) // 2], "score": 5.0} for text in passages[:12]]
    rows += [{"sentence1": a, "sentence2": b, "score": 0.0} for a, b in zip(passages[:12], passages[12:], strict=True)]

    class Cut(AbsTaskSTS):
        metadata = mteb.TaskMetadata(
            name="CutPassages",
            description="Is it the same passage?",
            dataset={"path": "none/none", "revision": "1"},
            type="STS",
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="cosine_spearman",
        )

        def load_data(self, **kwargs):
            self.dataset = {"default": {"test": Dataset.from_list(rows)}}
            self.data_loaded = True

    return Cut()


def test_mtebs_own_evaluator_runs_on_it(mteb, face, monkeypatch):
    from mteb.models import EncoderProtocol

    assert isinstance(face, EncoderProtocol)
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    result = mteb.evaluate(face, sts_task(mteb), cache=None, show_progress_bar=False)
    assert result.model_name == "moee/mini"
    assert result.model_revision == face.encoder.fingerprint
    (scores,) = result.task_results[0].scores["test"]
    task = sts_task(mteb)
    task.load_data()
    pairs = task.dataset["default"]["test"]
    one, other = (face.encoder.encode(list(pairs[name])) for name in ("sentence1", "sentence2"))
    expected = spearmanr((one * other).sum(axis=1), pairs["score"]).statistic
    assert scores["main_score"] == pytest.approx(expected, abs=1e-3)
    assert scores["spearman"] == pytest.approx(expected, abs=1e-3)
