"""Faults of the commit protocol, planted to see that the explorer finds them."""

from __future__ import annotations

from contextlib import contextmanager
from unittest import mock

import lance
import runs
import scenarios

from pipeline.table.changes import pruning
from pipeline.table.commit import committer
from pipeline.table.companions.rejects import mark_slices


@contextmanager
def rejects_after_the_swap():
    account, write = committer.Committer._account, committer.write_rejects

    def late(self, pending, touched):
        write(self._location, pending.all_rejects())
        account(self, pending, touched)

    with (
        mock.patch.object(committer, "write_rejects"),
        mock.patch.object(committer.Committer, "_account", late),
    ):
        yield


@contextmanager
def marks_before_the_swap():
    admit = committer.Committer._admit

    def early(self, dataset, pending):
        admit(self, dataset, pending)
        mark_slices(self._location, pending.slices(), "rejected", self._run)

    with mock.patch.object(committer.Committer, "_admit", early):
        yield


@contextmanager
def no_reopening():
    with (
        mock.patch.object(committer, "reopen_older"),
        mock.patch.object(pruning, "reopen_older"),
    ):
        yield


@contextmanager
def append_for_merge():
    swap = committer.swap

    def append(location, dataset, fragments, message):
        new = fragments[len(dataset.get_fragments()) :]
        if any(each.deletion_file for each in fragments):
            return swap(location, dataset, fragments, message)
        for each in new:
            each.id = 0
        lance.LanceDataset.commit(location.uri, lance.LanceOperation.Append(new), read_version=dataset.version)
        return True

    with mock.patch.object(committer, "swap", append):
        yield


@contextmanager
def a_stale_listing():
    """Drivers plan by what they saw before any of them held the lease."""
    fresh, seen = runs.plan, {}

    def look(self, location):
        seen.update({(location.uri, file): fresh(location, [file]) for file in self.files})

    def stale(location, files, **options):
        return seen.get((location.uri, files[0])) or fresh(location, files, **options)

    with mock.patch.object(runs, "plan", stale), mock.patch.object(scenarios.Scenario, "begin", look):
        yield


FAULTS = {
    "rejects after the swap": (rejects_after_the_swap, "race", "is lost"),
    "marks before the swap": (marks_before_the_swap, "race", "is lost"),
    "no reopening": (no_reopening, "return", "is lost"),
    "Append for Merge": (append_for_merge, "race", "times"),
    "a stale listing": (a_stale_listing, "change", "of an older version is left"),
}
"""Each with a scenario that shows it, and what is said of it."""
