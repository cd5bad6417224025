from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import TopicError
from pipeline.topics.clustering.documents import MIN_SAMPLED_PER_FILE, stratified
from pipeline.topics.clustering.geometry import Geometry, unit_rows
from pipeline.topics.clustering.metrics import agreement, diversity, npmi, outlier_rate, stability
from pipeline.topics.clustering.recipe import _by_size
from pipeline.topics.words.splitting import language_of, without_punctuation

labelings = st.integers(1, 60).flatmap(
    lambda n: st.tuples(st.lists(st.integers(-1, 4), min_size=n, max_size=n), st.integers(0, 2**32 - 1))
)


@given(labelings)
def test_renumbering_goes_by_size_and_keeps_the_partition(drawn):
    labels = np.array(drawn[0])
    renumbered = _by_size(labels)
    assert np.array_equal(renumbered < 0, labels < 0)
    sizes = np.bincount(renumbered[renumbered >= 0])
    assert (np.diff(sizes) <= 0).all()
    assert len({*zip(labels.tolist(), renumbered.tolist(), strict=True)}) == len(np.unique(labels))


def test_documents_far_from_every_centroid_are_rejected():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 50)
    vectors = unit_rows((np.eye(6)[labels] + rng.normal(scale=0.1, size=(100, 6))).astype(np.float32))
    geometry = Geometry.of(vectors, labels).renamed(np.array([11, 5]))
    assigned = geometry.assign(vectors)
    assert np.array_equal(assigned.nearest, np.array([11, 5])[labels])
    assert (assigned.topic != -1).mean() > 0.9
    assert (assigned.margin > 0).all()
    assert geometry.assign(np.eye(6, dtype=np.float32)[5:]).topic.tolist() == [-1]
    with pytest.raises(TopicError, match="vectors of 3 dimensions, topics of 6"):
        geometry.assign(np.ones((1, 3), dtype=np.float32))


def test_near_copies_do_not_reject_their_own():
    vectors = unit_rows(np.ones((20, 512), dtype=np.float32)).astype(np.float16).astype(np.float32)
    vectors[::2, 0] *= np.float32(1.001)
    assigned = Geometry.of(unit_rows(vectors), np.zeros(20, dtype=np.int64)).assign(unit_rows(vectors))
    assert (assigned.topic == 0).all()


def test_npmi_is_that_of_document_windows():
    texts = ["cat dog", "cat dog", "fish", "bird"]
    assert npmi([["cat", "dog"]], texts) == pytest.approx(1)
    assert npmi([["cat", "fish"]], texts) == pytest.approx(np.log(1e-12 / (0.5 * 0.25)) / -np.log(1e-12))
    three = np.log(0.25 / (0.5 * 0.25)) / -np.log(0.25)
    assert npmi([["cat", "ox"]], ["cat ox", "cat", "dog", "dog"]) == pytest.approx(three)
    assert npmi([["cat", "dog"]], ["cat dog"]) == pytest.approx(1)
    assert npmi([["cat"]], texts) is None


def test_diversity_and_outlier_rate():
    assert diversity([["a", "b"], ["b", "c"]]) == 0.75
    assert diversity([[]]) is None
    assert outlier_rate(np.array([-1, 0, 1, -1])) == 0.5


def test_letters_that_are_not_english_are_kept():
    english, russian = ["It's a naïve test.\n"] * 50, ["Темы — это важно"]
    assert language_of(["plain text"]) == language_of([]) == "english"
    assert language_of(russian) == language_of(english) == "multilingual"
    assert without_punctuation(english[:1], "english") == ["Its a nave test "]
    assert without_punctuation(russian, "multilingual") == russian


def test_agreement_counts_outliers_aside_or_as_a_group_of_their_own():
    same = agreement(np.array([3, 3, 7, 7]), ["a", "a", "b", "b"])
    assert same == pytest.approx({"ami": 1, "v_measure": 1, "ami_all": 1})
    half = agreement(np.array([0, 0, -1, -1, 1, 1]), ["a", "a", "a", "b", "b", "b"])
    assert half["ami"] == pytest.approx(1)
    assert half["ami_all"] < 0.9
    unknown = agreement(np.array([0, 0, 1, 1, 0]), ["a", "a", "b", "b", None])
    assert unknown == pytest.approx({"ami": 1, "v_measure": 1, "ami_all": 1})
    assert agreement(np.array([-1, 0]), ["a", None])["ami"] is None
    assert agreement(np.array([0]), [None]) == {"ami": None, "v_measure": None, "ami_all": None}


def test_stability_is_over_what_both_put_into_a_topic():
    assert stability(np.array([0, 0, 1, 1, -1]), np.array([5, 5, 2, 2, 2])) == pytest.approx(1)
    assert stability(np.array([-1, 0]), np.array([0, -1])) is None


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 6)), min_size=2, max_size=200), st.data())
def test_a_sample_gives_each_group_its_share(rows, data):
    hashes = np.array([hashed for hashed, _ in rows], dtype=np.uint64)
    groups = np.array([group for _, group in rows])
    limit = data.draw(st.integers(1, len(rows) - 1))
    groups = np.unique(groups, return_inverse=True)[1]
    chosen = stratified(hashes, groups, limit)
    assert len(chosen) == len(set(chosen.tolist())) == limit
    assert (np.diff(chosen) > 0).all()
    sizes, taken = np.bincount(groups), np.bincount(groups[chosen], minlength=groups.max() + 1)
    least = np.minimum(sizes, MIN_SAMPLED_PER_FILE)
    if least.sum() <= limit:
        assert (taken >= least).all()
    for group in range(len(sizes)):  # within a group the lowest hashes
        inside, outside = hashes[chosen[groups[chosen] == group]], np.delete(hashes, chosen)
        others = outside[np.delete(groups, chosen) == group]
        assert not len(inside) or not len(others) or inside.max() <= others.min()


def test_large_files_give_to_a_sample_in_proportion():
    groups = np.repeat([0, 1, 2], [6000, 3000, 12])
    hashes = np.random.default_rng(0).permutation(len(groups)).astype(np.uint64)
    taken = np.bincount(groups[stratified(hashes, groups, 900)])
    assert taken.tolist() == pytest.approx([597, 298, 5], abs=2)
    everything = stratified(hashes, None, 900)
    assert set(hashes[everything].tolist()) == set(range(900))
