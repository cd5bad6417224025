"""Items, and how a worker goes through them one by one after its process has died.

An item is a document or a slice at a stage. A worker tells the tracker of each item before it touches it (`Watch`);
what the tracker has quarantined becomes a reject. The rules by which it does: `pipeline.flow.poison.tracker`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

import pyarrow as pa

from pipeline.rejects import KILLER, REJECTS, slice_rejects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["BUILD", "CALIBRATION", "MAX_STRIKES", "Item", "Watch", "items_of", "killed", "one_by_one", "reject_of"]

T = TypeVar("T")

BUILD: Final = "build"
CALIBRATION: Final = "calibration"
"""Stages of the tracker that are none of a document."""

MAX_STRIKES: Final = 2
"""Deaths alone in flight after which an item is quarantined."""


class Item(NamedTuple):
    """A document, or with `row` -1 a slice, at a stage (read, embed, commit)."""

    stage: str
    source: str
    slice: int
    row: int
    id: str | None = None


class Watch(Protocol):
    """What a worker tells the tracker. All calls return only when the tracker knows."""

    @property
    def process(self) -> str:
        """The name of the process that tells: the same before and after it died."""
        ...

    def begin(self, unit: str, stage: str, slices: Sequence[int] = (), sources: Sequence[str] = ()) -> bool:
        """A unit, of these slices or of whole `sources`, is taken up; whether it must be taken item by item."""
        ...

    def announce(self, unit: str, item: Item) -> int:
        """`item`, and nothing else, is about to be worked on: how often it died of that; -1: it got through before."""
        ...

    def announce_many(self, unit: str) -> None:
        """From here on several items are worked on at once."""
        ...

    def end(self, unit: str) -> None:
        """The unit's outcome is complete."""
        ...


def one_by_one(
    watch: Watch, unit: str, items: Mapping[Item, Sequence[int]], work: Callable[[Sequence[int]], T]
) -> tuple[list[tuple[Sequence[int], T]], list[Item]]:
    """Work item by item.

    Args:
        watch: told of each item before it is touched.
        unit: to which they belong; it has begun.
        items: each with its rows, as from `items_of`.
        work: does it, for some rows.

    Returns:
        Pairs of rows and what `work` made of them, and the quarantined items. What got through in an earlier
        attempt comes last, together.
    """
    made: list[tuple[Sequence[int], T]] = []
    quarantined: list[Item] = []
    known: list[int] = []
    for item, rows in items.items():
        strikes = watch.announce(unit, item)
        if strikes >= MAX_STRIKES:
            quarantined.append(item)
        elif strikes < 0:
            known += rows
        else:
            made.append((rows, work(rows)))
    watch.announce_many(unit)
    if known:
        made.append((known, work(known)))
    return made, quarantined


def items_of(documents: pa.Table, stage: str) -> dict[Item, list[int]]:
    """The documents (id, source, slice, row) as items, each with its rows: chunks of a document stay together."""
    columns = [documents.column(name).to_pylist() for name in ("source", "slice", "row", "id")]
    found: dict[Item, list[int]] = {}
    firsts: dict[tuple[int, int], Item] = {}
    for at, (source, slice_, row, identifier) in enumerate(zip(*columns, strict=True)):
        item = firsts.setdefault((slice_, row), Item(stage, source, slice_, row, identifier))
        found.setdefault(item, []).append(at)
    return found


def killed(items: Iterable[Item]) -> pa.Table:
    """The rejects (REJECTS) of quarantined items."""
    return pa.concat_tables([REJECTS.empty_table(), *(reject_of(item, KILLER) for item in items)])


def reject_of(item: Item, reason: str) -> pa.Table:
    """One reject."""
    what = "document" if item.row >= 0 else "part of the file"
    detail = f"the process died while it had this {what} alone at stage {item.stage}"
    return slice_rejects([(item.row, item.id, reason, detail)], item.source, item.slice, item.stage)
