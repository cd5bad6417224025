"""Later copies of a text, for tables that shall hold every text once: who has it already, in the table or before it.

A judgement beside `pipeline.table.commit.admission`, made against the same version: whoever came first stays. It reads
the texts of what is to be committed back from their staged files, a part at a time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.table.companions.rejects import COPY
from pipeline.table.fragments.staging import staged_column
from pipeline.table.known.texts import OTHER_KEY, KnownTexts, text_hashes
from pipeline.table.schema import REJECTS, document_column
from pipeline.table.store import open_dataset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import lance

    from pipeline.table.commit.admission import Admission
    from pipeline.table.fragments.staging import Staged
    from pipeline.table.location import TableLocation

__all__ = ["Copies"]


class Copies:
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
        rows = _with_twins(rows.combine_chunks())
        refused = np.asarray(pc.is_valid(rows.column("holder")))
        keep = np.concatenate(admission.keep)
        keep[np.flatnonzero(keep)[refused]] = False
        sizes = np.cumsum([part.n_rows for part in parts])[:-1]
        rejects = pa.concat_tables([admission.rejects, _rejects(rows.filter(pa.array(refused)))])
        return replace(admission, keep=np.split(keep, sizes), rejects=rejects)

    def _judge(self, part: Staged, keep: np.ndarray, exchanged: Mapping[str, np.ndarray]) -> pa.Table:
        """The rows to keep (`KEYS`) with the hashes of their texts, and who in the table has the text, else null."""
        rows = part.keys.filter(pa.array(keep))
        texts = staged_column(self._location, part, "text").filter(pa.array(keep)).combine_chunks()
        stored = _staying(self._known.find(texts.unique(), ["id", "source", "slice", "row"]), exchanged)
        at = pc.index_in(texts, value_set=stored.column("text").combine_chunks().cast(texts.type))
        return (
            rows.append_column("hash", pa.array(text_hashes(texts)))
            .append_column("other", pa.array(text_hashes(texts, OTHER_KEY)))
            .append_column("holder", stored.column("id").take(at))
            .append_column("place", _places(stored).take(at))
        )


def _staying(stored: pa.Table, exchanged: Mapping[str, np.ndarray]) -> pa.Table:
    if not exchanged:
        return stored
    of_files = pc.fill_null(pc.is_in(stored.column("source"), value_set=pa.array(list(exchanged), pa.string())), False)
    current = pc.is_in(stored.column("slice"), value_set=pa.array(np.concatenate(list(exchanged.values())), pa.int64()))
    return stored.filter(pc.or_(pc.invert(of_files), current))


def _with_twins(rows: pa.Table) -> pa.Table:
    """`rows` where those that nobody in the table holds, but an earlier row, name that one."""
    pairs = np.stack([rows.column(name).to_numpy() for name in ("hash", "other")], axis=1)
    _, first, inverse = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    of_each = first[inverse.ravel()]
    later = pa.array(of_each != np.arange(rows.num_rows))
    earlier = rows.take(pa.array(of_each))
    for name, value in (("holder", earlier.column("id")), ("place", _places(earlier))):
        filled = pc.coalesce(rows.column(name), pc.if_else(later, value, None))
        rows = rows.set_column(rows.schema.get_field_index(name), name, filled)
    return rows


def _places(rows: pa.Table) -> pa.ChunkedArray:
    source = pc.fill_null(rows.column("source"), "")
    return pc.binary_join_element_wise(source, rows.column("row").cast(pa.string()), ":")


def _rejects(rows: pa.Table) -> pa.Table:
    count = rows.num_rows
    columns = {
        **{name: rows.column(name) for name in ("id", "source", "slice", "row")},
        "stage": pa.array(["commit"] * count, pa.string()),
        "reason": pc.binary_join_element_wise(COPY, rows.column("holder"), ""),
        "detail": pc.utf8_slice_codeunits(
            pc.binary_join_element_wise("the same text as ", rows.column("place"), ""), 0, 500
        ),
        "run": pa.nulls(count, pa.string()),
        "slice_rows": pa.array(np.zeros(count, np.int32)),
    }
    return pa.table(columns, schema=REJECTS)
