"""Which staged rows a commit may add: whole slices that the table does not hold yet, documents under new ids.

Pure judgement against one version of the table; nothing is written here. The first of two documents with one id stays:
a row already in the table, else the row staged first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import first_alike
from pipeline.rejects import DELETED, DUPLICATE, PLACE, REJECTS, rejects
from pipeline.table.companions.deleted import deleted_rows
from pipeline.table.companions.rejects import in_table
from pipeline.table.known.ledger import held_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lance

    from pipeline.table.changes.retry import Retry
    from pipeline.table.fragments.staging import Staged
    from pipeline.table.known.ids import KnownIds
    from pipeline.table.known.ledger import Ledger
    from pipeline.table.location import TableLocation

__all__ = ["Admission", "admit", "origins"]


@dataclass(frozen=True, slots=True)
class Admission:
    """For each staged part which of its rows stay (bool [n_rows]), and the rejects (REJECTS) of the refused ones.

    Rows of a slice that somebody else committed are neither kept nor rejected: that slice is finished.
    """

    keep: list[np.ndarray]
    rejects: pa.Table
    contested: bool
    """Whether a slice was stored already."""


def admit(
    location: TableLocation,
    dataset: lance.LanceDataset,
    ledger: Ledger,
    parts: Sequence[Staged],
    *,
    unique_ids: bool = False,
    outdated: pc.Expression | None = None,
    retry: Retry | None = None,
    known: KnownIds | None = None,
) -> Admission:
    """Judge `parts` against `dataset`, up to whose version `ledger` is known.

    Args:
        location: the table, for what was deleted from it.
        dataset: its newest version.
        ledger: which slices that version holds.
        parts: what is to be committed, in the order of arrival.
        unique_ids: ids were derived from source and row: a text tells a deleted document better than its id.
        outdated: rows of the table that go in the same commit; they hold no id.
        retry: rejected rows that are tried again: not their slice but they themselves must be new to the table.
        known: the ids of that version; None: the whole table is looked through.
    """
    if not parts:
        return Admission([], REJECTS.empty_table(), contested=False)
    keys = pa.concat_tables([part.keys for part in parts])
    sizes = [part.n_rows for part in parts]
    slices = keys.column("slice").to_numpy()
    stored = ledger.is_stored(slices)
    if retry is not None:
        stored = _stored_by_row(dataset, keys, stored, retry.covers(keys))
    # Rows of slices that another commit has, or an earlier part, are neither kept nor rejected: these are finished.
    overtaken = stored | _staged_twice(slices, np.repeat(np.arange(len(parts)), sizes))
    left = np.flatnonzero(~overtaken)
    # Rows that leave in this commit hold no id any more; a row without a source cannot be one of them.
    staying = None if outdated is None else pc.field("source").is_null() | ~outdated
    is_deleted, why = deleted_rows(location, parts, keys, unique_ids=unique_ids)
    candidates = keys.append_column("is_deleted", pa.array(is_deleted)).append_column("why", why).take(pa.array(left))
    refused, rejected = _refusals(dataset, candidates, staying, known)
    keep = ~overtaken
    keep[left[refused]] = False
    return Admission(np.split(keep, np.cumsum(sizes)[:-1]), rejected, contested=bool(stored.any()))


def _stored_by_row(dataset: lance.LanceDataset, keys: pa.Table, stored: np.ndarray, again: np.ndarray) -> np.ndarray:
    """`stored` (bool [n], by slice), but for the rows in `again` whether the table holds that very row."""
    doubtful = np.flatnonzero(stored & again)
    if not len(doubtful):
        return stored
    by_row = stored.copy()
    by_row[doubtful] = in_table(dataset, keys.take(pa.array(doubtful)))
    return by_row


def _staged_twice(slices: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Rows of slices that an earlier part holds as well: a retried task delivers its work again."""
    _, first, inverse = np.unique(slices, return_index=True, return_inverse=True)
    return part != part[first][inverse]


def _may_be_held(
    dataset: lance.LanceDataset, ids: pa.Array, known: KnownIds | None
) -> tuple[np.ndarray, list[lance.LanceFragment] | None]:
    """Which of `ids` the table may hold, bool [n], and the fragments that then do; None: any."""
    if known is None:
        return np.ones(len(ids), bool), None
    mask, numbers = known.may_hold(ids)
    wanted = set(numbers.tolist())
    return mask, [each for each in dataset.get_fragments() if each.fragment_id in wanted] if wanted else []


def _refusals(
    dataset: lance.LanceDataset,
    rows: pa.Table,
    staying: pc.Expression | None,
    known: KnownIds | None,
) -> tuple[np.ndarray, pa.Table]:
    """Positions among `rows` (keys, is_deleted, why) that may not enter, and their rejects (REJECTS)."""
    ids = rows.column("id").combine_chunks()
    mask, fragments = _may_be_held(dataset, ids, known)
    holders = held_rows(dataset, ids.filter(pa.array(mask)), ["source", "row"], where=staying, fragments=fragments)
    holder = pc.index_in(ids, value_set=holders.column("id").combine_chunks())
    is_deleted = rows.column("is_deleted").to_numpy()
    taken = np.asarray(pc.is_valid(holder)) & ~is_deleted
    first = first_alike(ids)
    # Chunks of one document share its id and its place; a second document with the id has another place.
    second = ~_same_place(rows, first) & ~is_deleted & ~taken
    refusals = [
        (is_deleted, DELETED, rows.column("why").filter(pa.array(is_deleted))),
        (taken, DUPLICATE, _held_by(holders.take(holder.filter(pa.array(taken))))),
        (second, DUPLICATE, _held_by(rows.take(pa.array(first[second])))),
    ]
    rejected = [
        rejects(rows.filter(pa.array(which)), stage="commit", reason=reason, detail=detail)
        for which, reason, detail in refusals
    ]
    return np.flatnonzero(is_deleted | taken | second), pa.concat_tables(rejected)


def _same_place(rows: pa.Table, others: np.ndarray) -> np.ndarray:
    """For each row whether the row at `others` comes from the same place: it is this row, or another chunk of it."""
    pairs = [rows.column(name).to_numpy() for name in PLACE]
    return np.logical_and.reduce([values == values[others] for values in pairs])


def _held_by(rows: pa.Table) -> pa.ChunkedArray:
    """For the rejects of other documents with the ids of `rows` (source, row): where these came from, string [n]."""
    return pc.binary_join_element_wise("this id is held by ", origins(rows), "")


def origins(rows: pa.Table) -> pa.ChunkedArray:
    """Where `rows` (source, row) came from, for people: ``SOURCE:ROW``, string [n]."""
    source = pc.fill_null(rows.column("source"), "")
    return pc.binary_join_element_wise(source, rows.column("row").cast(pa.string()), ":")
