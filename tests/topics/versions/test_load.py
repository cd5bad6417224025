from __future__ import annotations

import lance
import numpy as np
import pytest

from pipeline.errors import TopicError
from pipeline.topics import load_topics
from pipeline.topics.clustering.documents import read_sample
from pipeline.topics.words.bertopic import KEYBERT, numbers_of


def test_show_gives_words_and_typical_documents(fitted, helpers):
    view = load_topics(fitted.uri).show(1, examples=3)
    assert (view.topic, view.size) == (1, pytest.approx(helpers.SIZES["motors"], abs=9))
    assert view.share == view.size / sum(helpers.SIZES.values())
    assert [weight for _, weight in view.words] == sorted((weight for _, weight in view.words), reverse=True)
    assert view.label == ", ".join(word for word, _ in view.words[:4])
    assert [example.id.split("-")[0] for example in view.examples] == ["motors"] * 3
    assert len({example.text for example in view.examples}) == 3


def test_overview_is_largest_first(fitted):
    views = fitted.topics.overview(limit=3)
    assert [view.topic for view in views] == [0, 1, 2]
    assert all(len(view.examples) == 1 for view in views)


def test_a_topic_that_is_not_there_is_named_with_those_that_are(fitted):
    with pytest.raises(TopicError, match=r"has no topic 99; it has \[0, 1, 2, 3, 4\]"):
        fitted.topics.show(99)


def test_words_are_embedded_once_and_documents_never(fitted, helpers):
    asked = fitted.asked
    assert len(asked) == len(set(asked))
    assert set(asked) == set(" ".join(helpers.SUBJECTS[s] for s in helpers.SIZES).split())
    for view in fitted.topics.overview():
        assert {word for word, _ in view.keywords} == {word for word, _ in view.words}


@pytest.fixture(scope="session")
def bertopic(fitted):
    return fitted.topics.to_bertopic(encoder=fitted.encoder)


def test_bertopic_assigns_as_the_tables_do(fitted, bertopic, helpers):
    numbers = numbers_of(bertopic)
    rows = lance.dataset(f"{fitted.uri}.lance").to_table(columns=["id", "text", "vector"])
    vectors = np.stack(rows["vector"].to_numpy()).astype(np.float32)
    predicted, _ = bertopic.transform(rows["text"].to_pylist(), vectors)
    expected = [numbers.get(topic, -1) for topic in fitted.topics.geometry().assign(vectors).topic.tolist()]
    assert predicted == expected
    far, _ = bertopic.transform(["?"], -vectors[:1])
    assert far == [-1]
    assert bertopic.topics_ != []


def test_bertopic_carries_our_labels_and_words(fitted, bertopic):
    info = bertopic.get_topic_info().set_index("Topic")
    for topic, number in numbers_of(bertopic).items():
        if topic >= 0:
            assert info.loc[number, "CustomName"] == f"{topic}: {fitted.topics.show(topic).label}"
            assert info.loc[number, KEYBERT] == [word for word, _ in fitted.topics.show(topic).keywords]


# BERTopic gives UMAP a seed and no n_jobs.
@pytest.mark.filterwarnings("ignore:n_jobs value 1 overridden:UserWarning")
@pytest.mark.parametrize("picture", ["barchart", "heatmap", "hierarchy", "topics"])
def test_bertopic_draws(bertopic, picture):
    assert getattr(bertopic, f"visualize_{picture}")(custom_labels=True).to_json()


@pytest.fixture(scope="session")
def held(fitted):
    """The documents that the BERTopic holds, in its order."""
    return read_sample(fitted.topics.tables.vectors(), limit=100_000)


# BERTopic writes into slices of its data frames.
@pytest.mark.filterwarnings("ignore:\\s*A value is trying to be set on a copy of a slice")
def test_bertopic_draws_documents_and_classes(bertopic, held, helpers):
    texts, rng = list(held.texts), np.random.default_rng(0)
    points = rng.normal(size=(len(texts), 2))
    drawn = bertopic.visualize_documents(texts, reduced_embeddings=points, custom_labels=True)
    assert sum(len(trace.x) for trace in drawn.data) >= len(texts)
    classes = bertopic.topics_per_class(texts, classes=helpers.subject_of(held.ids.to_pylist()).tolist())
    assert bertopic.visualize_topics_per_class(classes).data
    over_time = bertopic.topics_over_time(texts, [1990 + row % 3 for row in range(len(texts))])
    assert bertopic.visualize_topics_over_time(over_time).data
    assert len(bertopic.get_document_info(texts)) == len(texts)


def test_bertopic_finds_and_transforms_without_vectors(fitted, bertopic):
    found, similarity = bertopic.find_topics("rocket", top_n=3)
    assert len(found) == len(similarity) == 3
    predicted, _ = bertopic.transform(["a text that no table holds"])
    assert predicted[0] in {-1, *numbers_of(bertopic).values()}
