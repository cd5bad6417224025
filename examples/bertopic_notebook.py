"""The classic BERTopic notebook with MoEE vectors: the encoder is BERTopic's embedding model.

    python examples/bertopic_notebook.py

For a table that grows use `moee topics fit` and `moee topics refresh` instead: there topics keep their numbers.
"""

from __future__ import annotations

from bertopic import BERTopic
from bertopic.representation import KeyBERTInspired
from sklearn.feature_extraction.text import CountVectorizer
from umap import UMAP

from pipeline import EmbeddingSpec, Encoder
from pipeline.models import reference_texts


def main() -> None:
    """Fit topics on 256 of the dictionary passages that ship with the package."""
    docs = reference_texts()[::8]

    encoder = Encoder(EmbeddingSpec(model="mini", max_tokens=64))
    encoder.calibrate(docs)  # what is usual in this collection; without it, what is usual in the reference texts
    embeddings = encoder.encode(docs)  # float32 [256, D], unit length

    model = BERTopic(
        embedding_model=encoder,
        umap_model=UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=0, n_jobs=1),
        vectorizer_model=CountVectorizer(stop_words="english"),
        min_topic_size=8,
        # In a dictionary: given bare, BERTopic 0.17.4 takes the vectors of the first documents for those of the
        # representative ones.
        representation_model={"KeyBERT": KeyBERTInspired()},
    )
    topics, _ = model.fit_transform(docs, embeddings)

    print(model.get_topic_info()[["Topic", "Count", "Name"]].head(6).to_string(index=False))
    newcomer = "Quercus: a large genus of trees that bear acorns."
    print(f"a new document goes to topic {model.transform([newcomer])[0][0]}; {len(set(topics) - {-1})} topics")


if __name__ == "__main__":
    main()
