"""All orders of the steps of some drivers, with a death of any of them at any step.

A path is a list of choices: which driver takes its next step, or dies before it. Each path runs from the start, in a
copy of a prepared directory. It ends where it comes to a state that was seen before. A state is what the store holds,
and for each driver that is alive what it has seen: all that it will do depends on these. Paths on which drivers take
turns least often come first: most faults need few turns.
"""

from __future__ import annotations

import heapq
import re
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from runs import embed, plan
from stepping import Driver, stepping
from store_state import Store, digest

from pipeline.errors import MoeeError
from pipeline.table import TableLocation
from pipeline.table.store import open_dataset
from pipeline.table.swap import epoch_of, is_conflict

NAME = "lab"
DIES = " dies"
MEMORY = Path("/dev/shm")


@dataclass
class Result:
    """What was explored of a scenario."""

    scenario: str
    steps: int = 0
    """Of the longest path."""
    states: int = 0
    transitions: int = 0
    deaths: int = 0
    paths: int = 0
    endings: int = 0
    """Different contents from which recovering runs were started."""
    violations: dict = field(default_factory=dict)
    """What was violated → the path that shows it first."""
    stopped: dict = field(default_factory=dict)
    """How drivers were stopped by others → how often."""
    seconds: float = 0.0
    left: int = 0
    """Choices that were not followed, for lack of time or beyond the bound of turns."""

    @property
    def is_whole(self):
        return not self.left


class Running:
    """One path while it is taken: the store in `folder`, and the drivers."""

    def __init__(self, scenario, folder, stops_at, known):
        self.folder, self.location = folder, TableLocation.parse(str(folder / NAME))
        self.taken, self.trace, self.checks = [], [], scenario.checks()
        scenario.begin(self.location)
        self.store = Store(folder, NAME, self.checks.see, lambda: tuple(self.taken), known)
        self.drivers = {
            name: Driver(name, lambda name=name, program=program: program(self.location, name), self.store, stops_at)
            for name, program in scenario.drivers.items()
        }
        self._one_at_a_time = scenario.one_at_a_time

    @property
    def state(self):
        drivers = [
            (name, (each.point, each.seen) if each.end is None else each.end == "finished")
            for name, each in self.drivers.items()
        ]
        return digest(self.store.print, drivers)

    def choices(self, *, deaths):
        """What can come next; first of all, that the same driver goes on."""
        alive = [driver for driver in self.drivers.values() if driver.end is None]
        if self._one_at_a_time:
            alive = [each for each in alive if each.point != "start"] or alive
        names = sorted((driver.name for driver in alive), key=lambda name: name not in self.taken[-1:])
        return names + [name + DIES for name in names if deaths]

    def take(self, choice):
        driver = self.drivers[choice.removesuffix(DIES)]
        assert driver.end is None, f"{choice}, but it has ended: the same path has not led to the same state"
        self.taken.append(choice)
        self.trace.append(f"{choice}: {driver.point}")
        driver.die() if choice.endswith(DIES) else driver.advance()
        if isinstance(driver.end, BaseException):
            self._judge(driver)

    def stopped(self):
        return [type(each.end).__name__ for each in self.drivers.values() if isinstance(each.end, BaseException)]

    def _judge(self, driver):
        """A driver may be stopped by another one that took over, and by nothing else."""
        is_fenced = epoch_of(open_dataset(self.location)) != driver.name
        if not isinstance(driver.end, MoeeError) or not (is_fenced or is_conflict(driver.end)):
            self.checks.violate(f"{driver.name} ended with {_short(driver.end)}")


class Explorer:
    """Explores one scenario (`scenarios.Scenario`).

    Args:
        scenario: which.
        stops_at: the kinds of points at which drivers take turns: write, look.
        deaths: whether drivers die.
        switches: only paths with at most so many turns, deaths among them.
        seconds: for how long, of this process's time on a core: other programs take none of it.
        first_only: whether the first violation is enough.
    """

    def __init__(self, scenario, *, stops_at=("write",), deaths=True, switches=None, seconds=None, first_only=False):
        self.scenario, self.result = scenario, Result(scenario.name)
        self._stops_at, self._deaths, self._first_only = stops_at, deaths, first_only
        self._switches = float("inf") if switches is None else switches
        self._until = time.process_time() + (float("inf") if seconds is None else seconds)
        self._seen, self._recovered, self._known = set(), set(), {}

    def run(self):
        """Explore; the result says whether it is all there is."""
        began = time.monotonic()
        frontier = [(0, 0, [])]
        with self._prepared():
            while frontier and frontier[0][0] <= self._switches:
                for other in self._path(heapq.heappop(frontier)[-1]):
                    heapq.heappush(frontier, (_switches(other), -len(other), other))
                if time.process_time() > self._until or (self._first_only and self.result.violations):
                    break
        self.result.left = len(frontier)
        self.result.states, self.result.endings = len(self._seen), len(self._recovered)
        self.result.seconds = time.monotonic() - began
        return self.result

    def follow(self, script):
        """Take one path only, and tell what it violates.

        `script`: (driver, the function before a step of which it waits next; None: to its end; "dies").
        """
        with self._prepared(), self._begun() as path:
            for name, until in script:
                driver = path.drivers[name]
                if until == "dies":
                    path.take(name + DIES)
                while driver.end is None and driver.point.split()[0] != until:
                    path.take(name)
            if path.choices(deaths=False):
                raise ValueError(f"still at work: {path.choices(deaths=False)}")
            self._recover(path)
        return list(self.result.violations)

    @contextmanager
    def _prepared(self):
        folder = tempfile.TemporaryDirectory(prefix="moee-orders-", dir=MEMORY if MEMORY.is_dir() else None)
        with folder, stepping():
            self._root = Path(folder.name)
            self.scenario.prepare(TableLocation.parse(str(self._root / "prepared" / NAME)))
            yield

    @contextmanager
    def _begun(self):
        self.result.paths += 1
        folder = self._root / f"path-{self.result.paths}"
        shutil.copytree(self._root / "prepared", folder)
        path = Running(self.scenario, folder, self._stops_at, self._known)
        try:
            yield path
        finally:
            for driver in path.drivers.values():
                while driver.end is None:
                    driver.die()
            shutil.rmtree(folder)
        self.result.steps = max(self.result.steps, len(path.taken))
        for kind in path.stopped():
            self.result.stopped[kind] = self.result.stopped.get(kind, 0) + 1
        for each in path.checks.found:
            self.result.violations.setdefault(each, path.trace)

    def _path(self, prefix):
        """Follow `prefix`, then go on to the end, or to a state that is known; returns the other choices on the way."""
        others = []
        with self._begun() as path:
            for choice in prefix:
                path.take(choice)
            self._count(prefix[-1:])
            while (state := path.state) not in self._seen:
                self._seen.add(state)
                choices = path.choices(deaths=self._deaths)
                if not choices:
                    self._recover(path)
                    break
                others += [[*path.taken, other] for other in choices[1:]]
                self._count(choices[:1])
                path.take(choices[0])
        return others

    def _count(self, choices):
        self.result.transitions += len(choices)
        self.result.deaths += sum(choice.endswith(DIES) for choice in choices)

    def _recover(self, path):
        """Let runs to which nothing happens follow, once for each different content."""
        path.checks.gone = self.scenario.deleted_by(path.drivers, path.location)
        state = digest(path.store.print, sorted(path.checks.gone))
        if state in self._recovered:
            return
        self._recovered.add(state)
        for number, ending in enumerate(self.scenario.endings, 1):
            copied = path.folder.with_name(f"{path.folder.name}-{number}")
            shutil.copytree(path.folder, copied)
            location = TableLocation.parse(str(copied / NAME))
            earlier, path.checks.found = path.checks.found, []
            try:
                for turn, files in enumerate(ending):
                    embed(location, f"R{turn}", files, prunes=self.scenario.prunes)
                    path.checks.at_end(location, files)
                    path.checks.idle(location, files, plan(location, files, prunes=self.scenario.prunes))
            except Exception as error:
                path.checks.violate(f"the run that follows ended with {_short(error)}")
            path.checks.found = earlier + [f"{each}, in ending {number}" for each in path.checks.found]
            shutil.rmtree(copied)


def _switches(path):
    """How often another driver goes on than before, or one dies."""
    return sum(one != other for one, other in pairwise(path))


def _short(error):
    return f"{type(error).__name__}: {re.sub(r'/[^ :]*/|[0-9a-f]{20,}', '', str(error))[:200]}"
