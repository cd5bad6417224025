"""Every write to storage is a step: before it a driver waits until the scheduler lets it go, or dies.

Lance writes in Rust, so its Python API is where a write can be held up. Each of its methods and functions that is not
named here as reading counts as a write, also one that a later version adds. What is on the disk is listed after each
step and before the next one: a write that went past the API shows as a change outside a step.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from contextlib import ExitStack, contextmanager
from unittest import mock

import lance
from lance.file import LanceFileReader, LanceFileSession, LanceFileWriter
from lance.fragment import LanceFragment
from lance.optimize import Compaction
from store_state import digest

_dataset, _fragment = sys.modules["lance.dataset"], sys.modules["lance.fragment"]

SNAPSHOT_READS = {
    "LanceDataset": """all_files base_paths centroids config count_rows data_storage_version delta describe_indices
        fragment_ids from_pydantic_model get_fragment get_fragments get_ivf_model get_transactions get_version has_index
        has_stable_row_ids head index_statistics initial_storage_options io_stats_incremental io_stats_snapshot
        lance_schema latest_storage_options list_indices max_field_id mem_wal_index_details merge_insert metadata
        new_file_session optimize partition_expression prewarm_index read_blob_ranges read_blobs read_transaction sample
        scanner schema schema_metadata session slice sql stats storage_options_accessor tags branches take take_blobs
        to_batches to_pandas to_table tracked_files uri validate version version_refs remap_row_addrs join
        replace_schema""",
    "MergeInsertBuilder": """when_matched_update_all when_matched_delete when_matched_fail when_not_matched_insert_all
        when_not_matched_by_source_delete conflict_retries retry_timeout data_storage_version use_index write_mode
        target_bases target_all_bases explain_plan analyze_plan""",
    "DatasetOptimizer": "",
    "LanceFragment": """count_rows data_files deletion_file fragment_id head metadata num_deletions open_session
        partition_expression physical_rows physical_schema scanner schema take to_batches to_pandas to_table
        validate""",
    "LanceFileSession": "download_file open_reader read_range",
    "LanceFileWriter": "",
    "Tags": "get_version list list_ordered",
    "Branches": "list list_ordered",
}
"""What looks at a version that is already open, or at a file that never changes."""

LOOKS = {
    "LanceDataset": "checkout_latest checkout_version explain_cleanup_old_versions latest_version versions",
    "LanceFileSession": "contains list list_with_delimiter",
}
"""What looks at the storage as it is now."""


class DeathError(BaseException):
    """The process of the driver is gone."""


_here = threading.local()


class Driver:
    """A program that runs in a thread of its own, from one point to the next, when the scheduler says so.

    `stops_at`: whether its points are writes only, or looks at the storage as well.
    """

    def __init__(self, name, program, store, stops_at=("write",)):
        self.name, self._program, self._store, self._stops_at = name, program, store, stops_at
        self.steps, self.point, self.end, self.dies, self.seen = 0, "start", None, False, ""
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def advance(self):
        """Take the step it waits for, and go on to the next one; `end` says how it ended."""
        self._go.release()
        self._back.acquire()
        if self.end is not None:
            self._thread.join()

    def die(self):
        """End without taking the step it waits for, nor any other."""
        self.dies = True
        self.advance()

    def stop(self, kind, title):
        """Wait before a point, unless it is of a kind at which this driver does not stop."""
        if self.dies:
            raise DeathError
        if kind == "write":
            self._store.unchanged(self.name)
        if kind in self._stops_at:
            self.point = title
            self._back.release()
            self._go.acquire()
            if self.dies:
                raise DeathError

    def passed(self, kind, title, outcome, arguments):
        """Note what came of a point: all that this driver does depends on the sequence of these."""
        if kind == "write":
            self.steps += 1
            self._store.written(f"{self.name}{self.steps}")
        self.seen = digest(self.seen, title, outcome, self._store.shown(kind, arguments))

    def _main(self):
        _here.driver, _here.is_inside = self, False
        self._go.acquire()
        try:
            if not self.dies:
                self._program()
                self._store.unchanged(self.name)
            self.end = "finished"
        except DeathError:
            self.end = "died"
        except BaseException as error:
            self.end = error
        finally:
            _here.driver = None
            self._back.release()


@contextmanager
def stepping():
    """While this lasts, the threads of drivers stop at their points."""
    with ExitStack() as patches:
        for owner, name, member, kind in _members():
            patches.enter_context(mock.patch.object(owner, name, _stopping(member, kind, f"{owner.__name__}.{name}")))
        replacements = [(each, _stopping(each, kind, each.__name__)) for each, kind in _functions()]
        for original, replaced in [*replacements, (Compaction, _Outside(Compaction))]:
            for module in [each for key, each in sys.modules.items() if key.split(".")[0] in {"lance", "pipeline"}]:
                for name in [name for name, value in list(vars(module).items()) if value is original]:
                    patches.enter_context(mock.patch.object(module, name, replaced))
        yield


def _functions():
    return [(lance.write_dataset, "write"), (_fragment.write_fragments, "write"), (lance.dataset, "look")]


class _Outside:
    """A class or object that Lance has made in Rust, where nothing can be replaced: all its methods are writes."""

    def __init__(self, target):
        self._target = target

    def __getattr__(self, name):
        value = getattr(self._target, name)
        title = f"{type(self._target).__name__}.{name}"
        return _outside(_stopping(value, "write", title) if callable(value) else value)


def _outside(value):
    """`value`, whose tasks of a compaction, or those it returns, stop before they write."""
    if isinstance(value, list):
        return [_outside(each) for each in value]
    if type(value).__name__ in {"CompactionPlan", "CompactionTask"}:
        return _Outside(value)
    return (lambda *given, **named: _outside(value(*given, **named))) if callable(value) else value


def _members():
    """The methods of Lance's classes that touch the storage: owner, name, member, kind."""
    for owner in (
        lance.LanceDataset, _dataset.MergeInsertBuilder, _dataset.DatasetOptimizer, _dataset.Tags, _dataset.Branches,
        LanceFragment, LanceFileSession, LanceFileWriter,
    ):  # fmt: skip
        reads, looks = (named.get(owner.__name__, "").split() for named in (SNAPSHOT_READS, LOOKS))
        for name, member in list(vars(owner).items()):
            if not name.startswith("_") and name not in reads and (inspect.isroutine(member)):
                yield owner, name, member, "look" if name in looks else "write"
    yield LanceFileReader, "__init__", LanceFileReader.__init__, "file"  # which never changes, but may be gone


def _stopping(member, kind, title):
    """`member`, before which a driver stops; what Lance calls inside of it is part of it."""
    function = member.__func__ if isinstance(member, (staticmethod, classmethod)) else member

    @functools.wraps(function)
    def call(*arguments, **fields):
        driver = getattr(_here, "driver", None)
        if driver is None or _here.is_inside:
            return function(*arguments, **fields)
        driver.stop(kind, f"{_caller()} ({title})")
        _here.is_inside = True
        outcome = "done"
        try:
            return function(*arguments, **fields)
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            driver.passed(kind, title, outcome, arguments)
            _here.is_inside = False

    return type(member)(call) if isinstance(member, (staticmethod, classmethod)) else call


def _caller():
    """The protocol's function that makes the call, for people who read a path."""
    frame = sys._getframe(2)
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if "/pipeline/table/" in file and not name.startswith("_") and not file.endswith(("/store.py", "/upsert.py")):
            return name
        frame = frame.f_back
    return "?"
