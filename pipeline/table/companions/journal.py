"""The journal beside a table: what is staged for changed files, whose rows may only be replaced all at once.

One row per slice of a file's new version: the fragments in which its accepted rows wait, and its rejects. It is written
while the file is being read, so that a run which dies hours into a large changed file is resumed, not repeated; its
rows go after the commit that names the fragments. A fragment that the journal names is staged and no orphan
(`staged_files`). To Lance it is nobody's file, which a cleaning by whatever program takes away when it is a week old:
then its slices wait no longer, and are staged anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import from_ipc, to_ipc
from pipeline.rejects import REJECTS
from pipeline.table.companions.upsert import delete_rows, upsert
from pipeline.table.fragments.staging import Staged, fragment_paths, restage, staged_before
from pipeline.table.schema import JOURNAL
from pipeline.table.store import data_files, open_dataset, read_all, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import lance

    from pipeline.table.location import TableLocation

__all__ = [
    "count_waiting",
    "forget",
    "forget_files",
    "journal_entries",
    "read_journal",
    "rejects_in",
    "staged_files",
    "staged_in",
    "waiting_for",
    "write_journal",
]

_KEYS = ["uri", "version", "slice"]


def journal_entries(versions: Mapping[str, str], staged: Staged | None, rejects: pa.Table, run: str) -> pa.Table:
    """Rows of the journal for the slices of `staged` and `rejects` (REJECTS); `versions`: URI → version, of all."""
    held = [] if staged is None else _slices(staged.keys)
    refused = _slices(rejects)
    rows: dict[tuple[str, int], dict[str, Any]] = {
        (uri, number): {"uri": uri, "version": versions[uri], "slice": number, "fragments": [], "run": run}
        for uri, number in [*held, *refused]
    }
    for place in held:
        assert staged is not None
        rows[place] |= {"fragments": list(staged.fragments), "schema_key": staged.schema_key}
    for place in refused:
        rows[place]["rejects"] = to_ipc(rejects.filter(pc.equal(rejects.column("slice"), place[1])))
    return pa.Table.from_pylist(list(rows.values()), schema=JOURNAL)


def write_journal(location: TableLocation, entries: pa.Table) -> None:
    """Upsert by file version and slice: what is staged again takes the place of what was staged before."""
    keys = zip(*(entries.column(name).to_pylist() for name in _KEYS), strict=True)
    last = {key: at for at, key in enumerate(keys)}
    upsert(location.sibling("journal"), entries.take(pa.array(sorted(last.values()), pa.int64())), _KEYS)


def read_journal(location: TableLocation) -> pa.Table:
    """Which slices wait, in files that are still there: uri, version, slice."""
    names = [*_KEYS, "fragments"]
    rows = read_all(location.sibling("journal"), pa.schema([JOURNAL.field(name) for name in names]))
    if rows.num_rows:
        with storage_errors("look for what is staged for", location):
            there = set(data_files(location).list())
        lists = rows.column("fragments").combine_chunks()
        named = lists.flatten()
        lost = [name for name in named.unique().to_pylist() if not there.issuperset(fragment_paths((name,)))]
        owners = pc.list_parent_indices(lists).filter(pc.is_in(named, value_set=pa.array(lost, pa.string())))
        rows = rows.filter(pa.array(~np.isin(np.arange(rows.num_rows), owners.to_numpy())))
    return rows.select(_KEYS)


def count_waiting(location: TableLocation, uris: Sequence[str]) -> int:
    """How many slices of the given files wait."""
    journal = open_dataset(location.sibling("journal")) if uris else None
    with storage_errors("read", location.sibling("journal")):
        return 0 if journal is None else journal.count_rows(filter=pc.field("uri").isin(list(uris)))


def waiting_for(location: TableLocation, uris: Iterable[str], slices: np.ndarray) -> pa.Table:
    """The journal's rows (JOURNAL) for the given slices of the given files."""
    here = pc.field("uri").isin(list(uris)) & pc.field("slice").isin(pa.array(slices))
    return read_all(location.sibling("journal"), JOURNAL, here)


def rejects_in(entries: pa.Table) -> pa.Table:
    """The rejects (REJECTS) of some rows of the journal."""
    packed = [from_ipc(data) for data in entries.column("rejects").to_pylist() if data]
    return pa.concat_tables([REJECTS.empty_table(), *packed])


def staged_in(location: TableLocation, dataset: lance.LanceDataset, entries: pa.Table) -> list[Staged]:
    """What is staged for some rows of the journal, and nothing else.

    A fragment that also holds rows of other slices is written again without them. It is not masked: those may be
    committed later, and a data file must not be named twice.
    """
    groups: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for row in entries.select(["fragments", "schema_key", "slice"]).to_pylist():
        if row["fragments"]:
            groups.setdefault((tuple(row["fragments"]), row["schema_key"]), []).append(row["slice"])
    parts: list[Staged] = []
    for (fragments, schema_key), slices in groups.items():
        part = staged_before(location, dataset, fragments, schema_key)
        mine = np.isin(part.keys.column("slice").to_numpy(), np.array(slices, np.int64))
        parts.append(part if mine.all() else restage(location, dataset, part.keep(mine)))
    return parts


def forget(location: TableLocation, condition: pc.Expression) -> None:
    """Drop the rows for which `condition` holds."""
    delete_rows(location.sibling("journal"), condition)


def forget_files(location: TableLocation, uris: Iterable[str]) -> None:
    """Drop the rows of the given files."""
    if names := list(uris):
        forget(location, pc.field("uri").isin(names))


def staged_files(location: TableLocation) -> set[str]:
    """The data files, by name, that the journal names: they are no orphans."""
    journal = open_dataset(location.sibling("journal"))
    if journal is None:
        return set()
    named: set[str] = set()
    with storage_errors("read", location.sibling("journal")):
        for batch in journal.scanner(columns=["fragments"]).to_batches():
            named.update(fragment_paths(tuple(batch.column(0).flatten().unique().to_pylist())))
    return named


def _slices(table: pa.Table) -> list[tuple[str, int]]:
    """The distinct (source, slice), sorted."""
    pairs = table.select(["source", "slice"]).group_by(["source", "slice"]).aggregate([])
    return sorted(zip(pairs.column("source").to_pylist(), pairs.column("slice").to_pylist(), strict=True))
