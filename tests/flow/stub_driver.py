"""A run in small slices and commits, with a replica that costs next to nothing; it is there to be killed.

python stub_driver.py TABLE SOURCE... [--replicas N|MIN:MAX] [--rows N] [--delay S] [--pause S] [--wait S]
    [--clock S] [--retry-rejects] [--storage-option NAME=VALUE] [--engine ray|local]
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

import stub

from pipeline import embed
from pipeline.errors import MoeeError
from pipeline.flow import options, plan
from pipeline.flow.engines.base import Replicas
from pipeline.flow.engines.local_engine import LocalEngine
from pipeline.flow.progress import Quiet
from pipeline.table.companions import lease, runs


class Slow(Quiet):
    def __init__(self, pause):
        self.pause = pause

    def advance(self, rows, tokens, rejects):
        time.sleep(self.pause)


def set_clock(wrong):
    """The package's own clock; Lance's and Ray's are not in reach."""

    class Shifted(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.now(zone) + timedelta(seconds=wrong)

    if wrong:
        runs.datetime = lease.datetime = Shifted


def engine(given):
    replicas = Replicas.parse(given.replicas)
    if given.engine == "local":
        made = LocalEngine(replicas)
        made.replica_modules = ()  # a stub needs no torch
        return made
    from pipeline.flow.engines.ray_engine import RayEngine

    return RayEngine(replicas)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("source", nargs="+")
    parser.add_argument("--replicas")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--wait", type=float, default=0.0)
    parser.add_argument("--clock", type=float, default=0.0, help="seconds by which this process's clock is wrong")
    parser.add_argument("--retry-rejects", action="store_true")
    parser.add_argument("--storage-option", action="append", default=[])
    parser.add_argument("--engine", choices=["ray", "local"], default="ray")
    given = parser.parse_args()
    set_clock(given.clock)
    options.SLICE_ROWS = plan.MAX_ROWS = given.rows
    report = embed(
        given.source,
        given.table,
        {"max_tokens": 24, "pooling": "last"},
        listener=Slow(given.pause),
        engine=stub.planted(engine(given), given.delay),
        commit_rows=4 * given.rows,
        commit_seconds=0.5,
        wait=given.wait,
        retry_rejects=given.retry_rejects,
        storage_options=dict(option.split("=", 1) for option in given.storage_option) or None,
    )
    sys.stdout.write(report.summary())


if __name__ == "__main__":
    try:
        main()
    except MoeeError as error:
        sys.exit(f"{type(error).__name__}: {error}")
