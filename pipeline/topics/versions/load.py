"""Reading topics: as tables, as views to print, or as a BERTopic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TopicError
from pipeline.table.schema import document_column
from pipeline.topics.clustering.documents import read_sample
from pipeline.topics.clustering.geometry import Geometry
from pipeline.topics.schema import ASSIGNMENTS, OUTLIER
from pipeline.topics.tensors import read_tensors
from pipeline.topics.versions.artefact import Artefact
from pipeline.topics.versions.by_document import DocumentCounts, count_documents, document_topics
from pipeline.topics.versions.tables import TopicModel, TopicTables, is_of_table
from pipeline.topics.words.bertopic import KEYBERT, manual_bertopic, numbers_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from bertopic import BERTopic

    from pipeline.topics.versions.tables import Located
    from pipeline.topics.words.bertopic import Embeds, Encodes

__all__ = ["Example", "TopicView", "Topics", "latest_topics", "load_topics"]

UNKNOWN: Final = np.iinfo(np.int64).min
"""Stands for null while topics are in an array."""

NO_WORDS: Final = [("", 0.0)]


@dataclass(frozen=True, slots=True)
class Example:
    """A document that stands for its topic."""

    id: str
    """Of the document."""
    text: str
    """The whole text."""


@dataclass(frozen=True, slots=True)
class TopicView:
    """A topic as people look at it."""

    topic: int
    """Its id."""
    label: str
    """Its name, by hand or by a language model; else its first words."""
    size: int
    """Documents (not chunks) in it."""
    share: float
    """`size` as a share of all documents, in [0, 1]."""
    words: tuple[tuple[str, float], ...]
    """Words by c-TF-IDF with their weights, best first."""
    keywords: tuple[tuple[str, float], ...]
    """Words closest by the embedding model with their cosines, best first."""
    examples: tuple[Example, ...]
    """Most typical documents, best first."""


def load_topics(
    table: Located | str | os.PathLike[str],
    version: int | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Topics:
    """The topics of a table: those of its latest model, or of the model `version`.

    Raises:
        TopicError: no model was fitted, or not this one; or the latest is of a table that was here before.
        TableNotFoundError: no such table.
    """
    tables = TopicTables.of(table, storage_options)
    if version is None:
        latest = latest_topics(tables)
        if not is_of_table(latest.model, tables.vectors()):
            raise TopicError(
                f"the topics beside {tables.location} are those of another table that was here before: "
                "fit them again (moee topics fit)"
            )
        return latest
    models = tables.models()
    found = [model for model in models if model.version == version]
    if not found:
        there = ", ".join(str(model.version) for model in models)
        raise TopicError(f"{tables.location} has no topic model {version}; there are: {there}")
    return Topics(tables, found[0])


def latest_topics(tables: TopicTables) -> Topics:
    """The topics of the latest model, also where the table that they were made of is gone.

    Raises:
        TopicError: no model was fitted.
        TableNotFoundError: no such table.
    """
    models = tables.models()
    if not models:
        tables.vectors()
        raise TopicError(f"{tables.location} has no topics yet: fit them first (moee topics fit)")
    return Topics(tables, models[-1])


@dataclass(frozen=True, slots=True)
class Topics:
    """One published topic model of a table."""

    tables: TopicTables
    """The topic tables that it is read from."""
    model: TopicModel
    """The row that describes it."""

    def topics(self) -> pa.Table:
        """The model's rows of ``NAME.topics``, largest topic first."""
        return self.tables.read("topics", self.model).sort_by([("size", "descending"), ("topic", "ascending")])

    def assignments(self, columns: list[str] | None = None, mad: float | None = None) -> pa.Table:
        """The current row of ``NAME.topic_assignments`` of each document.

        Args:
            columns: which; None: all.
            mad: decide the topic again while reading: the nearest one if the similarity reaches its
                median − `mad` · MAD, else none. The model is not fitted again; documents were assigned with 3.
        """
        columns = columns or ASSIGNMENTS.names
        return pa.Table.from_batches(self.stream(columns, mad), schema=_schema(columns))

    def stream(self, columns: Sequence[str], mad: float | None = None) -> Iterator[pa.RecordBatch]:
        """The same as `assignments`, batch by batch."""
        if mad is None:
            yield from self.tables.assignments(self.model, columns)
            return
        geometry = self.geometry()
        for batch in self.tables.assignments(self.model, list(dict.fromkeys([*columns, "nearest", "score"]))):
            topic = geometry.decide(batch.column("nearest").to_numpy(), batch.column("score").to_numpy(), mad)
            arrays = [pa.array(topic) if name == "topic" else batch.column(name) for name in columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=_schema(columns))

    def document_topics(self, mad: float | None = None) -> pa.Table:
        """A row for each document (`by_document.DOCUMENT_TOPICS`), also where the table's rows are chunks."""
        return document_topics(self.assignments(["id", "topic", "score"], mad), chunked=self.is_chunked)

    @property
    def is_chunked(self) -> bool:
        """Whether the table's rows are chunks of documents."""
        return document_column(self.tables.vectors().schema) != "id"

    def document_counts(self) -> DocumentCounts:
        """How many documents there are, and how many of them are in no topic."""
        if not self.is_chunked:
            return DocumentCounts(self.model.documents, self.model.outliers)
        return count_documents(self.document_topics())

    def events(self) -> pa.Table:
        """The model's rows of ``NAME.topic_events``: what changed against its parent."""
        return self.tables.read("topic_events", self.model)

    def geometry(self) -> Geometry:
        """Centroids and similarity statistics, by ascending topic id."""
        table = self.topics().sort_by("topic")
        centroids = table.column("centroid").combine_chunks()
        return Geometry(
            ids=table.column("topic").to_numpy(),
            centroids=centroids.flatten().to_numpy().reshape(len(centroids), -1),
            median=table.column("median").to_numpy(),
            mad=table.column("mad").to_numpy(),
        )

    def topics_of(self, ids: pa.Array) -> pa.Array:
        """Topic int64 of each of `ids` string [n]; null for documents that have no assignment."""
        ids = ids.cast(pa.string())
        topics = np.full(len(ids), UNKNOWN, dtype=np.int64)
        for batch in self.stream(["id", "topic"]):
            rows = pc.index_in(batch.column("id"), value_set=ids)
            topics[rows.drop_null().to_numpy()] = batch.column("topic").filter(rows.is_valid()).to_numpy()
        return pa.array(topics, mask=topics == UNKNOWN)

    def artefact(self) -> Artefact | None:
        """The sample and word counts that go with these topics; None where the file is gone."""
        tensors = read_tensors(self.tables.location, self.model.artefact) if self.model.artefact else None
        return None if tensors is None else Artefact.of(tensors)

    def given_labels(self) -> dict[int, dict[str, Any]]:
        """Topic → label columns, for the topics whose label is not made of their words."""
        columns = ["topic", "label", "label_source", "label_locked"]
        rows = self.topics().select(columns).to_pylist()
        return {row.pop("topic"): row for row in rows if row["label_locked"] or row["label_source"] != "words"}

    def show(self, topic: int, examples: int = 3) -> TopicView:
        """One topic with its words and its most typical documents.

        Raises:
            TopicError: this model has no such topic.
        """
        table = self.topics()
        row = table.filter(pc.field("topic") == topic)
        if row.num_rows == 0:
            ids = sorted(table.column("topic").to_pylist())
            raise TopicError(f"model {self.model.version} of {self.tables.location} has no topic {topic}; it has {ids}")
        return self._views(row, examples)[0]

    def overview(self, limit: int | None = None, examples: int = 1) -> list[TopicView]:
        """The topics, largest first, up to `limit` of them."""
        return self._views(self.topics(), examples, limit)

    def _views(self, table: pa.Table, examples: int, limit: int | None = None) -> list[TopicView]:
        counted = self.document_counts()
        rows: list[dict[str, Any]] = table.to_pylist()
        if counted.sizes is not None:
            rows = [{**row, "size": counted.sizes.get(row["topic"], 0)} for row in rows]
            rows.sort(key=lambda row: (-row["size"], row["topic"]))
        rows = rows[:limit]
        texts = self._texts([name for row in rows for name in row["representatives"][:examples]])
        return [
            TopicView(
                topic=row["topic"],
                label=row["label"],
                size=row["size"],
                share=row["size"] / max(counted.documents, 1),
                words=tuple(zip(row["words"], row["weights"], strict=True)),
                keywords=tuple(zip(row["keywords"], row["keyword_weights"], strict=True)),
                examples=tuple(
                    Example(name, texts[name]) for name in row["representatives"][:examples] if name in texts
                ),
            )
            for row in rows
        ]

    def _texts(self, ids: list[str]) -> dict[str, str]:
        """Id → text, for the documents that are still in the table."""
        if not ids:
            return {}
        found = self.tables.vectors().to_table(columns=["id", "text"], filter=pc.field("id").isin(ids))
        return dict(zip(found.column("id").to_pylist(), found.column("text").to_pylist(), strict=True))

    def to_bertopic(self, encoder: Encodes | Embeds | None = None, limit: int = 100_000) -> BERTopic:
        """A working BERTopic over these topics: ``transform`` and its visualisations run.

        BERTopic numbers topics by size. ``topic_mapper_.get_mappings()`` maps our ids to its numbers, and its custom
        labels begin with our ids. It holds the texts and vectors of up to `limit` documents.

        Args:
            encoder: becomes its embedding model, so that ``transform(texts)`` and ``find_topics`` need no vectors.
            limit: of a larger table, a sample of `limit` documents is taken.

        Raises:
            TopicError: none of the model's documents is in the table any more.
        """
        documents = read_sample(self.tables.vectors(), limit)
        seen = self.topics_of(documents.ids)
        kept = np.flatnonzero(seen.is_valid().to_numpy(zero_copy_only=False))
        if len(kept) == 0:
            raise TopicError(f"{self.tables.location} holds none of the documents of its topic model: fit again")
        model = manual_bertopic(
            [documents.texts[row] for row in kept],
            documents.vectors[kept],
            seen.drop_null().to_numpy(),
            geometry=self.geometry(),
            encoder=encoder,
        )
        self._add_labels(model)
        return model

    def _add_labels(self, model: BERTopic) -> None:
        """Give a BERTopic our labels and keywords."""
        numbers = numbers_of(model)
        views = [view for view in self.overview(examples=0) if view.topic in numbers]
        model.set_topic_labels({numbers[view.topic]: f"{view.topic}: {view.label}" for view in views})
        if any(view.keywords for view in views):
            # BERTopic's tables need a word for every topic, outliers included.
            words = {numbers[view.topic]: list(view.keywords) or NO_WORDS for view in views}
            model.topic_aspects_[KEYBERT] = {OUTLIER: NO_WORDS} | words


def _schema(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([ASSIGNMENTS.field(name) for name in columns])
