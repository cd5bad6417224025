"""What is explored: a prepared table, two drivers, and the runs that follow."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runs import File, create, delete, embed, rows_of

from pipeline.table.companions.deleted import read_deleted
from pipeline.table.companions.files import read_files
from pipeline.table.companions.journal import staged_files
from pipeline.table.companions.rejects import read_marks, read_rejects
from pipeline.table.fragments.compaction import compact
from pipeline.table.fragments.orphans import orphans
from pipeline.table.store import existing_dataset, open_dataset

if TYPE_CHECKING:
    from collections.abc import Callable


class Checks:
    """What must hold at every version of the table, and when a run has ended well."""

    def __init__(self, scenario):
        self.found, self._scenario, self.gone = [], scenario, frozenset()

    def violate(self, what):
        if what not in self.found:
            self.found.append(what)

    def see(self, rows):
        """A new version of the table, with these rows."""
        for key, many in Counter(row["id"] for row in rows).items():
            if many > 1:
                self.violate(f"id {key} is there {many} times")
        for key, many in Counter((row["slice"], row["row"]) for row in rows).items():
            if many > 1:
                self.violate(f"row {key} is there {many} times")
        for uri in {row["source"] for row in rows}:
            shown = {self._scenario.version_of(row["slice"]) for row in rows if row["source"] == uri}
            if len(shown) > 1:
                self.violate(f"a reader sees versions {sorted(shown)} of {uri}")

    def at_end(self, location, files):
        """After a run over `files` that nothing happened to."""
        rows = rows_of(location)
        self.see(rows)
        held = {(row["slice"], row["row"]): (row["id"], row["text"]) for row in rows}
        refused = {(row["slice"], row["row"]) for row in read_rejects(location).to_pylist()}
        ids = {name for name, _ in held.values()}
        for file in files:
            for place, document in file.documents.items():
                self._document(f"{document[0]} of {file.uri} {file.version}", document, held.get(place), ids,
                               is_refused=place in refused)  # fmt: skip
        slices = {number for file in files for number in file.numbers}
        marked = read_marks(location).column("slice").to_pylist()
        for what, numbers in (
            ("row", [number for number, _ in held]), ("reject", [number for number, _ in refused]), ("mark", marked),
        ):  # fmt: skip
            for number in sorted(set(numbers) - slices if what not in self._scenario.leftovers else ()):
                self.violate(f"a {what} of an older version is left: {self._scenario.name_of(number)}")
        records = sorted((row["uri"], row["version"]) for row in read_files(location).to_pylist() if row["complete"])
        if records != sorted((file.uri, file.version) for file in files):
            self.violate(f"complete files: {records}")

    def _document(self, what, document, held, ids, *, is_refused):
        name, text = document
        is_deleted = name in self._scenario.deleted
        for is_wrong, how in (
            (held is not None and held != document, f"is {held}"),
            (held is not None and is_refused, "is held and rejected"),
            (held is not None and not text, "is empty, and held"),
            (held is not None and name in self.gone, "was deleted, and is there"),
            (held is None and not is_refused and not is_deleted, "is lost"),
            (bool(text) and name not in ids and not is_deleted, "has no holder"),
        ):
            if is_wrong:
                self.violate(f"{what} {how}")

    def idle(self, location, files, plan):
        """One more run finds nothing to do and changes nothing."""
        if not plan.is_empty or plan.left:
            self.violate(f"a further run would find something to do: {plan.left} {plan.changed} {plan.gone}")
        if orphans(location, staged_files(location)):
            self.violate("orphans are left")
        version = existing_dataset(location).version
        embed(location, "idle", files, prunes=self._scenario.prunes)
        if existing_dataset(location).version != version:
            self.violate("an idle run changed the table")


@dataclass
class Scenario:
    """A table as it is before, two drivers, and what must be after the runs of each of the `endings`."""

    name: str
    drivers: dict[str, Callable]
    endings: list
    """For each ending a list of runs, each given by the files that are there then."""
    before: tuple = ()
    files: tuple = ()
    """All versions of all files."""
    deleted: frozenset = frozenset()
    """Ids that driver B deletes."""
    prunes: bool = False
    one_at_a_time: bool = False
    """Whether a driver starts only when the other has ended or died: the lease as it should be, when nobody sleeps."""
    numbers: dict = field(default_factory=dict)

    leftovers: frozenset = frozenset()
    """What a driver that has slept may leave of an older version: marks and rejects, which hide and hold nothing."""

    def __post_init__(self):
        self.numbers = {number: (file, at) for file in self.files for at, number in enumerate(file.numbers)}

    def prepare(self, location):
        create(location)
        if self.before:
            embed(location, "before", list(self.before))

    def begin(self, location):
        """What happens before anybody's first step."""

    def deleted_by(self, drivers, location):
        """The ids that a deletion which has ended well has noted; of one that died some may still be there."""
        if not self.deleted or drivers["B"].end != "finished":
            return frozenset()
        return frozenset(read_deleted(location).column("id").to_pylist())

    def checks(self):
        return Checks(self)

    def version_of(self, number):
        return self.numbers[number][0].version if number in self.numbers else "?"

    def name_of(self, number):
        if number not in self.numbers:
            return str(number)
        file, at = self.numbers[number]
        return f"{file.uri} {file.version} slice {at}"


S1 = File("s", "1", ((("a", "one"), ("e", "")), (("b", "two"), ("a", "again"))))
R1 = File("s", "1", ((("a", "one"), ("e", "")), (("f", ""),)))
R2 = File("s", "2", ((("a", "other"),), (("g", ""),)))
T1 = File("t", "1", ((("c", "three"),),))


def run(files, **options):
    return lambda location, name: embed(location, name, list(files), **options)


def deletion(*ids):
    return lambda location, name: delete(location, ids)


def compaction(location, name):
    compact(location, open_dataset(location), few=1)


def scenarios():
    """All scenarios, by name."""
    back = {"endings": [[[R2]], [[R1]]], "files": (R1, R2)}
    new = {"endings": [[[S1]]], "files": (S1,)}
    gone = {"endings": [[[T1]]], "before": (T1,), "files": (S1, T1), "prunes": True}
    of_s, of_r1, of_r2, prunes = run([S1]), run([R1]), run([R2]), run([T1], prunes=True)
    late = frozenset({"mark", "reject"})
    added, added_backwards = run([S1], leased=False), run([S1], leased=False, backwards=True)
    made = [
        Scenario("change", {"A": of_r1, "B": of_r2}, **back, one_at_a_time=True),
        Scenario("return", {"A": of_r2, "B": of_r1}, **back, before=(R1,), one_at_a_time=True),
        Scenario("prune", {"A": of_s, "B": prunes}, **gone, one_at_a_time=True),
        Scenario("race", {"A": added, "B": added_backwards}, **new),
        Scenario("takeover", {"A": of_s, "B": of_s}, **new),
        Scenario("exchange", {"A": of_r2, "B": of_r2}, **back, before=(R1,)),
        Scenario(
            "deletion",
            {"A": run([S1, T1]), "B": deletion("a", "c")},
            endings=[[[S1, T1]]],
            before=(S1,),
            files=(S1, T1),
            deleted=frozenset("ac"),
        ),
        Scenario("compaction", {"A": run([S1, T1]), "B": compaction}, [[[S1, T1]]], before=(S1,), files=(S1, T1)),
        Scenario(
            "deletion, exchange",
            {"A": of_r2, "B": deletion("a")},
            **back,
            before=(R1,),
            deleted=frozenset("a"),
            leftovers=frozenset({"mark"}),
        ),
        Scenario("sleeper", {"A": of_r1, "B": of_r2}, **back, leftovers=late),
        Scenario("prune asleep", {"A": of_s, "B": prunes}, **gone, leftovers=late),
    ]
    return {scenario.name: scenario for scenario in made}
