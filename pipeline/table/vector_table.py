"""A table of MoEE vectors: create, open, search, add to, index, look into, delete from.

The one class that people use. It holds no rows and no model; the encoder is built when a query is text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, cast

from pipeline.errors import FingerprintError, TableError, TableNotFoundError, UsageError
from pipeline.mapper import in_this_process
from pipeline.spec import EmbeddingSpec, differing_fields
from pipeline.table.changes.deletion import delete_documents
from pipeline.table.commit.additions import Added, add_rows
from pipeline.table.companions.rejects import read_rejects
from pipeline.table.companions.runs import new_run, read_runs
from pipeline.table.creation import create_table, load_calibration, whats_there
from pipeline.table.fragments.compaction import compact
from pipeline.table.indexes.build import build_indexes
from pipeline.table.indexes.choice import MIN_BYTES
from pipeline.table.info import describe
from pipeline.table.location import TableLocation
from pipeline.table.schema import LAYOUT, VECTOR, metadata_value
from pipeline.table.store import existing_dataset, open_dataset, storage_errors
from pipeline.table.upkeep import Cleaned, clean

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    import lance
    import numpy as np
    import pyarrow as pa

    from pipeline.embedding.ablation import Ablation
    from pipeline.embedding.calibration import Calibration
    from pipeline.embedding.encoder import Encoder
    from pipeline.mapper import Mapper
    from pipeline.spec import Meaning
    from pipeline.table.indexes.check import IndexCheck
    from pipeline.table.indexes.listing import IndexInfo
    from pipeline.table.query.conditions import Where
    from pipeline.table.query.question import Mode, Question
    from pipeline.table.query.request import VectorSpace
    from pipeline.table.store import Session

__all__ = ["VectorTable"]


class VectorTable:
    """An existing table; `open` and `create` make one of these.

    Attributes:
        location: where it is.
        spec: the resolved spec of its vectors.
        meaning: the spec as content.
        fingerprint: hash of meaning and calibration.
        calibration_hash: hash of the calibration; empty for vectors made elsewhere.
        halves: (H, R), sizes of hidden state and routing weights.
        reader: the reader options fixed in the table: slice_rows, text, id, keep, and chunk where rows are chunks.
        schema: its columns.
    """

    def __init__(self, location: TableLocation, dataset: lance.LanceDataset) -> None:
        self.location = location
        self.schema: pa.Schema = dataset.schema
        self._session = dataset.session()
        self.spec = EmbeddingSpec(**json.loads(self._metadata("spec")))
        self.meaning: Meaning = json.loads(self._metadata("meaning"))
        self.fingerprint = self._metadata("fingerprint")
        self.calibration_hash = self._metadata("calibration")
        hidden, routing = json.loads(self._metadata("halves"))
        self.halves: tuple[int, int] = (int(hidden), int(routing))
        self.reader: dict[str, Any] = json.loads(self._metadata("reader"))
        layout = self._metadata("layout")
        if layout != LAYOUT:
            raise TableError(
                f"table {location} has layout {layout}; this version of the package reads {LAYOUT}: embed the "
                "documents into a table of another name, or use the version that made this one"
            )

    @classmethod
    def create(
        cls,
        uri: str | os.PathLike[str] | TableLocation,
        *,
        spec: EmbeddingSpec,
        meaning: Meaning | None = None,
        calibration: Calibration | None = None,
        halves: tuple[int, int] | None = None,
        dim: int | None = None,
        keep: pa.Schema | None = None,
        with_text: bool = True,
        reader: Mapping[str, Any] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Create an empty table, or open the one that is there: the first to create wins, the caller compares.

        Args:
            uri: ``DIRECTORY/NAME`` or its URL form.
            spec: what the vectors mean; resolved, where `meaning` is given.
            meaning: the spec as content, `EmbeddingSpec.meaning`; None: the vectors are made elsewhere, by a model that
                `spec` only names, and no text query can meet them.
            calibration: of the vectors to come; None for vectors made elsewhere.
            halves: (H, R); for ``hs`` and ``rw`` only one of them is stored. Goes with `meaning`.
            dim: D, for vectors made elsewhere.
            keep: metadata columns, nullable.
            with_text: whether documents' texts are stored.
            reader: reader options to fix in the table.
            storage_options: for object storage; names of fsspec or of object_store.

        Raises:
            UsageError: the name or a column cannot be used.
            TableError: nothing can be written there.
        """
        location = TableLocation.parse(uri, storage_options)
        if meaning is None or halves is None:
            spec, meaning, halves = _made_elsewhere(spec, dim)
        dataset = create_table(
            location, spec, meaning, calibration, halves, keep=keep, with_text=with_text, reader=dict(reader or {})
        )
        return cls(location, dataset)

    @classmethod
    def open(
        cls,
        uri: str | os.PathLike[str] | TableLocation,
        storage_options: Mapping[str, Any] | None = None,
        *,
        session: Session | None = None,
    ) -> Self:
        """Open a table that `create` made.

        Args:
            uri: ``DIRECTORY/NAME`` or its URL form.
            storage_options: for object storage; names of fsspec or of object_store.
            session: caches to share with other tables, and to bound; None: the table has its own, of Lance's size.

        Raises:
            TableNotFoundError: there is none; the message names the tables that are there.
            TableError: it cannot be read, or is a table of something else.
        """
        location = TableLocation.parse(uri, storage_options)
        dataset = open_dataset(location, session)
        if dataset is None:
            raise TableNotFoundError(f"there is no table {location}; {whats_there(location)}")
        return cls(location, dataset)

    def __repr__(self) -> str:
        return f"VectorTable({str(self.location)!r}, model={self.spec.model!r}, fingerprint={self.fingerprint!r})"

    @property
    def name(self) -> str:
        """The table's name in its directory."""
        return self.location.name

    @property
    def storage_options(self) -> dict[str, str] | None:
        """How to reach it, in object_store's names; None for a local table."""
        return dict(self.location.options) or None

    @property
    def dim(self) -> int:
        """D, the length of a stored vector."""
        return cast("pa.FixedSizeListType", self.schema.field(VECTOR).type).list_size

    def dataset(self) -> lance.LanceDataset:
        """The newest version as a Lance dataset."""
        return existing_dataset(self.location, self._session)

    def count_rows(self) -> int:
        """Rows in the newest version."""
        with storage_errors("look into", self.location):
            return self.dataset().count_rows()

    @property
    def versions(self) -> list[dict[str, Any]]:
        """The versions that can still be read, oldest first: version, timestamp, metadata."""
        with storage_errors("look into", self.location):
            return cast("list[dict[str, Any]]", self.dataset().versions())

    def check(self, meaning: Meaning, calibration: str | None = None) -> None:
        """Refuse vectors of another meaning, or, where `calibration` (a hash) is given, of another calibration.

        Raises:
            FingerprintError: naming every field that differs.
        """
        differences = differing_fields(self.meaning, meaning)
        if calibration is not None and calibration != self.calibration_hash:
            differences.append(f"calibration: the table has {self.calibration_hash!r}, this is {calibration!r}")
        if differences:
            raise FingerprintError(
                f"these vectors do not compare with those in {self.location}, made with model {self.spec.model!r}: "
                f"{'; '.join(differences)}. Use the table's own spec, or another table"
            )

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration that the vectors were made with.

        Raises:
            TableError: the vectors were made elsewhere, or the companion table is gone.
        """
        return load_calibration(self.location, self.calibration_hash)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder for queries: this table's spec and calibration on this machine.

        Raises:
            FingerprintError: the model found here is not the one that made the vectors.
        """
        calibration = self.calibration
        from pipeline.embedding.encoder import Encoder

        encoder = Encoder(self.spec, calibration=calibration)
        self.check(encoder.meaning, encoder.calibration.hash)
        return encoder

    def search(
        self,
        query: str | np.ndarray | None = None,
        k: int = 10,
        alpha: float | None = None,
        where: Where | None = None,
        mode: Mode = "vector",
        **options: Any,
    ) -> pa.Table:
        """The `k` best documents, best first.

        Beside the columns asked for a hit has ``_score`` float32, and what explains it: ``_cos_h`` and ``_cos_r``, the
        cosines of its halves with the query's (modes vector and hybrid), ``_passage``, the part of its text that
        matched (text and hybrid), ``_vector_rank`` and ``_text_rank`` (hybrid).

        Args:
            query: text, or a vector [D] in the form in which vectors are stored (what `Encoder.encode` gives).
            k: how many.
            alpha: another routing weight than the table's, for ``sum`` tables; the score is then
                ``(cos_h + alpha·cos_r) / (1 + alpha)``.
            where: a condition that hits fulfil, such as ``{"year": {"gte": 1990}, "lang": ["de", "en"]}``
                (`pipeline.table.query.conditions`).
            mode: ``vector``; ``text``: words, by BM25; ``hybrid``: both, joined by reciprocal ranks.
            options: further fields of `Question`: offset, like, unlike, min_score, group_by, diversity, columns, at,
                where_sql.

        Raises:
            UsageError: the question cannot be meant, or does not fit the table.
            TableError: there is no text index for ``text`` or ``hybrid``, or the table cannot be read.
            FingerprintError: a text query on a machine where the model is another.
        """
        from pipeline.table.query.question import Question

        question = Question.of(query=query, k=k, alpha=alpha, where=where, mode=mode, **options)
        return next(self.answers([question]))

    def search_many(
        self,
        queries: Sequence[str] | np.ndarray,
        k: int = 10,
        alpha: float | Sequence[float | None] | None = None,
        where: Where | None = None,
        mode: Mode = "vector",
        **options: Any,
    ) -> Iterator[pa.Table]:
        """The hits of each query, one table after the other, as `search` gives them; queries are encoded in batches.

        Args:
            queries: texts, or vectors [n, D].
            k: how many hits for each.
            alpha: one for all queries, or one for each.
            where: as in `search`.
            mode: as in `search`.
            options: as in `search`.

        Raises:
            UsageError, TableError, FingerprintError: as `search`, before the first hits.
        """
        from pipeline.table.query.question import Question, check_list

        check_list("queries", queries)
        alphas = alpha if isinstance(alpha, Sequence) else [alpha] * len(queries)
        if len(alphas) != len(queries):
            raise UsageError(f"{len(queries)} queries, but {len(alphas)} values of alpha")
        common = {"k": k, "where": where, "mode": mode, **options}
        questions = [
            Question.of(query=query, alpha=weight, **common) for query, weight in zip(queries, alphas, strict=True)
        ]
        return self.answers(questions)

    def answers(
        self, questions: Sequence[Question], encode: Callable[[Sequence[str]], np.ndarray] | None = None
    ) -> Iterator[pa.Table]:
        """The hits of each question as `search` gives them, all of one version of the table.

        Args:
            questions: which differ in query and alpha only.
            encode: queries in words → their vectors, float32 [n, D]; None: as the table's own encoder does.
        """
        from pipeline.table.query.answer import search_each

        space = self._space if encode is None else replace(self._space, encode=encode)
        return search_each(space, self.dataset(), questions)

    def document(self, id: str, at: int | str | None = None) -> pa.Table:  # noqa: A002
        """The row of a document, or its chunks in their order, without vectors; no row where it is not there.

        Args:
            id: of a document or a chunk.
            at: as in `search`.

        Raises:
            TableError: the table cannot be read, or has no such version.
        """
        from pipeline.table.query.answer import document

        return document(self.location, self.dataset(), id, at)

    def facets(
        self,
        columns: Sequence[str],
        where: Where | None = None,
        *,
        where_sql: str | None = None,
        at: int | str | None = None,
        most: int = 20,
    ) -> dict[str, pa.Table]:
        """How many rows have each value of a column, under a condition: for each column value and count, int64.

        Args:
            columns: whose values are counted; those of lists one by one.
            where: as in `search`.
            where_sql: as in `search`.
            at: as in `search`.
            most: of each column the values with the greatest counts.

        Raises:
            UsageError: there is no such column, or its values cannot be compared.
            TableError: the table cannot be read.
        """
        from pipeline.table.query.answer import facets

        return facets(self.location, self.dataset(), columns, where, where_sql, at, most)

    def duplicates(
        self,
        score: float = 0.98,
        *,
        groups: bool = False,
        alpha: float | None = None,
        where: Where | None = None,
        where_sql: str | None = None,
        mapper: Mapper = in_this_process,
        phase: Callable[[str], None] | None = None,
    ) -> pa.Table:
        """All pairs of rows that score `score` or more with each other, as a search by vector would score them.

        Columns a, b (ids, a before b) and ``_score``, best first. Chunks of one document are no pair. Above 50,000
        different vectors some pairs may be missed; equal vectors never are. The schema's metadata say in ``moee.exact``
        whether nothing was missed (``true`` or ``false``), in ``moee.rows`` how many rows were compared.

        Args:
            score: the least score, more than 0 and at most 1.
            groups: the groups that pairs connect instead, the largest first: columns group, id, kept and ``_score``.
                The row of the lowest id is kept; ``_score`` is that with this row, which may be less than `score`.
            alpha: as in `search`.
            where: rows that are compared, as in `search`.
            where_sql: as in `search`.
            mapper: what runs the work: this process, or an engine (`pipeline.flow.engines.base.EngineMapper`).
            phase: is told what is done next.

        Raises:
            UsageError: a condition or a number cannot be meant, or there are more than 5 million pairs.
            TableError: the table cannot be read.
        """
        from pipeline.table.duplicates.find import find_duplicates
        from pipeline.table.duplicates.vectors import VectorBlocks
        from pipeline.table.query.conditions import condition_sql, conjunction, whole_sql
        from pipeline.table.query.question import check_rows

        check_rows(where_sql, None)
        dataset = self.dataset()
        blocks = VectorBlocks(
            self.location, dataset.version, self.spec.combine or "sum", self.halves[0], self.spec.alpha, alpha
        )
        condition = conjunction(condition_sql(self.schema, where), whole_sql(where_sql))
        return find_duplicates(
            blocks, dataset, score, where=condition, groups=groups, mapper=mapper, phase=phase or (lambda _: None)
        )

    def add(
        self,
        ids: Sequence[str],
        vectors: np.ndarray,
        *,
        texts: Sequence[str] | None = None,
        metadata: pa.Table | None = None,
    ) -> Added:
        """Add documents whose vectors were made elsewhere, in the stored form; exactly once, as any commit.

        Args:
            ids: n ids; those that the table has already go to the rejects.
            vectors: float [n, D].
            texts: n texts.
            metadata: n rows of the table's metadata columns.

        Raises:
            UsageError: shapes or columns do not fit, or a vector is not finite.
            TableError: the table cannot be written.
        """
        return add_rows(self.location, self.schema, ids, vectors, texts=texts, metadata=metadata)

    def index(self, *, min_bytes: int = MIN_BYTES, rebuild: bool = False) -> list[IndexInfo]:
        """Join small fragments, build the missing indexes, bring the others up to date.

        Args:
            min_bytes: vectors that take fewer get no index.
            rebuild: build the index of the vectors again.

        Raises:
            TableError: the storage refused; what was done until then stays.
        """
        dataset = self.dataset()
        compact(self.location, dataset)
        return build_indexes(self.location, dataset, min_bytes=min_bytes, rebuild=rebuild)

    def ablate(self, truth: str, *, rows: int = 100_000, queries: int = 2000, seed: int = 0) -> Ablation:
        """Which half of the vectors, and which α, finds documents of the same label; no model is needed.

        Args:
            truth: the column with the labels.
            rows: at most so many random rows are measured on.
            queries: at most so many of them are asked for their neighbours.
            seed: of the draw.

        Raises:
            UsageError: there is no such column, one half only is stored, or there is too little to measure.
            TableError: the table cannot be read.
        """
        from pipeline.table.query.ablation import ablate_table

        hidden, _ = self.halves
        return ablate_table(
            self.location, self.dataset(), self.spec, hidden, truth, rows=rows, queries=queries, seed=seed
        )

    def check_indexes(self, *, queries: int = 50, seed: int = 0) -> IndexCheck:
        """Whether search finds what exact search finds, how fast, and what to change; nothing is changed.

        Recall of the ten best and the time of a search are measured plain, under a filter that 1 % of the rows pass,
        and, where the vectors are a ``sum``, at α 0 and 4. The vectors are read once.

        Args:
            queries: at most so many of the table's own rows are asked for their neighbours.
            seed: of the draw.

        Raises:
            TableError: the table cannot be read.
        """
        from pipeline.table.indexes.check import check_indexes

        hidden, _ = self.halves
        return check_indexes(self.location, self.dataset(), self.spec, hidden, self.search, queries=queries, seed=seed)

    def clean(self, days: float = 7.0, *, wait: float = 0.0) -> Cleaned:
        """Drop versions older than `days`: rows that were deleted or replaced before leave the disk.

        Raises:
            UsageError: no number of days.
            LeaseError: somebody is at work on the table or its topics, and still was after `wait` seconds.
            TableError: the storage refused.
        """
        return clean(self.location, new_run(), days, wait=wait)

    def delete(self, ids: Sequence[str]) -> int:
        """Remove documents for good: no later run brings them back. Returns how many there were.

        Older versions hold them until `clean` drops these.
        """
        return delete_documents(self.location, self.dataset(), ids).documents

    def rejects(self) -> pa.Table:
        """The documents that the table does not hold, with reasons (REJECTS)."""
        return read_rejects(self.location)

    def runs(self) -> pa.Table:
        """The runs that wrote into the table (RUNS), oldest first."""
        return read_runs(self.location)

    def info(self) -> dict[str, Any]:
        """What `moee inspect` prints, as JSON can hold it."""
        spec = self.spec.model_dump(mode="json")
        identity = {"spec": spec, "fingerprint": self.fingerprint, "calibration": self.calibration_hash}
        return {"table": str(self.location), **identity, "halves": list(self.halves), "reader": self.reader} | describe(
            self.location, self.dataset()
        )

    @property
    def _space(self) -> VectorSpace:
        from pipeline.table.query.request import VectorSpace

        return VectorSpace(self.location, self.spec, self.halves, self._encode_queries)

    def _encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self.encoder.encode_query(texts)

    def _metadata(self, name: str) -> str:
        value = metadata_value(self.schema, name)
        if value is None:
            raise TableError(f"{self.location} was not made by this package: its schema has no moee.{name}")
        return value


def _made_elsewhere(spec: EmbeddingSpec, dim: int | None) -> tuple[EmbeddingSpec, Meaning, tuple[int, int]]:
    if dim is None or dim < 1:
        raise UsageError("create: for vectors made elsewhere say dim=D; for this package's own give meaning and halves")
    named = EmbeddingSpec(model=spec.model, revision=spec.revision, combine="hs").resolve({})
    return named, named.meaning(f"elsewhere:{spec.model}", ""), (dim, 0)
