"""Counts and weights against BERTopic's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import TopicError
from pipeline.topics.schema import OUTLIER
from pipeline.topics.words.counts import Vocabulary
from pipeline.topics.words.splitting import words_of

PHRASES = ["the cat sat", "dogs & cats", "cat cat\ncat", "a dog's life", "sat on the life", "", "ship—boat", "台风天气"]
documents = st.lists(st.tuples(st.sampled_from(PHRASES), st.integers(-1, 3)), min_size=1, max_size=40)


def counted(texts, topics, vocabulary=None):
    vocabulary = vocabulary or Vocabulary.of(texts)
    return vocabulary.count(texts, topics, np.append(OUTLIER, np.unique(topics[topics >= 0])))


@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")
def test_weights_are_those_of_a_fitted_bertopic(fitted):
    from pipeline.topics.clustering.documents import read_sample
    from pipeline.topics.words.bertopic import manual_bertopic

    sample = read_sample(fitted.topics.tables.vectors(), 10_000)
    labels = np.random.default_rng(0).integers(-1, 4, len(sample.texts))
    extra = (
        "event-based naïve",
        "http://x.org/y",
        "Иван's корабль",
        "球队翻炒酱油 https://x.y",
        "ภาษาไทย",
        "don't a@b.org",
    )
    texts = [f"{text} {extra[row % len(extra)]}" for row, text in enumerate(sample.texts)]
    theirs = manual_bertopic(texts, sample.vectors, labels)
    ours = counted(texts, labels)
    mapping = theirs.topic_mapper_.get_mappings(original_topics=True)
    rows = [mapping[topic] + 1 for topic in ours.topics.tolist()]
    assert theirs.vectorizer_model.get_feature_names_out().tolist() == list(ours.vocabulary.words)
    assert np.abs(theirs.c_tf_idf_[rows] - ours.weights()).max() < 1e-12
    for topic, words in ours.top(10).items():
        expected = [(word, weight) for word, weight in theirs.get_topics()[mapping[topic]] if word]
        assert sorted(weight for _, weight in words) == pytest.approx(sorted(weight for _, weight in expected))


@settings(max_examples=30)
@given(documents, st.integers(0, 40))
def test_parts_add_up_and_weigh_as_class_tfidf_does(drawn, cut):
    from bertopic.vectorizers import ClassTfidfTransformer
    from sklearn.feature_extraction.text import CountVectorizer

    texts, topics = [text for text, _ in drawn], np.array([topic for _, topic in drawn])
    vocabulary = Vocabulary.of(PHRASES)
    whole = counted(texts, topics, vocabulary)
    parts = [vocabulary.count(texts[part], topics[part], whole.topics) for part in (slice(cut), slice(cut, None))]
    assert ((parts[0] + parts[1]).matrix != whole.matrix).nnz == 0

    used = [topic for topic in whole.topics.tolist() if topic != OUTLIER or whole.matrix[0].sum()]
    joined = [" ".join(text for text, other in drawn if other == topic) for topic in used]
    matrix = CountVectorizer(vocabulary=vocabulary.words, analyzer=words_of).transform(joined)
    present = np.flatnonzero(np.asarray(matrix.sum(axis=0)).ravel())  # the transformer divides by the others' zero
    if len(present) < 2:  # and takes no single word
        return
    theirs = ClassTfidfTransformer().fit(matrix[:, present]).transform(matrix[:, present].astype(float))
    rows = [whole.topics.tolist().index(topic) for topic in used]
    assert np.abs(whole.weights()[rows][:, present] - theirs).max() < 1e-12


def test_topics_that_meet_are_summed():
    counts = counted(["cat", "dog", "dog ship"], np.array([2, 5, 7]))
    merged = counts.merged({7: 2})
    assert merged.topics.tolist() == [-1, 2, 5]
    assert merged.top(9) == counted(["cat dog ship", "dog"], np.array([2, 5])).top(9)


@given(documents, documents)
def test_counts_over_a_larger_vocabulary_and_more_topics_are_the_same(first, second):
    texts, topics = [text for text, _ in first] + ["cat"], np.array([topic for _, topic in first] + [0])
    counts = counted(texts, topics)
    vocabulary = counts.vocabulary.extended([text for text, _ in second])
    wider = counts.over(np.arange(-1, 6), vocabulary)
    assert set(vocabulary.words) >= set(counts.vocabulary.words)
    assert list(vocabulary.words) == sorted(set(vocabulary.words))
    assert (wider.matrix != vocabulary.count(texts, topics, np.arange(-1, 6)).matrix).nnz == 0
    assert (wider.over(counts.topics, counts.vocabulary).matrix != counts.matrix).nnz == 0


def test_empty_texts_are_refused_in_one_line():
    with pytest.raises(TopicError, match="no text"):
        Vocabulary.of([" \u200b"] * 40)
