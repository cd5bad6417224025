from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.topics.clustering.identity import Event, EventKind, Overlap, match_topics

labelings = st.integers(1, 60).flatmap(
    lambda n: st.tuples(st.lists(st.integers(-1, 4), min_size=n, max_size=n), st.integers(0, 2**32 - 1))
)
NOBODY = np.array([], dtype=np.int64)


def compare(old, new):
    old, new = np.array(old), np.array(new)
    ids = np.unique(old[old >= 0])
    return ids, Overlap.of(old, new, ids, int(new.max()) + 1)


def told(matching, kind):
    return [(event.topic, event.other) for event in matching.events if event.kind == kind]


@given(labelings)
def test_a_topic_goes_on_at_most_once_and_no_id_comes_back(drawn):
    old, rng = np.array(drawn[0]), np.random.default_rng(drawn[1])
    old_ids, count = np.array([1, 4, 5]), int(rng.integers(1, 6))
    old = np.append(old_ids, -1)[old % 4]
    new = rng.integers(-1, count, len(old))
    overlap = Overlap.of(old, new, old_ids, count)
    matching = match_topics(old_ids, overlap, rng.uniform(-1, 1, (3, count)), unused=9)
    ids = matching.ids.tolist()
    assert len(set(ids)) == count
    assert sorted(topic for topic in ids if topic not in old_ids) == list(range(9, matching.unused))
    assert len({event.topic for event in matching.events}) == len(matching.events)
    said = {kind: {topic for topic, _ in told(matching, kind)} for kind in get_args(EventKind)}
    assert said["continued"] | said["born"] | said["split"] == set(ids)
    assert said["continued"] | said["retired"] | said["merged"] == set(old_ids.tolist())
    assert {other for _, other in told(matching, "split")} <= set(old_ids.tolist())
    assert {other for _, other in told(matching, "merged")} <= set(ids)


@given(labelings)
def test_the_same_topics_match_themselves(drawn):
    labels = np.unique(np.array(drawn[0]), return_inverse=True)[1]
    count = int(labels.max()) + 1
    matching = match_topics(np.arange(count), Overlap.of(labels, labels, np.arange(count), count), None, unused=count)
    assert matching.ids.tolist() == list(range(count))
    assert {event.kind for event in matching.events} == {"continued"}


@given(labelings)
def test_every_document_is_counted_once(drawn):
    labels, rng = np.array(drawn[0]), np.random.default_rng(drawn[1])
    other = rng.integers(-1, 3, len(labels))
    overlap = Overlap.of(labels, other, np.arange(5), 3)
    assert overlap.counts.sum() == len(labels)
    assert overlap.counts[:, -1].sum() == np.sum(other < 0)
    assert overlap.counts[-1].sum() == np.sum(labels < 0)
    for shares in (overlap.jaccard, overlap.of_old, overlap.of_new):
        assert ((shares >= 0) & (shares <= 1)).all()


def test_jaccard_counts_the_shared_documents():
    overlap = Overlap.of(np.array([3, 3, 3, 7, 7, -1]), np.array([0, 0, 1, 1, -1, 1]), np.array([3, 7]), 2)
    assert overlap.jaccard == pytest.approx(np.array([[2 / 3, 1 / 5], [0, 1 / 4]]))
    assert overlap.of_old == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1 / 2]]))
    assert overlap.of_new == pytest.approx(np.array([[1, 1 / 3], [0, 1 / 3]]))


def test_vectors_of_another_meaning_are_not_compared():
    overlap = Overlap(np.array([[4.0, 6.0], [0.0, 0.0]]))
    assert match_topics(np.array([2]), overlap, np.array([[0.9]]), unused=3).ids.tolist() == [2]
    assert match_topics(np.array([2]), overlap, None, unused=3).ids.tolist() == [3]


def test_the_first_topics_are_all_born():
    matching = match_topics(NOBODY, Overlap.of(NOBODY, NOBODY, NOBODY, 2), None, unused=0)
    assert matching.events == (Event("born", 0), Event("born", 1))
    assert matching.unused == 2


def test_a_topic_is_split():
    ids, overlap = compare(10 * [3] + 5 * [4], 6 * [0] + 4 * [1] + 5 * [2])
    matching = match_topics(ids, overlap, None, unused=8)
    assert matching.ids.tolist() == [3, 8, 4]
    [split] = [event for event in matching.events if event.kind == "split"]
    assert split == Event("split", 8, 3, overlap=pytest.approx(0.4), score=pytest.approx(1))


def test_what_took_little_or_came_from_everywhere_was_not_split_off():
    ids, overlap = compare(10 * [3] + 10 * [4], 8 * [0] + 2 * [2] + 10 * [1])
    assert told(match_topics(ids, overlap, None, unused=8), "split") == []
    ids, overlap = compare(10 * [3] + 10 * [4], 6 * [0] + 4 * [2] + 4 * [2] + 6 * [1])
    assert told(match_topics(ids, overlap, None, unused=8), "split") == []


def test_a_topic_is_merged_into_another():
    ids, overlap = compare(10 * [3] + 5 * [6] + 4 * [7], 14 * [0] + [1] + 2 * [-1] + 2 * [1])
    matching = match_topics(ids, overlap, None, unused=8)
    assert matching.ids.tolist() == [3, 8]
    assert told(matching, "merged") == [(6, 3)]
    assert told(matching, "retired") == [(7, None)], "half of its documents are in no topic now"
