"""The four topic tables of a vector table: which models there are, and the rows of each.

Versions follow each other in one sequence. A version exists from the moment when its row is in ``NAME.topic_models``;
that row is written last, and only if the version is still free. Rows of the other tables whose token has no such row
are never read.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import aligned
from pipeline.errors import TableNotFoundError, TopicError
from pipeline.table.location import TableLocation
from pipeline.table.store import open_dataset, read_all, storage_errors
from pipeline.topics.schema import MODELS
from pipeline.topics.versions.current import VersionRange, current_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import lance

    from pipeline.topics.schema import Companion, Kind

__all__ = ["Located", "TopicModel", "TopicTables", "fingerprint_of", "is_of_table", "written_by"]

_JSON_COLUMNS: Final = ("params", "libraries", "metrics")


class Located(Protocol):
    """A table that knows where it is, such as `pipeline.table.vector_table.VectorTable`."""

    @property
    def location(self) -> TableLocation:
        """Where the vectors are; the topic tables lie beside them."""
        ...


@dataclass(frozen=True, slots=True)
class TopicModel:
    """A row of ``NAME.topic_models``, which describes one version."""

    version: int
    """1, 2, 3 …"""
    model: str
    """The token of the operation that wrote it."""
    parent: int | None
    """The version before; None for the first."""
    kind: Kind
    """What the operation did."""
    base: int
    """The version of the last full fit: assignments count from there on."""
    created: datetime
    """When it was published."""
    recipe: str
    """Name of the recipe of the full fit."""
    seed: int
    """Seed of the random steps."""
    table_version: int
    """The version of the vector table that it was made from."""
    fingerprint: str | None
    """What the vectors mean that the topics are made of."""
    documents: int
    """Documents that have an assignment."""
    sampled: int
    """Documents that were clustered by the full fit."""
    topics: int
    """How many topics there are."""
    outliers: int
    """Documents in no topic."""
    unused: int
    """The first topic id that no topic ever had."""
    params: dict[str, Any]
    """All that decides the result, beside the table and the seed."""
    libraries: dict[str, str]
    """Versions of the libraries that can change a fit."""
    metrics: dict[str, float | None]
    """Quality figures by name."""
    drift: dict[str, Any] | None = None
    """Figures of a refresh (`pipeline.topics.operations.drift.Drift`)."""
    artefact: str | None = None
    """Name of the file with the sample and the word counts."""

    def to_arrow(self) -> pa.Table:
        """One row of `MODELS`."""
        row = {name: getattr(self, name) for name in MODELS.names}
        row |= {name: json.dumps(row[name], sort_keys=True) for name in _JSON_COLUMNS}
        row["drift"] = None if self.drift is None else json.dumps(self.drift, sort_keys=True)
        return pa.Table.from_pylist([row], schema=MODELS)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a row of `MODELS`; columns that later versions of this package added are ignored."""
        fields = {name: row[name] for name in MODELS.names}
        fields |= {name: json.loads(fields[name]) for name in _JSON_COLUMNS}
        fields["drift"] = None if fields["drift"] is None else json.loads(fields["drift"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class TopicTables:
    """The four topic tables of a vector table."""

    location: TableLocation
    """Where the vector table is."""

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

    def since_fit(self, model: TopicModel) -> list[TopicModel]:
        """The models from the last full fit up to `model`, oldest first."""
        return [other for other in self.models() if other.base == model.base and other.version <= model.version]

    def base(self, model: TopicModel) -> TopicModel:
        """The full fit from which `model` goes on."""
        return self.since_fit(model)[0]

    def version_range(self, model: TopicModel) -> VersionRange:
        """The versions whose assignments make up those of `model`."""
        return VersionRange(model.base, model.version, tuple(other.model for other in self.since_fit(model)))

    def read(self, kind: Companion, model: TopicModel, columns: list[str] | None = None) -> pa.Table:
        """The rows that were written for one version.

        Raises:
            TopicError: the table is gone.
        """
        dataset = self.of_model(kind, model)
        with storage_errors("read", self.location.sibling(kind)):
            return dataset.to_table(columns=columns, filter=written_by(model.version, model.model))

    def save_coordinates(self, model: TopicModel, coordinates: Mapping[int, tuple[float, float]]) -> None:
        """Store where topics stand on a map: topic → `x` and `y`. The other columns of their rows stay as they are.

        Raises:
            TableError: nothing can be written there.
        """
        dataset = self.of_model("topics", model)
        rows = self.read("topics", model)
        points = [coordinates.get(topic, (None, None)) for topic in rows.column("topic").to_pylist()]
        for axis, name in enumerate(("x", "y")):
            values = pa.array([point[axis] for point in points], pa.float32())
            rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
        with storage_errors("write", self.location.sibling("topics")):
            dataset.merge_insert(["version", "model", "topic"]).when_matched_update_all().execute(aligned(rows))

    def assignments(self, model: TopicModel, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The current row of each document, batch by batch.

        Raises:
            TopicError: the table is gone.
        """
        dataset = self.of_model("topic_assignments", model)
        with storage_errors("read", self.location.sibling("topic_assignments")):
            yield from current_rows(dataset, self.version_range(model), columns)

    def of_model(self, kind: Companion, model: TopicModel) -> lance.LanceDataset:
        """The table that holds the rows of a model.

        Raises:
            TopicError: it is gone.
        """
        dataset = self.open(kind)
        if dataset is None:
            raise TopicError(f"{self.location.sibling(kind)} is gone, and with it model {model.version}: fit again")
        return dataset


def written_by(version: int, token: str) -> pc.Expression:
    """Which rows of the topic tables the operation with `token` wrote."""
    return (pc.field("version") == version) & (pc.field("model") == token)


def is_of_table(model: TopicModel, dataset: lance.LanceDataset) -> bool:
    """Whether `model` was made of this table, and not of one that was here before.

    A table keeps its fingerprint, and its version only rises.
    """
    return model.fingerprint == fingerprint_of(dataset) and model.table_version <= dataset.version


def fingerprint_of(dataset: lance.LanceDataset) -> str | None:
    """What the vectors of a table mean; None: the table does not say."""
    return (dataset.schema.metadata or {}).get(b"moee.fingerprint", b"").decode() or None
