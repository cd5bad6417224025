"""What `topics` and `embedding` ask of BERTopic beyond its documented API: read this when you upgrade it."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from pipeline.topics.words import keywords

TEXTS = ["rocket orbit moon", "engine wheel brake", "moon rocket launch", "wheel clutch brake", "moon orbit"] * 4
LABELS = np.array([7, 3, 7, 3, 7] * 3 + [-1] * 5)
VECTORS = np.eye(3, dtype=np.float32)[[0, 1, 0, 1, 0] * 3 + [2] * 5]


class Plain:
    """An embedder of one's own, no `BaseEmbedder`."""

    embedding_model = None
    word_embedding_model = None

    def embed(self, documents, **verbosity):
        return np.zeros((len(documents), 3), np.float32)

    embed_documents = embed
    embed_words = embed


def manual(cluster=None, **more):
    from bertopic import BERTopic
    from bertopic.cluster import BaseCluster
    from bertopic.dimensionality import BaseDimensionalityReduction

    given = {"umap_model": BaseDimensionalityReduction(), "hdbscan_model": cluster or BaseCluster(), **more}
    return BERTopic(embedding_model=None, **given)


@pytest.fixture(scope="module")
def model():
    return manual().fit(TEXTS, VECTORS, y=LABELS)


class TestBackend:
    """`embedding.bertopic_backend`: an object is taken for a backend by ``isinstance``, which asks ``__class__``."""

    def test_what_says_that_it_is_one_is_taken_as_it_is(self):
        from bertopic.backend._base import BaseEmbedder
        from bertopic.backend._utils import select_backend

        class Claims(Plain):
            @property
            def __class__(self):
                return BaseEmbedder

        claims = Claims()
        assert select_backend(claims) is claims

    def test_a_type_of_a_package_called_pipeline_is_taken_for_hugging_faces(self):
        """The reason for the above; `Plain` as a class of our package."""
        from bertopic.backend._hftransformers import HFTransformerBackend
        from bertopic.backend._utils import select_backend

        ours = type("Encoder", (Plain,), {"__module__": "pipeline.embedding.encoder"})
        with pytest.raises(ValueError, match="pipeline"):
            HFTransformerBackend(ours())
        with pytest.raises(ValueError, match="pipeline"):
            select_backend(ours())


class TestManualMode:
    """`words.bertopic`: a BERTopic over topics that are already there."""

    def test_given_labels_are_renumbered_by_size_and_outliers_stay(self, model):
        assert model.topic_mapper_.get_mappings(original_topics=True) == {7: 0, 3: 1, -1: -1}
        assert model.topics_ == [{7: 0, 3: 1, -1: -1}[label] for label in LABELS]

    def test_new_documents_go_where_the_cluster_model_predicts(self):
        from bertopic.cluster import BaseCluster

        class Given(BaseCluster):
            def predict(self, vectors):
                return np.where(vectors[:, 0] > 0, 7, -1)

        fitted = manual(Given()).fit(TEXTS, VECTORS, y=LABELS)
        found, _ = fitted.transform(["moon", "?"], np.array([[1, 0, 0], [-1, 0, 0]], np.float32))
        assert list(found) == [0, -1]

    def test_labels_and_a_second_list_of_words_are_shown(self, model):
        model.set_topic_labels({0: "sky", 1: "road"})
        words = [("word", 1.0)]
        model.topic_aspects_["KeyBERT"] = {-1: words, 0: words, 1: words}
        info = model.get_topic_info().set_index("Topic")
        assert info.loc[0, "CustomName"] == "sky"
        assert info.loc[1, "KeyBERT"] == ["word"]

    def test_texts_without_words_are_a_value_error_that_says_so(self):
        with pytest.raises(ValueError, match="empty vocabulary"):
            manual().fit(["1", "2"], VECTORS[:2], y=np.array([0, 1]))

    def test_weights_are_rows_of_topics_with_outliers_first(self, model):
        names = model.vectorizer_model.get_feature_names_out().tolist()
        assert model.c_tf_idf_.shape == (3, len(names))
        sky = model.c_tf_idf_.toarray()[1]
        assert names[int(sky.argmax())] == model.get_topic(0)[0][0] == "moon"


def test_keyword_settings_are_keyberts():
    """`words.keywords` has them as constants."""
    from bertopic.representation import KeyBERTInspired

    given = {name: each.default for name, each in inspect.signature(KeyBERTInspired).parameters.items()}
    assert (
        given["top_n_words"],
        given["nr_candidate_words"],
        given["nr_samples"],
        given["nr_repr_docs"],
    ) == (
        keywords.WORDS_PER_TOPIC,
        keywords.CANDIDATES_PER_TOPIC,
        keywords.DOCUMENTS_PER_TOPIC,
        keywords.REPRESENTATIVES_PER_TOPIC,
    )


def test_a_seeded_umap_told_to_use_one_thread_repeats_itself_without_a_warning():
    """`clustering.engines`; warnings are errors here."""
    from umap import UMAP

    points = np.random.default_rng(0).random((60, 8), np.float32)
    settings = {"n_neighbors": 5, "n_components": 2, "metric": "cosine", "random_state": 3, "n_jobs": 1}
    first = UMAP(**settings).fit_transform(points)
    np.testing.assert_array_equal(UMAP(**settings).fit_transform(points), first)
