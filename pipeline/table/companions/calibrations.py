"""The calibrations beside a table: one row per hash. The table's metadata names the one in force.

It is written before the table, so that no table is without one; a creator that lost its race leaves a row that nobody
names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TableError
from pipeline.table.companions.upsert import upsert
from pipeline.table.store import open_dataset, storage_errors

if TYPE_CHECKING:
    from pipeline.embedding.calibration import Calibration
    from pipeline.table.location import TableLocation

__all__ = ["load_calibration", "store_calibration"]


def store_calibration(location: TableLocation, calibration: Calibration) -> None:
    """Write `calibration` unless it is there."""
    table = calibration.to_arrow()
    key = pa.field("hash", pa.string(), nullable=False, metadata={b"lance-schema:unenforced-primary-key": b"true"})
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
