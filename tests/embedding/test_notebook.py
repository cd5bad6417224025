"""The classic BERTopic notebook, as the README has it, on real text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

NEWS = Path(__file__).parents[3] / "shared" / "data" / "20newsgroups.parquet"


def posts(count):
    """20 Newsgroups posts where the collection lies beside the checkout, docstrings elsewhere."""
    if NEWS.is_file():
        texts = pq.read_table(NEWS, columns=["text"]).column("text").to_pylist()
        return [text for text in texts if text.strip()][:count]
    from jobs.docstrings import collect_docstrings

    return collect_docstrings(count).column("text").to_pylist()


@pytest.mark.filterwarnings("ignore:n_jobs value 1 overridden:UserWarning")  # umap's, of every seeded run
def test_the_classic_notebook_runs():
    from bertopic import BERTopic
    from bertopic.representation import KeyBERTInspired
    from umap import UMAP

    from pipeline import EmbeddingSpec, Encoder

    docs = posts(300)
    encoder = Encoder(EmbeddingSpec(max_tokens=64))
    encoder.calibrate(docs)
    embeddings = encoder.encode(docs)
    model = BERTopic(
        embedding_model=encoder,
        umap_model=UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=0),
        min_topic_size=5,
        representation_model={"KeyBERT": KeyBERTInspired()},
    )
    topics, _ = model.fit_transform(docs, embeddings)

    assert len(topics) == len(docs)
    found = set(topics) - {-1}
    assert found
    assert all(model.get_topic(topic) for topic in found)
    assert set(model.topic_aspects_["KeyBERT"]) == set(topics)
    assert np.array_equal(model.embedding_model.embed_documents(docs[:2]), encoder.encode(docs[:2]))
