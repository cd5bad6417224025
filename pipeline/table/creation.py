"""Making a table: the calibration first, then the table that names it; the first to commit wins.

A creator that dies in between leaves a calibration that nobody names. One that loses its race opens the winner's
table; whether the two agree is for the caller to compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError
from pipeline.spec import fingerprint_of
from pipeline.table.companions.calibrations import store_calibration
from pipeline.table.location import COMPANIONS
from pipeline.table.schema import schema_metadata, table_schema
from pipeline.table.store import create_dataset, open_dataset, table_names

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

    from pipeline.embedding.calibration import Calibration
    from pipeline.spec import EmbeddingSpec, Meaning
    from pipeline.table.location import TableLocation

__all__ = ["create_table", "whats_there"]


def create_table(
    location: TableLocation,
    spec: EmbeddingSpec,
    meaning: Meaning,
    calibration: Calibration | None,
    halves: tuple[int, int],
    *,
    keep: pa.Schema | None,
    with_text: bool,
    reader: dict[str, Any],
) -> lance.LanceDataset:
    """The table, made here or by whoever was first; arguments as in `VectorTable.create`."""
    from pipeline.embedding.combine import dimension

    companion = location.name.rpartition(".")[2]
    if "." in location.name and companion in COMPANIONS:
        raise UsageError(f"{location}: names ending in .{companion} belong to other tables' companions")
    calibration_hash = "" if calibration is None else calibration.hash
    metadata = schema_metadata(
        spec=spec.model_dump_json(),
        meaning=meaning,
        calibration=calibration_hash,
        fingerprint=fingerprint_of(meaning, calibration_hash),
        reader=reader,
        halves=halves,
    )
    dim = dimension(spec.combine or "sum", *halves)
    schema = table_schema(dim, keep, metadata, with_text=with_text, chunked=bool(reader.get("chunk")))
    if calibration is not None and open_dataset(location) is None:
        store_calibration(location, calibration)
    return create_dataset(location, schema)[0]


def whats_there(location: TableLocation) -> str:
    """What the location's directory holds instead, for an error message."""
    names = [name for name in table_names(location) if name.rpartition(".")[2] not in COMPANIONS]
    return f"{location.directory} has {', '.join(names[:20])}" if names else f"{location.directory} has no tables"
