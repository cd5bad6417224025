"""The parcel: a batch of whole slices as one row of a table, so that an engine can neither split nor merge it.

Tables travel as Arrow IPC bytes in binary columns: whatever metadata columns a corpus has, all parcels have the same
schema, and nothing is converted on the way.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import from_ipc, is_among, to_ipc
from pipeline.corpus import FileRecord
from pipeline.flow.watching.effort import Effort
from pipeline.rejects import PLACE, REJECTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Parcel", "concat"]

_SCHEMA = pa.schema(
    [
        ("rows", pa.large_binary()),
        ("tokens", pa.large_binary()),
        ("rejects", pa.large_binary()),
        ("files", pa.string()),
        ("n_units", pa.int64()),
        ("n_read", pa.int64()),
        ("n_tokens", pa.int64()),
        ("begun", pa.float64()),
        ("misfits", pa.string()),
        ("effort", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Parcel:
    """What happened to a batch of slices so far."""

    rows: pa.Table
    """Documents, then table rows, then the description of written fragments."""
    rejects: pa.Table
    files: tuple[FileRecord, ...] = ()
    """Files that end with it."""
    tokens: pa.Table | None = None
    """The tokenized documents, until they are embedded."""
    n_units: int = 0
    """Work units that end with it."""
    n_read: int = 0
    """Rows of input that it stands for."""
    n_tokens: int = 0
    """Tokens embedded."""
    begun: float = math.inf
    """When a replica took it up, in seconds since 1970; infinite until then."""
    misfits: Mapping[str, int] = field(default_factory=dict[str, int])
    """Metadata column → how many of its values were left out because they did not fit."""
    effort: Effort = field(default_factory=Effort)
    """What it took so far."""

    def to_block(self) -> pa.Table:
        """One row of a dataset."""
        return pa.table(
            {
                "rows": [to_ipc(self.rows)],
                "tokens": [b"" if self.tokens is None else to_ipc(self.tokens)],
                "rejects": [to_ipc(self.rejects)],
                "files": [json.dumps([asdict(record) for record in self.files])],
                "n_units": [self.n_units],
                "n_read": [self.n_read],
                "n_tokens": [self.n_tokens],
                "begun": [self.begun],
                "misfits": [json.dumps(self.misfits)],
                "effort": [json.dumps(asdict(self.effort))],
            },
            schema=_SCHEMA,
        )

    @classmethod
    def from_block(cls, block: pa.Table) -> Iterator[Self]:
        """The parcels in some rows of a dataset."""
        for index in range(block.num_rows):
            row: dict[str, Any] = {name: block.column(name)[index] for name in _SCHEMA.names}
            tokens = row["tokens"].as_buffer()
            yield cls(
                rows=from_ipc(row["rows"].as_buffer()),
                rejects=from_ipc(row["rejects"].as_buffer()),
                files=tuple(FileRecord(**record) for record in json.loads(row["files"].as_py())),
                tokens=from_ipc(tokens) if tokens.size else None,
                n_units=row["n_units"].as_py(),
                n_read=row["n_read"].as_py(),
                n_tokens=row["n_tokens"].as_py(),
                begun=row["begun"].as_py(),
                misfits=json.loads(row["misfits"].as_py()),
                effort=Effort(**json.loads(row["effort"].as_py())),
            )

    def embedded(self, rows: pa.Table, rejects: pa.Table, begun: float, effort: Effort) -> Parcel:
        """The parcel with table rows in place of its documents and tokens."""
        return replace(
            self,
            rows=rows,
            rejects=pa.concat_tables([self.rejects, rejects]),
            tokens=None,
            n_tokens=pc.sum(rows.column("n_tokens")).as_py() or 0,
            begun=begun,
            effort=self.effort + effort,
        )

    def take(self, rows: Sequence[int]) -> Parcel:
        """Only the documents at `rows`, and nothing of what else happened to the batch."""
        at = pa.array(rows, pa.int64())
        tokens = None if self.tokens is None else self.tokens.take(at)
        return replace(
            self, rows=self.rows.take(at), rejects=self.rejects.slice(0, 0), tokens=tokens, files=(), misfits={}
        )

    def without(self, rejects: pa.Table) -> Parcel:
        """The parcel with the rows of the same slice and row as `rejects` among its rejects."""
        kept = self.rows.filter(pa.array(~is_among(self.rows, rejects, PLACE)))
        return replace(self, rows=kept, rejects=pa.concat_tables([self.rejects, rejects]))

    def written(self, description: pa.Table, effort: Effort) -> Parcel:
        """The parcel with the description of written fragments in place of its rows."""
        return replace(self, rows=description, effort=self.effort + effort)


def concat(parcels: Sequence[Parcel]) -> Parcel:
    """Several parcels as one."""
    if len(parcels) == 1:
        return parcels[0]
    return Parcel(
        rows=pa.concat_tables([parcel.rows for parcel in parcels]),
        rejects=pa.concat_tables([parcel.rejects for parcel in parcels] or [REJECTS.empty_table()]),
        files=tuple(record for parcel in parcels for record in parcel.files),
        n_units=sum(parcel.n_units for parcel in parcels),
        n_read=sum(parcel.n_read for parcel in parcels),
        n_tokens=sum(parcel.n_tokens for parcel in parcels),
        begun=min(parcel.begun for parcel in parcels),
        misfits=sum((Counter(parcel.misfits) for parcel in parcels), Counter[str]()),
        effort=Effort.total(parcel.effort for parcel in parcels),
    )
