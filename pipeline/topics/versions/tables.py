"""Finding topic models, and reading their rows.

Versions form one line. Each begins to exist with its row in ``NAME.topic_models``, which is written last and only if
its version is still free; rows of other tables that no such row vouches for are seen by nobody.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TableNotFoundError, TopicError
from pipeline.table.location import TableLocation
from pipeline.table.store import open_dataset, read_all, storage_errors
from pipeline.topics.schema import MODELS
from pipeline.topics.versions.current import Line, current_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import lance

    from pipeline.topics.schema import Companion, Kind

__all__ = ["Located", "TopicModel", "TopicTables", "rows_of"]

_JSON: Final = ("params", "libraries", "metrics")


class Located(Protocol):
    """A table that knows where it is, such as `pipeline.table.vector_table.VectorTable`."""

    @property
    def location(self) -> TableLocation:
        """Where the vectors are; the topic tables lie beside them."""
        ...


@dataclass(frozen=True, slots=True)
class TopicModel:
    """A row of ``NAME.topic_models``: one version. `version` counts from 1; `parent` is None for the first.

    `base` is the version of the last full fit, from which on assignments count; `drift` holds the figures of a refresh.
    """

    version: int
    model: str
    parent: int | None
    kind: Kind
    base: int
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
    drift: dict[str, Any] | None = None
    artefact: str | None = None

    def to_arrow(self) -> pa.Table:
        """One row of `MODELS`."""
        row = {name: getattr(self, name) for name in MODELS.names}
        row |= {name: json.dumps(row[name], sort_keys=True) for name in _JSON}
        row["drift"] = None if self.drift is None else json.dumps(self.drift, sort_keys=True)
        return pa.Table.from_pylist([row], schema=MODELS)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a row of `MODELS`; columns that later versions of this package added are passed over."""
        fields = {name: row[name] for name in MODELS.names}
        fields |= {name: json.loads(fields[name]) for name in _JSON}
        fields["drift"] = None if fields["drift"] is None else json.loads(fields["drift"])
        return cls(**fields)


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

    def base(self, model: TopicModel) -> TopicModel:
        """The full fit from which `model` goes on."""
        return next(other for other in self.models() if other.version == model.base)

    def line(self, model: TopicModel) -> Line:
        """The versions whose assignments make up those of `model`."""
        models = [other for other in self.models() if other.base == model.base and other.version <= model.version]
        return Line(model.base, model.version, tuple(other.model for other in models))

    def read(self, kind: Companion, model: TopicModel, columns: list[str] | None = None) -> pa.Table:
        """The rows that were written for one version.

        Raises:
            TopicError: the table is gone.
        """
        dataset = self._of_model(kind, model)
        with storage_errors("read", self.location.sibling(kind)):
            return dataset.to_table(columns=columns, filter=rows_of(model.version, model.model))

    def place(self, model: TopicModel, places: Mapping[int, tuple[float, float]]) -> None:
        """Note where topics stand on a map: `x` and `y` of their rows, which say nothing else anew.

        Raises:
            TableError: nothing can be written there.
        """
        dataset = self._of_model("topics", model)
        rows = self.read("topics", model)
        at = [places.get(topic, (None, None)) for topic in rows.column("topic").to_pylist()]
        for column, name in enumerate(("x", "y")):
            values = pa.array([place[column] for place in at], pa.float32())
            rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
        with storage_errors("write", self.location.sibling("topics")):
            dataset.merge_insert(["version", "model", "topic"]).when_matched_update_all().execute(rows)

    def assignments(self, model: TopicModel, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The current row of each document, batch by batch.

        Raises:
            TopicError: the table is gone.
        """
        dataset = self._of_model("topic_assignments", model)
        with storage_errors("read", self.location.sibling("topic_assignments")):
            yield from current_rows(dataset, self.line(model), columns)

    def _of_model(self, kind: Companion, model: TopicModel) -> lance.LanceDataset:
        dataset = self.open(kind)
        if dataset is None:
            raise TopicError(f"{self.location.sibling(kind)} is gone, and with it model {model.version}: fit anew")
        return dataset


def rows_of(version: int, token: str) -> pc.Expression:
    """Which rows of the topic tables an operation wrote."""
    return (pc.field("version") == version) & (pc.field("model") == token)
