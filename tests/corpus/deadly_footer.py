"""A Parquet file of which Arrow reads the schema, and at whose row groups it calls abort()."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 4
SOUND, DEADLY = bytes([0x19, 0x26, 0, 2 * ROWS]), bytes([0x19, 0x36, 0, 2 * ROWS, 0])
"""A histogram of the definition levels of a column without nulls in Thrift's compact protocol, and one level more."""


def write(path, prefix="k"):
    """Write it: `ROWS` documents with ids and texts."""
    names = [f"{prefix}{row}" for row in range(ROWS)]
    out = io.BytesIO()
    pq.write_table(pa.table({"id": names, "text": [f"w{row}" for row in range(ROWS)]}), out)
    data = out.getvalue()
    at = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = data[at:-8].replace(SOUND, DEADLY)
    assert footer != data[at:-8]
    path.write_bytes(data[:at] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return path
