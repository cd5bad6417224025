from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.table.location import TableLocation
from pipeline.topics.clustering.geometry import unit_rows
from pipeline.topics.words.counts import Vocabulary
from pipeline.topics.words.keywords import WordVectors, keywords


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
    counts = Vocabulary.of(texts).count(texts, topics, np.array([-1, 0, 1]))

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
