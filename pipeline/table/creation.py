"""Making a table: the calibration first, then the table that names it; the first to commit wins.

``NAME.calibration`` has one row per hash, and the table's metadata names the one in force. A creator that dies in
between leaves a row that nobody names. One that loses its race opens the winner's table; whether the two agree is for
the caller to compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TableError, UsageError
from pipeline.rejects import KEY
from pipeline.spec import fingerprint_of
from pipeline.table.companions.upsert import upsert
from pipeline.table.location import COMPANIONS
from pipeline.table.schema import schema_metadata, table_schema
from pipeline.table.store import create_dataset, open_dataset, storage_errors, table_names

if TYPE_CHECKING:
    import lance

    from pipeline.embedding.calibration import Calibration
    from pipeline.spec import EmbeddingSpec, Meaning
    from pipeline.table.location import TableLocation

__all__ = ["create_table", "load_calibration", "store_calibration", "whats_there"]


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


def store_calibration(location: TableLocation, calibration: Calibration) -> None:
    """Write `calibration` unless it is there."""
    table = calibration.to_arrow()
    key = pa.field("hash", pa.string(), nullable=False, metadata=KEY)
    schema = pa.schema([key if field.name == "hash" else field for field in table.schema])
    upsert(location.sibling("calibration"), pa.Table.from_arrays(table.columns, schema=schema), ["hash"])


def load_calibration(location: TableLocation, wanted: str) -> Calibration:
    """The calibration with the hash `wanted`.

    Raises:
        TableError: there is none.
    """
    from pipeline.embedding.calibration import Calibration

    if not wanted:
        raise TableError(f"the vectors in {location} were made elsewhere: there is no calibration to encode text with")
    dataset = open_dataset(location.sibling("calibration"))
    if dataset is not None:
        with storage_errors("read the calibration of", location):
            found = dataset.to_table(filter=pc.field("hash") == wanted)
        if found.num_rows:
            return Calibration.from_arrow(found.slice(0, 1).combine_chunks())
    raise TableError(f"{location}.calibration does not hold {wanted}, which the vectors were made with: restore it")
