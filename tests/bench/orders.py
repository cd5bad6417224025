"""Every order of the steps of two drivers on one table: all states and transitions, in a table.

python tests/bench/orders.py [--scenario NAME]… [--minutes N] [--looks] [--processes N]

The steps are found, explored and judged by tests/table/orders. A violation is printed with the shortest path to it.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from common import machine, save  # the folder of a script is on its path
from rich.console import Console
from rich.table import Table

ORDERS = Path(__file__).parents[1] / "table" / "orders"
COLUMNS = ("scenario", "steps", "states", "transitions", "deaths", "endings", "left", "violations", "seconds")


def explore(name: str, seconds: float, stops_at: tuple[str, ...]) -> dict[str, Any]:
    """Explore one scenario, in a process of its own."""
    os.environ |= {"LANCE_CPU_THREADS": "1", "OMP_NUM_THREADS": "1", "LANCE_LOG": "error"}
    logging.disable(logging.WARNING)  # drivers that are stopped say so
    sys.path.insert(0, str(ORDERS))
    from explorer import Explorer
    from scenarios import scenarios

    return vars(Explorer(scenarios()[name], seconds=seconds, stops_at=stops_at).run())


def names() -> list[str]:
    """All scenarios."""
    sys.path.insert(0, str(ORDERS))
    from scenarios import scenarios

    return list(scenarios())


def show(results: list[dict[str, Any]]) -> None:
    """Print the table, then the violations."""
    console, table = Console(width=120), Table(*COLUMNS)
    for found in results:
        figures = {**found, "violations": len(found["violations"]), "seconds": round(found["seconds"])}
        table.add_row(*(str(figures[name]) for name in COLUMNS))
    console.print(table)
    for found in results:
        for what, path in found["violations"].items():
            console.print(f"\n{found['scenario']}: {what}", *path, sep="\n    ", markup=False)


def main() -> int:
    """Explore, print, keep; the exit status tells whether something was violated or left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", action="append", help="only this one")
    parser.add_argument("--minutes", type=float, default=600.0, help="at most, for each scenario")
    parser.add_argument("--looks", action="store_true", help="drivers also take turns before they look at the storage")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    began, stops_at = time.monotonic(), ("write", "look") if given.looks else ("write",)
    with ProcessPoolExecutor(given.processes, get_context("spawn"), max_tasks_per_child=1) as pool:
        wanted = given.scenario or names()
        waiting = [pool.submit(explore, name, 60 * given.minutes, stops_at) for name in wanted]
        results: list[dict[str, Any]] = []
        for each in as_completed(waiting):
            results.append(each.result())
            Console(stderr=True).print({name: results[-1][name] for name in COLUMNS if name != "violations"})
    show(sorted(results, key=lambda found: wanted.index(found["scenario"])))
    record = {"machine": machine(), "stops_at": stops_at, "seconds": time.monotonic() - began, "results": results}
    Console().print(f"{record['seconds']:.0f} s; kept in {save('orders', record)}")
    return int(any(found["violations"] or found["left"] for found in results))


if __name__ == "__main__":
    sys.exit(main())
