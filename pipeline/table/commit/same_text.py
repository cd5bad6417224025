"""Later documents with the same text, for tables that hold every text once.

A judgement beside `pipeline.table.commit.admission`, made against the same version: the first document with a text
stays. It reads the texts of what is to be committed back from their staged files, a part at a time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import first_alike
from pipeline.errors import UsageError
from pipeline.rejects import COPY, rejects
from pipeline.table.changes.retry import copy_detail
from pipeline.table.commit.admission import origins
from pipeline.table.companions.deleted import text_marks
from pipeline.table.fragments.staging import staged_column
from pipeline.table.known.texts import KnownTexts
from pipeline.table.schema import document_column
from pipeline.table.store import open_dataset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import lance

    from pipeline.table.commit.admission import Admission
    from pipeline.table.fragments.staging import Staged
    from pipeline.table.location import TableLocation

__all__ = ["SameText"]


class SameText:
    """Refuses later copies in the commits of one table.

    Raises:
        UsageError: the table stores no texts, or only chunks of them.
    """

    def __init__(self, location: TableLocation) -> None:
        dataset = open_dataset(location)
        if dataset is not None and document_column(dataset.schema) != "id":
            raise UsageError(f"{location} stores documents in chunks: it has no whole texts to compare with")
        self._location, self._known = location, KnownTexts(location)

    def refuse(
        self,
        dataset: lance.LanceDataset,
        parts: Sequence[Staged],
        admission: Admission,
        exchanged: Mapping[str, np.ndarray],
    ) -> Admission:
        """`admission` without the rows whose text `dataset`, or an earlier row of the commit, has.

        Args:
            dataset: the version that `parts` are judged against.
            parts: what is to be committed.
            admission: what was made of them so far.
            exchanged: files of which only the rows of these slices stay in the table.
        """
        self._known.refresh(dataset)
        judged = [
            self._judge(part, keep, exchanged) for part, keep in zip(parts, admission.keep, strict=True) if part.n_rows
        ]
        rows = pa.concat_tables(judged) if judged else pa.table({})
        if not rows.num_rows:
            return admission
        rows = _with_earlier_rows(rows)
        refused = np.asarray(pc.is_valid(rows.column("holder")))
        keep = np.concatenate(admission.keep)
        keep[np.flatnonzero(keep)[refused]] = False
        sizes = np.cumsum([part.n_rows for part in parts])[:-1]
        copies = rows.filter(pa.array(refused))
        rejected = rejects(
            copies,
            stage="commit",
            reason=pc.binary_join_element_wise(COPY, copies.column("holder"), ""),
            detail=copy_detail(copies.column("place"), copies.column("mark")),
        )
        together = pa.concat_tables([admission.rejects, rejected])
        return replace(admission, keep=np.split(keep, sizes), rejects=together)

    def _judge(self, part: Staged, keep: np.ndarray, exchanged: Mapping[str, np.ndarray]) -> pa.Table:
        """The rows to keep (`KEYS`), the marks of their texts, and which document of the table has the text."""
        rows = part.keys.filter(pa.array(keep))
        texts = staged_column(self._location, part, "text").filter(pa.array(keep)).combine_chunks()
        stored = _staying(self._known.find(texts.unique(), ["id", "source", "slice", "row"]), exchanged)
        at = pc.index_in(texts, value_set=stored.column("text").combine_chunks().cast(texts.type))
        return (
            rows.append_column("mark", text_marks(texts))
            .append_column("holder", stored.column("id").take(at))
            .append_column("place", origins(stored).take(at))
        )


def _staying(stored: pa.Table, exchanged: Mapping[str, np.ndarray]) -> pa.Table:
    if not exchanged:
        return stored
    of_files = pc.fill_null(pc.is_in(stored.column("source"), value_set=pa.array(list(exchanged), pa.string())), False)
    current = pc.is_in(stored.column("slice"), value_set=pa.array(np.concatenate(list(exchanged.values())), pa.int64()))
    return stored.filter(pc.or_(pc.invert(of_files), current))


def _with_earlier_rows(rows: pa.Table) -> pa.Table:
    """`rows`, where those whose text no document of the table has, but an earlier row, name that row."""
    first = first_alike(rows.column("mark"))
    later = pa.array(first != np.arange(rows.num_rows))
    earlier = rows.take(pa.array(first))
    for name, value in (("holder", earlier.column("id")), ("place", origins(earlier))):
        filled = pc.coalesce(rows.column(name), pc.if_else(later, value, None))
        rows = rows.set_column(rows.schema.get_field_index(name), name, filled)
    return rows
