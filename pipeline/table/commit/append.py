"""Append and audit: how a table of very many fragments is added to, where compare-and-swap would cost seconds.

Lance's Append costs the same whatever the table holds, but lands on top of anything. So it is looked at afterwards:

    1 intend  names of our files into the table's configuration, under a key of the run     dies: nothing has happened
    2 append  on the version that 1 made, if that one followed ours at once; else start anew dies: 3 is owed, 1 says so
    3 audit   if anything landed between 1 and 2: of all rows with one id the oldest stays;
              the others go in one compare-and-swap, as rejects where they are other documents dies: 3 is owed

What is owed is done by the next `repair`, which every run begins with. The debt is forgotten by its debtor, or by
`settle`: a debtor that seems dead may only have slept between 1 and 2. An audit asks only what the table holds, so it
may be repeated, and two drivers that audit each other come to the same result: the row with the lowest address is the
oldest for both. For the moment between 2 and 3 a row can be seen twice. An answer that was lost and arrives late, after
a second attempt, is a twin like any other.

Orphan collection cannot come in between: its fence is a Merge, with which an Append conflicts.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lance.commit import CommitConflictError
from lance.fragment import FragmentMetadata

from pipeline.errors import CommitError
from pipeline.table.companions.rejects import DUPLICATE, one_per_row, write_rejects
from pipeline.table.fragments.deletion_files import without_rows
from pipeline.table.fragments.staging import fragment_paths
from pipeline.table.places import described, first_alike, same_place
from pipeline.table.schema import REJECTS, document_column
from pipeline.table.store import commit_fragments, fence, is_conflict, open_dataset, storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.table.location import TableLocation

__all__ = ["append", "audit", "forget", "owed", "repair", "settle"]

logger = logging.getLogger(__name__)

_INTENT: Final = "moee.append."
_ATTEMPTS: Final = 50
_BATCH: Final = 131_072
_HARMLESS: Final = (lance.LanceOperation.UpdateConfig, lance.LanceOperation.CreateIndex, lance.LanceOperation.Rewrite)
"""Transactions that bring no rows."""


def reached(step: str) -> None:
    """Note that the protocol has come to `step`; the crash tests die here."""
    logger.debug("append: %s", step)


def append(
    location: TableLocation, dataset: lance.LanceDataset, fragments: Sequence[str], run: str, message: str
) -> bool:
    """Add `fragments` (JSON) to the table of which `dataset` shows a version; False if it has moved on since.

    Raises:
        TableError: the storage refused, and the fragments are not in the table.
    """
    with storage_errors("commit to", location):
        based = _intend(dataset, fragments, run)
        if based is None:
            return False
        reached("intended")
        try:
            version = _append(location, based, fragments, message)
        except CommitConflictError:
            return False
        reached("appended")
        if version is None or _brought_rows(location, based, version):
            audit(location, fragments, run)
    return True


def repair(location: TableLocation, run: str) -> int:
    """Audit what others have appended and not said to be audited; returns how many rows were dropped.

    Raises:
        TableError: the storage refused.
    """
    return sum(audit(location, fragments, run) for fragments in owed(location).values())


def settle(location: TableLocation, run: str) -> int:
    """`repair`, and forget what was owed; returns how many rows were dropped.

    A commit comes first that changes nothing, and with which whatever was intended and is still to come conflicts.

    Raises:
        TableError: the storage refused.
    """
    debts = owed(location)
    if not debts:
        return 0
    fence(location, f"moee {run}: fence")
    dropped = 0
    for debtor, fragments in debts.items():
        dropped += audit(location, fragments, run)
        forget(location, debtor, fragments)
    return dropped


def owed(location: TableLocation) -> dict[str, list[str]]:
    """The last appends (fragments, JSON) of runs that have not said that they are audited, by run."""
    dataset = open_dataset(location)
    config = {} if dataset is None else dataset.config()
    return {key.removeprefix(_INTENT): json.loads(text) for key, text in config.items() if key.startswith(_INTENT)}


def forget(location: TableLocation, run: str, fragments: Sequence[str] | None = None) -> None:
    """Remove the intent of a run whose last append, if given that of `fragments`, has been audited."""
    key = f"{_INTENT}{run}"

    def is_there(dataset: lance.LanceDataset | None) -> bool:
        text = None if dataset is None else dataset.config().get(key)
        return text is not None and (fragments is None or json.loads(text) == list(fragments))

    dataset = open_dataset(location)
    if dataset is None or not is_there(dataset):
        return
    with storage_errors("write to", location):
        try:
            dataset.delete_config_keys([key])
        except OSError as error:
            if not is_conflict(error):  # with a newer intent of the same run, which stays
                raise


def audit(location: TableLocation, fragments: Sequence[str], run: str) -> int:
    """Step 3 for `fragments` (JSON); returns how many rows were dropped."""
    files = set(fragment_paths(tuple(fragments)))
    for _ in range(_ATTEMPTS):
        dataset = open_dataset(location)
        twins = pa.table({}) if dataset is None else _twins(dataset, files)
        if dataset is None or not twins.num_rows:
            return 0
        write_rejects(location, _rejects(twins, run))
        thinned = without_rows(location, dataset, twins.column("_rowaddr").to_numpy().astype(np.int64))
        if commit_fragments(location, dataset, thinned, f"moee {run}: audit"):
            logger.warning("dropped %d rows of %s that another driver had committed too", twins.num_rows, location)
            return twins.num_rows
    raise CommitError(f"{location} was changed by others during {_ATTEMPTS} attempts to audit it: try again")


def _intend(dataset: lance.LanceDataset, fragments: Sequence[str], run: str) -> lance.LanceDataset | None:
    """Step 1; the version that it made, or None if there were others since `dataset`."""
    expected = dataset.version + 1
    try:
        dataset.update_config({f"{_INTENT}{run}": json.dumps(list(fragments))})
    except OSError as error:
        if not is_conflict(error):
            raise
        return None
    return dataset if dataset.version == expected else None


def _append(location: TableLocation, dataset: lance.LanceDataset, fragments: Sequence[str], message: str) -> int | None:
    """Step 2; the version that it made, None if unknown."""
    operation = lance.LanceOperation.Append([FragmentMetadata.from_json(fragment) for fragment in fragments])
    try:
        made = lance.LanceDataset.commit(
            location.uri,
            operation,
            read_version=dataset.version,
            storage_options=dict(location.options) or None,
            commit_message=message,
        )
    except CommitConflictError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        newest = open_dataset(location)
        if newest is None or not _present(newest, set(fragment_paths(tuple(fragments)))):
            raise
        logger.warning("commit to %s reported a failure but is in place: %s", location, error)
        return None
    return made.version


def _brought_rows(location: TableLocation, based: lance.LanceDataset, version: int) -> bool:
    """Whether a transaction between the two versions may have brought rows; what cannot be read may."""
    newest = based if version == based.version + 1 else open_dataset(location)
    for between in range(based.version + 1, version):
        try:
            transaction: Any = newest.read_transaction(between) if newest is not None else None
        except (OSError, ValueError):
            return True
        if transaction is None or not isinstance(transaction.operation, _HARMLESS):
            return True
    return False


def _present(dataset: lance.LanceDataset, files: set[str]) -> list[lance.LanceFragment]:
    return [each for each in dataset.get_fragments() if any(str(f.path) in files for f in each.metadata.files)]


def _twins(dataset: lance.LanceDataset, files: set[str]) -> pa.Table:
    """The rows that must go: those of the documents in `files` that the table holds already.

    Of one document's rows those from the place of the oldest stay, and of these the oldest of each id. Columns id (of
    the document), source, slice, row, _rowaddr, and `holder`: where the oldest came from, null for the same place.
    """
    ours = _present(dataset, files)
    document = document_column(dataset.schema)
    columns = {"id": document, "part": "id", "source": "source", "slice": "slice", "row": "row"}
    if not ours:
        return pa.table({})
    wanted = dataset.scanner(columns=[document], fragments=ours).to_table().column(0).unique()
    scanner = dataset.scanner(columns=columns, with_row_address=True, batch_size=_BATCH)
    found = [batch.filter(pc.is_in(batch.column("id"), value_set=wanted)) for batch in scanner.to_batches()]
    rows = pa.Table.from_batches(found).sort_by("_rowaddr").combine_chunks()
    oldest = first_alike(rows.column("id"))
    elsewhere = ~same_place(rows, oldest)
    again = first_alike(rows.column("part")) != np.arange(rows.num_rows)
    holders = pc.if_else(pa.array(elsewhere), described(rows.take(pa.array(oldest))), None)
    return rows.append_column("holder", holders).filter(pa.array(elsewhere | again))


def _rejects(twins: pa.Table, run: str) -> pa.Table:
    """The rejects (REJECTS) of the twins that are documents of their own."""
    others = twins.filter(pc.is_valid(twins.column("holder")))
    count = others.num_rows
    text = {"stage": "commit", "reason": DUPLICATE, "run": run}
    columns = {
        **{name: others.column(name) for name in ("id", "source", "slice", "row")},
        **{name: pa.array([value] * count, pa.string()) for name, value in text.items()},
        "detail": others.column("holder"),
        "slice_rows": pa.array(np.zeros(count, np.int32)),
    }
    return one_per_row(pa.table({name: columns[name] for name in REJECTS.names}, schema=REJECTS))
