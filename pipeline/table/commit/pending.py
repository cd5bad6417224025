"""What waits for the next commit: staged rows and rejects, always of whole slices."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.rejects import REJECTS, as_of_run
from pipeline.table.changes.replacement import ReadyFiles
from pipeline.table.companions.rejects import one_per_row
from pipeline.table.fragments.staging import Staged, restage, schema_key

if TYPE_CHECKING:
    import lance

    from pipeline.table.commit.admission import Admission
    from pipeline.table.companions.files import FileRecord
    from pipeline.table.location import TableLocation

__all__ = ["Pending"]


@dataclass(slots=True)
class Pending:
    """Staged parts and rejects (REJECTS), as they arrived."""

    parts: list[Staged] = field(default_factory=list[Staged])
    rejects: list[pa.Table] = field(default_factory=list[pa.Table])
    files: list[FileRecord] = field(default_factory=list["FileRecord"])
    """Input files whose end was seen."""
    since: float = field(default_factory=time.monotonic)
    """When the first of them arrived, in monotonic seconds."""
    contested: bool = False
    """Whether another driver was seen at the same slices."""
    ready: ReadyFiles = field(default_factory=ReadyFiles)
    """Changed files whose older rows go in the same commit; their parts and rejects are among the others."""

    def add(self, ready: ReadyFiles) -> None:
        """Add changed files that are all there."""
        self.ready = ready
        self.parts += ready.parts
        self.rejects += ready.rejects

    def keep_admitted(
        self, location: TableLocation, dataset: lance.LanceDataset, admission: Admission, run: str
    ) -> None:
        """Keep what was admitted, under the present columns of `dataset`; what was refused becomes rejects."""
        layout = schema_key(dataset)
        kept = [part.keep(mask) for part, mask in zip(self.parts, admission.keep, strict=True) if mask.any()]
        self.parts = [part if part.schema_key == layout else restage(location, dataset, part) for part in kept]
        self.contested |= admission.contested
        if admission.rejects.num_rows:
            self.rejects.append(as_of_run(admission.rejects, run))

    @property
    def size(self) -> int:
        """How many rows and rejects wait."""
        return sum(part.n_rows for part in self.parts) + sum(table.num_rows for table in self.rejects)

    def slices(self) -> pa.Table:
        """The distinct slices of all rows and rejects: slice, source."""
        keys = [part.keys for part in self.parts] + self.rejects
        places = [table.select(["slice", "source"]) for table in keys] or [
            REJECTS.empty_table().select(["slice", "source"])
        ]
        joined = pa.concat_tables(
            [table.cast(pa.schema([("slice", pa.int64()), ("source", pa.string())])) for table in places]
        )
        return joined.group_by("slice").aggregate([("source", "min")]).rename_columns(["slice", "source"])

    def all_rejects(self) -> pa.Table:
        """All rejects (REJECTS), one for each slice and row."""
        return one_per_row(pa.concat_tables([REJECTS.empty_table(), *self.rejects]))
