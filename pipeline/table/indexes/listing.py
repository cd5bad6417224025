"""Which indexes a table has, and how far each of them goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipeline.table.indexes.choice import TEXT_PARAMETERS
from pipeline.table.schema import VECTOR

if TYPE_CHECKING:
    import lance

__all__ = ["IndexInfo", "has_index", "is_current_text_index", "list_indexes", "text_index", "used_index"]

_SCALAR: Final = {"BTree", "Bitmap", "LabelList"}


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """An index of a table."""

    name: str
    column: str
    kind: str
    rows: int
    """Covered."""
    missing: int
    """Rows that came later: they are compared one by one."""
    segments: int
    """Parts, each of which is searched."""
    partitions: int | None = None
    """Of a vector index: groups of similar vectors."""
    bits: int | None = None
    """Of a vector index: for each dimension."""
    is_used: bool = True
    """Whether searches use it: an index of another kind or metric may lie beside ours."""
    is_current: bool = True
    """Whether `build_indexes` would make it the same way."""

    @property
    def described(self) -> str:
        """Its kind and parameters in a few words."""
        parts = [self.kind]
        if self.partitions is not None:
            parts.append(f"{self.partitions:,} partitions" if self.partitions != 1 else "1 partition")
        if self.bits is not None:
            parts.append(f"{self.bits} bits")
        if self.segments > 1:
            parts.append(f"{self.segments} segments")
        return ", ".join(parts)


def list_indexes(dataset: lance.LanceDataset) -> list[IndexInfo]:
    """The indexes of a table, by name."""
    found = [_info(dataset, index) for index in dataset.describe_indices()]
    return sorted(found, key=lambda info: info.name)


def used_index(dataset: lance.LanceDataset, column: str) -> Any | None:
    """Lance's description of the index that searches in `column` use; None: there is none."""
    return next((index for index in dataset.describe_indices() if _is_of(index, column) and _is_used(index)), None)


def has_index(dataset: lance.LanceDataset, column: str) -> bool:
    """Whether searches in `column` use an index."""
    return used_index(dataset, column) is not None


def text_index(dataset: lance.LanceDataset) -> Any | None:
    """Lance's description of the full-text index."""
    return used_index(dataset, "text")


def is_current_text_index(index: Any) -> bool:
    """Whether a full-text index divides texts as a new one would, and has positions."""
    return all(index.details.get(name) == value for name, value in TEXT_PARAMETERS.items())


def _is_of(index: Any, column: str) -> bool:
    return list(index.field_names) == [column]


def _is_used(index: Any) -> bool:
    column, role = str(index.field_names[0]), _role(index)
    if column == VECTOR:
        return role == "Vector" and index.details.get("metric_type", "COSINE") == "COSINE"
    return role == "Inverted" if column == "text" else role in _SCALAR


def _role(index: Any) -> str:
    """``Vector``, ``Inverted``, ``BTree``, …: from the name of the message that describes an index."""
    return str(index.type_url).rsplit(".", 1)[-1].removesuffix("IndexDetails")


def _info(dataset: lance.LanceDataset, index: Any) -> IndexInfo:
    statistics: dict[str, Any] = dataset.stats.index_stats(index.name)
    parts: list[dict[str, Any]] = statistics.get("indices", [])
    first = parts[0] if parts else {}
    return IndexInfo(
        name=str(index.name),
        column=str(index.field_names[0]),
        kind=str(statistics.get("index_type", "unknown")),
        rows=int(index.num_rows_indexed),
        missing=int(statistics.get("num_unindexed_rows", 0)),
        segments=len(index.segments),
        partitions=first.get("num_partitions"),
        bits=first.get("sub_index", {}).get("num_bits"),
        is_used=_is_used(index),
        is_current=_role(index) != "Inverted" or is_current_text_index(index),
    )
