from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import TopicError, UsageError
from pipeline.topics.geometry import Geometry, unit_rows
from pipeline.topics.identity import jaccard, match_topics
from pipeline.topics.metrics import diversity, npmi, outlier_rate
from pipeline.topics.recipe import _by_size
from pipeline.topics.representation import clean, describe, language_of

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


@given(labelings)
def test_a_topic_goes_on_at_most_once_and_no_id_comes_back(drawn):
    old, rng = np.array(drawn[0]), np.random.default_rng(drawn[1])
    old_ids, count = np.array([1, 4, 5]), int(rng.integers(1, 6))
    old = np.append(old_ids, -1)[old % 4]
    new = rng.integers(-1, count, len(old))
    matching = match_topics(old_ids, jaccard(old, new, old_ids, count), rng.uniform(-1, 1, (3, count)), unused=9)
    ids = matching.ids.tolist()
    assert len(set(ids)) == count
    assert sorted(topic for topic in ids if topic not in old_ids) == list(range(9, matching.unused))
    said = {kind: {e.topic for e in matching.events if e.kind == kind} for kind in ("continued", "born", "retired")}
    assert said["continued"] | said["born"] == set(ids)
    assert said["continued"] | said["retired"] == set(old_ids.tolist())
    assert not said["continued"] & (said["born"] | said["retired"])


@given(labelings)
def test_the_same_topics_match_themselves(drawn):
    labels = _by_size(np.array(drawn[0]))
    count = int(labels.max(initial=0)) + 1
    overlap = jaccard(labels, labels, np.arange(count), count)
    matching = match_topics(np.arange(count), overlap, np.eye(count), unused=count)
    assert matching.ids.tolist() == list(range(count))


def test_jaccard_counts_the_shared_documents():
    overlap = jaccard(np.array([3, 3, 3, 7, 7, -1]), np.array([0, 0, 1, 1, -1, 1]), np.array([3, 7]), 2)
    assert overlap == pytest.approx(np.array([[2 / 3, 1 / 5], [0, 1 / 4]]))


def test_vectors_of_another_meaning_are_not_compared():
    assert match_topics(np.array([2]), np.array([[0.4]]), np.array([[0.9]]), unused=3).ids.tolist() == [2]
    assert match_topics(np.array([2]), np.array([[0.4]]), None, unused=3).ids.tolist() == [3]


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
    assert clean(english[:1], "english") == ["Its a nave test "]
    assert clean(russian, "multilingual") == russian


def test_texts_without_words_are_refused_in_one_line():
    labels = np.repeat([0, 1], 20)
    with pytest.raises(TopicError, match="no words"):
        describe(["the and of"] * 40, np.eye(2, dtype=np.float32)[labels], labels, None)


class Backend:
    """A BERTopic backend: `embed`, no `encode`."""

    def __init__(self, dimension):
        self.dimension = dimension

    def embed(self, documents, verbose):
        return np.ones((len(documents), self.dimension), dtype=np.float32)


def test_a_backend_of_the_tables_dimension_ranks_words():
    labels = np.repeat([0, 1], 20)
    texts, vectors = [["cat dog", "ship boat"][label] for label in labels], np.eye(2, dtype=np.float32)[labels]
    words = describe(texts, vectors, labels, Backend(2))
    assert [{word for word, _ in topic.keywords} for topic in words] == [{"cat", "dog"}, {"ship", "boat"}]
    with pytest.raises(UsageError, match="the table's have 2 dimensions"):
        describe(texts, vectors, labels, Backend(3))
