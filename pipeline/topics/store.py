"""Writing and finding topic models.

A fit writes assignments, topics and events, and last the row in ``NAME.topic_models``: that row is the switch, and
until it is there nobody sees the rest. Versions form one line: the row is inserted only if its version is still free,
so of two fits that end at once the second is told, matches its topics against the first one's, and writes again.
Rows under a version that is taken by another model can never become visible and are removed after the switch.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import lance
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TableNotFoundError, TopicError
from pipeline.table.location import TableLocation
from pipeline.table.store import create_dataset, open_dataset, read_all, storage_errors
from pipeline.topics.schema import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from pipeline.topics.schema import Companion

__all__ = ["Located", "TopicModel", "TopicTables"]

logger = logging.getLogger(__name__)

BATCH_ROWS: Final = 1 << 18


class Located(Protocol):
    """A table that knows where it is, such as `pipeline.table.vector_table.VectorTable`."""

    @property
    def location(self) -> TableLocation:
        """Where the vectors are; the topic tables lie beside them."""
        ...


@dataclass(frozen=True, slots=True)
class TopicModel:
    """A row of ``NAME.topic_models``: one finished fit. `version` counts from 1; `parent` is None for the first."""

    version: int
    model: str
    parent: int | None
    created: datetime
    recipe: str
    seed: int
    table_version: int
    fingerprint: str | None
    documents: int
    sampled: int
    topics: int
    outliers: int
    unused: int
    params: dict[str, Any]
    libraries: dict[str, str]
    metrics: dict[str, float | None]
    artefact: str | None = None

    def to_arrow(self) -> pa.Table:
        """One row of `MODELS`."""
        row = {name: getattr(self, name) for name in MODELS.names}
        row |= {name: json.dumps(row[name], sort_keys=True) for name in ("params", "libraries", "metrics")}
        return pa.Table.from_pylist([row], schema=MODELS)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a row of `MODELS`; columns that later versions of this package added are passed over."""
        fields = {name: row[name] for name in MODELS.names}
        return cls(**fields | {name: json.loads(fields[name]) for name in ("params", "libraries", "metrics")})


@dataclass(frozen=True, slots=True)
class TopicTables:
    """The four topic tables of the vector table at `location`."""

    location: TableLocation

    @classmethod
    def of(cls, table: Located | str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> Self:
        """From ``DIRECTORY/NAME``, its URL, or an open table.

        Raises:
            UsageError: this names no table.
        """
        if isinstance(table, str | os.PathLike):
            return cls(TableLocation.parse(table, storage_options))
        return cls(table.location)

    def vectors(self) -> lance.LanceDataset:
        """The table whose topics these are.

        Raises:
            TableNotFoundError: it is not there.
        """
        dataset = open_dataset(self.location)
        if dataset is None:
            raise TableNotFoundError(f"there is no table {self.location}: embed into it first")
        return dataset

    def open(self, kind: Companion) -> lance.LanceDataset | None:
        """One of the four tables at its latest state, or None before the first fit."""
        return open_dataset(self.location.sibling(kind))

    def models(self) -> list[TopicModel]:
        """All finished models, oldest first."""
        rows = read_all(self.location.sibling("topic_models"), MODELS).to_pylist()
        return sorted((TopicModel.from_row(row) for row in rows), key=lambda model: model.version)

    def read(self, kind: Companion, model: TopicModel, columns: list[str] | None = None) -> pa.Table:
        """The rows of one model.

        Raises:
            TopicError: the table is gone.
        """
        dataset = self._of_model(kind, model)
        with storage_errors("read", self.location.sibling(kind)):
            return dataset.to_table(columns=columns, filter=_rows_of(model))

    def stream(self, kind: Companion, model: TopicModel, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """As `read`, batch by batch."""
        dataset = self._of_model(kind, model)
        with storage_errors("read", self.location.sibling(kind)):
            yield from dataset.to_batches(columns=columns, filter=_rows_of(model), batch_size=BATCH_ROWS)

    def _of_model(self, kind: Companion, model: TopicModel) -> lance.LanceDataset:
        dataset = self.open(kind)
        if dataset is None:
            raise TopicError(f"{self.location.sibling(kind)} is gone, and with it model {model.version}: fit anew")
        return dataset

    def append(self, kind: Companion, data: pa.Table | pa.RecordBatchReader) -> None:
        """Add rows; they count once their model's row is there.

        Raises:
            TopicError: topics of vectors of another dimension are there already.
        """
        place = self.location.sibling(kind)
        # Created empty first: the rows of a stream cannot be offered a second time if another fit creates it too.
        dataset, _ = create_dataset(place, data.schema)
        if kind == "topics" and dataset.schema.field("centroid").type != data.schema.field("centroid").type:
            raise TopicError(
                f"{place} holds topics of vectors of another dimension: remove {self.location}.topic*.lance, "
                "which belong to a table that was replaced"
            )
        with storage_errors("write", place):
            lance.write_dataset(data, dataset, mode="append", storage_options=dict(place.options) or None)

    def switch(self, model: TopicModel) -> bool:
        """Make `model` visible; False if another fit has taken its version in the meantime."""
        place = self.location.sibling("topic_models")
        dataset, _ = create_dataset(place, MODELS)
        with storage_errors("write", place):
            result = dataset.merge_insert("version").when_not_matched_insert_all().execute(model.to_arrow())
        return result["num_inserted_rows"] == 1

    def sweep(self, model: TopicModel) -> None:
        """Remove what fits that can no longer become visible left under versions up to `model`'s."""
        finished = [other.model for other in self.models()]
        stale = (pc.field("version") <= model.version) & ~pc.field("model").isin(finished)
        for kind in ("topic_assignments", "topics", "topic_events"):
            dataset = self.open(kind)
            if dataset is None or not dataset.count_rows(filter=stale):
                continue
            with storage_errors("tidy", self.location.sibling(kind)):
                dataset.delete(stale)
            logger.info("removed what an unfinished fit left in %s", self.location.sibling(kind))


def _rows_of(model: TopicModel) -> pc.Expression:
    return (pc.field("version") == model.version) & (pc.field("model") == model.model)
