"""Counts and weights against BERTopic's own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import TopicError, UsageError
from pipeline.table.location import TableLocation
from pipeline.topics.clustering.geometry import unit_rows
from pipeline.topics.schema import OUTLIER
from pipeline.topics.words import splitting
from pipeline.topics.words.counts import Vocabulary
from pipeline.topics.words.keywords import WordVectors, keywords
from pipeline.topics.words.splitting import split_words, without_punctuation

PHRASES = ["the cat sat", "dogs & cats", "cat cat\ncat", "a dog's life", "sat on the life", "", "ship—boat", "x y 42"]
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
    theirs = manual_bertopic(sample.texts, sample.vectors, labels)
    ours = counted(sample.texts, labels)
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
    matrix = CountVectorizer(vocabulary=vocabulary.words).transform(without_punctuation(joined, vocabulary.language))
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


def test_texts_without_words_are_refused_in_one_line():
    with pytest.raises(TopicError, match="no words"):
        Vocabulary.of(["the and of"] * 40)


class Backend:
    """A BERTopic backend: `embed`, no `encode`; remembers what it was asked."""

    def __init__(self, dimension):
        self.dimension, self.asked = dimension, []

    def embed(self, documents, verbose):
        self.asked += documents
        return np.array([np.random.default_rng(list(text.encode())).normal(size=self.dimension) for text in documents])


def test_words_are_ordered_by_the_model_and_embedded_once(tmp_path):
    location = TableLocation.parse(tmp_path / "docs")
    topics = np.repeat([0, 1], 20)
    texts = [["cat dog", "ship boat"][topic] for topic in topics]
    first, second = Backend(2), Backend(2)
    counts = counted(texts, topics)

    def ranked(backend, fingerprint="f1"):
        words = WordVectors(backend, 2, location, fingerprint)
        found = keywords(counts, texts, unit_rows(np.eye(2, dtype=np.float32)[topics]), topics, words)
        words.save()
        return found

    found = ranked(first)
    for topic, axis in ((0, 0), (1, 1)):
        names = [name for name, _ in found[topic]]
        cosines = {name: unit_rows(Backend(2).embed([name], verbose=False))[0, axis] for name in names}
        assert names == sorted(names, key=lambda name: -cosines[name])
        assert dict(found[topic]) == pytest.approx(cosines, abs=1e-3)
    assert sorted(first.asked) == ["boat", "cat", "dog", "ship"]
    assert ranked(second) == found
    assert second.asked == []
    ranked(second, "f2")
    assert len(second.asked) == 4
    with pytest.raises(UsageError, match="the table's have 3 dimensions"):
        WordVectors(Backend(2), 3, location, "f1").of(["new"])


@given(st.lists(st.text(st.sampled_from("aB1 é_\n\t.-ß漢İ")), max_size=6), st.sampled_from(["english", "multilingual"]))
def test_words_are_those_of_a_count_vectorizer(texts, language):
    from sklearn.feature_extraction.text import CountVectorizer

    analyzer = CountVectorizer().build_analyzer()
    expected = [(word, row) for row, text in enumerate(without_punctuation(texts, language)) for word in analyzer(text)]
    parts = list(split_words(pa.array([*texts, None], pa.string()), language))
    found = [pair for part in parts for pair in zip(part.words.to_pylist(), part.texts.tolist(), strict=True)]
    assert found == expected


def test_texts_are_split_a_part_at_a_time(monkeypatch):
    monkeypatch.setattr(splitting, "PART_BYTES", 10)
    parts = list(split_words(["one two", "ten", "three four five six", "", "at"], "english"))
    assert [part.words.to_pylist() for part in parts] == [
        ["one", "two", "ten"],
        ["three", "four", "five", "six"],
        ["at"],
    ]
    assert [part.texts.tolist() for part in parts] == [[0, 0, 1], [2, 2, 2, 2], [4]]
