"""Finding the documents that kill the process that works on them (segmentation fault, out of memory, exit, hang).

An engine starts a dead process again and gives it the same unit, forever. So a worker tells the `Tracker` of each unit
before it touches it. The tracker lives in or beside the driver and outlives the workers. A unit that is begun again
without having ended has lost its process. From then on its documents are taken one by one
(`pipeline.flow.poison.items`), and the tracker knows which of them was alone in flight at each further death:

    dies with a unit in flight             the unit is taken document by document
    dies with one document in flight       a strike: it may have been an accident (a lost machine, a neighbour's memory)
    strikes again                          quarantined: it goes to the rejects, the rest of the unit goes on

One by one and not by halves, because a death costs far more than a document alone: a replica is loaded again. Strikes
are written among the rejects at once, so a run after a driver that is killed goes on with the search where it was; what
turns out harmless after all is removed when the run closes (`pipeline.table.companions.rejects`).

Bounded: where a unit keeps dying and no document gets through, the run stops.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pyarrow.compute as pc

from pipeline.errors import MoeeError, RunError
from pipeline.flow.poison.items import BUILD, CALIBRATION, MAX_STRIKES, Item, reject_of
from pipeline.rejects import KILLED_ONCE, KILLER, as_of_run
from pipeline.table.companions.rejects import read_rejects, write_rejects
from pipeline.table.swap import is_superseded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.table import TableLocation

__all__ = ["Tracker"]

logger = logging.getLogger(__name__)

MAX_DEATHS: Final = 16
"""Deaths of one unit, with no document getting through in between, after which the run stops..."""

MAX_FIRST_DEATHS: Final = 8
"""...and as long as nothing at all has got through in this run."""

MAX_BUILD_DEATHS: Final = 3
"""Deaths of replicas while they are built, with none built in between, after which the run stops."""


@dataclass(slots=True)
class _Unit:
    """A unit in work."""

    careful: bool
    """Whether it is taken item by item."""
    deaths: int = 0
    """Since something new got through."""
    item: Item | None = None
    """The one that is alone in flight."""
    passed: set[Item] = field(default_factory=set[Item])
    """Those that got through alone since the unit last died with several in flight."""
    ever: set[Item] = field(default_factory=set[Item])
    """Those that ever got through alone."""


class Tracker:
    """The strikes of one run; a tracker that is lost starts again from those among the rejects.

    Args:
        location: the table whose rejects keep the strikes; None: they are kept in memory only.
        run: the run, named with each strike.
        forgive: whether to forget the strikes of earlier runs.
    """

    process = "here"
    """For a worker that shares this process."""

    def __init__(self, location: TableLocation | None, run: str, *, forgive: bool = False) -> None:
        self._location, self._run = location, run
        self._units: dict[str, _Unit] = {}
        self._strikes: dict[Item, int] = {}
        self._suspects: set[tuple[str, int | str]] = set()
        self._progress = False
        self._unbuilt = self._deaths = 0
        if location is not None and not forgive:
            self._remember(location)

    def begin(self, unit: str, stage: str, slices: Sequence[int] = (), sources: Sequence[str] = ()) -> bool:
        """See `Watch`.

        Raises:
            RunError: it died too often.
        """
        at = self._units.get(unit)
        if at is not None:
            self._died(stage, at)
        if self._unbuilt >= MAX_BUILD_DEATHS and stage == BUILD:
            raise RunError(_hopeless(stage, self._unbuilt))
        if at is not None:
            return at.careful
        known = {(stage, each) for each in (*slices, *sources)}
        self._units[unit] = _Unit(careful=not known.isdisjoint(self._suspects))
        return self._units[unit].careful

    def deaths(self) -> int:
        """How often a process has died with a unit in flight, in this run."""
        return self._deaths

    def announce(self, unit: str, item: Item) -> int:
        """See `Watch`."""
        at = self._units[unit]
        self._got_through(at)
        if _key(item) in at.passed:
            return -1
        at.item = item
        return self._strikes.get(_key(item), 0)

    def announce_many(self, unit: str) -> None:
        """See `Watch`."""
        self._got_through(self._units[unit])

    def end(self, unit: str) -> None:
        """See `Watch`."""
        self._units.pop(unit, None)
        if unit.startswith(BUILD):
            self._unbuilt = 0
        else:
            self._progress = True

    def _got_through(self, at: _Unit) -> None:
        """What was alone in flight is no longer; it got through, unless it was in quarantine."""
        item, at.item = at.item, None
        if item is None or self._strikes.get(_key(item), 0) >= MAX_STRIKES:
            return
        if _key(item) not in at.ever:
            at.deaths, self._progress = 0, True
        at.ever.add(_key(item))
        at.passed.add(_key(item))

    def _died(self, stage: str, at: _Unit) -> None:
        """A unit is taken up that had not ended."""
        self._deaths += 1
        if stage == BUILD:
            self._unbuilt += 1
            return
        at.deaths, at.careful = at.deaths + 1, True
        item, at.item = at.item, None
        if item is None:
            at.passed.clear()  # each of them got through alone, together they did not
        else:
            self._strike(item)
        if at.deaths >= (MAX_DEATHS if self._progress else MAX_FIRST_DEATHS):
            raise RunError(_hopeless(stage, at.deaths))

    def _strike(self, item: Item) -> None:
        strikes = self._strikes[_key(item)] = self._strikes.get(_key(item), 0) + 1
        self._suspect(item)
        logger.warning("%s:%d killed the process at stage %s (%d)", item.source, item.row, item.stage, strikes)
        if self._location is None or item.stage == CALIBRATION:
            return
        reason = KILLER if strikes >= MAX_STRIKES else KILLED_ONCE
        try:
            # The tracker may outlive its driver for a while, and the documents may be in the table by then.
            if not is_superseded(self._location, self._run):
                write_rejects(self._location, as_of_run(reject_of(item, reason), self._run))
        except MoeeError as error:
            logger.warning("a strike could not be written down: %s", error)

    def _remember(self, location: TableLocation) -> None:
        try:
            rows = read_rejects(location, pc.field("reason").isin([KILLER, KILLED_ONCE])).to_pylist()
        except MoeeError as error:  # what the run itself cannot do without, it will say
            logger.warning("strikes of earlier runs could not be read: %s", error)
            return
        for row in rows:
            item = Item(row["stage"], row["source"], row["slice"], row["row"])
            self._strikes[_key(item)] = MAX_STRIKES if row["reason"] == KILLER else 1
            self._suspect(item)

    def _suspect(self, item: Item) -> None:
        """From now on units with this item are taken item by item from the start."""
        self._suspects |= {(item.stage, item.slice), (item.stage, item.source)}


def _key(item: Item) -> Item:
    return item._replace(source="", id=None)


def _hopeless(stage: str, deaths: int) -> str:
    if stage == BUILD:
        return (
            f"a replica's process died {deaths} times while the model was being loaded: is there memory enough for it? "
            "A smaller model, --quantization nf4 or fewer --replicas need less"
        )
    return (
        f"a worker's process died {deaths} times in a row at stage {stage} and no document got through: "
        "too little memory, or a broken installation (`pip check`); what was committed stays"
    )
