from __future__ import annotations

import numpy as np
import pytest

from pipeline.embedding.calibration import Halves
from pipeline.embedding.combine import unit
from pipeline.embedding.evaluation import (
    combinations,
    label_scores,
    precision_at,
    read_sts,
    spearman,
    tfidf_vectors,
    write_random_checkpoint,
)
from pipeline.errors import UsageError
from pipeline.models import locate

RNG = np.random.default_rng(2)
LABELS = np.repeat(np.array(["a", "b", "c"]), 20)
CENTRES = {"a": 0, "b": 1, "c": 2}
APART = unit(np.eye(8)[[CENTRES[label] for label in LABELS]] + 0.05 * RNG.normal(size=(60, 8)))


def test_clusters_that_lie_apart_score_one():
    scores = label_scores(APART, LABELS)
    assert scores.precision == 1.0
    assert scores.v_measure == pytest.approx(1.0)


def test_noise_scores_by_chance():
    noise = unit(RNG.normal(size=(60, 8)))
    assert precision_at(noise, LABELS) < 0.5


def test_precision_agrees_with_a_loop():
    vectors = unit(RNG.normal(size=(60, 5)))
    similarity = vectors @ vectors.T
    share = []
    for row in range(60):
        order = [other for other in np.argsort(-similarity[row]) if other != row][:10]
        share.append(np.mean(LABELS[order] == LABELS[row]))
    assert precision_at(vectors, LABELS) == pytest.approx(np.mean(share))


def test_too_few_documents_are_refused():
    with pytest.raises(UsageError, match="more than 10"):
        precision_at(APART[:10], LABELS[:10])


def test_every_combination_is_there_and_of_unit_length():
    made = dict(combinations(Halves(RNG.normal(size=(5, 4)), RNG.normal(size=(5, 3))), alphas=(0.5, 1.0)))
    assert list(made) == ["hs", "rw", "concat", "sum 0.5", "sum 1"]
    for vectors in made.values():
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_spearman_of_agreeing_ranks_is_one():
    a = unit(RNG.normal(size=(20, 6)))
    b = unit(RNG.normal(size=(20, 6)))
    gold = (a * b).sum(axis=1) * 3 + 2
    assert spearman(a, b, gold) == pytest.approx(1.0)
    assert spearman(a, b, -gold) == pytest.approx(-1.0)


def test_sts_files_are_read_and_wrong_ones_named(tmp_path):
    file = tmp_path / "sts.txt"
    file.write_text("4.5\tA cat.\tOne cat.\n\tno score\tskipped\n0\ta\tb\textra\n")
    gold, first, second = read_sts(file)
    assert gold.tolist() == [4.5, 0.0]
    assert (first, second) == (["A cat.", "a"], ["One cat.", "b"])
    file.write_text("four\ta\tb\n")
    with pytest.raises(UsageError, match=r"sts\.txt:1"):
        read_sts(file)


def test_tfidf_finds_the_words():
    texts = [f"{word} {word} common filler" for word in ("cats", "dogs", "ships") for _ in range(6)]
    vectors = tfidf_vectors(texts, texts)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[7] + 0.5


def test_a_random_checkpoint_has_the_shape_and_not_the_weights(tmp_path):
    mini = locate("mini")
    write_random_checkpoint(mini, tmp_path)
    random = locate(str(tmp_path))
    assert random.config["hidden_size"] == mini.config["hidden_size"]
    assert random.identity != mini.identity
    assert random.tokenizer == mini.tokenizer
