"""Estimates against what happens: `make bench-plan NEWSGROUPS=FILE OPENSTAX=FILE`.

Each corpus is planned and then embedded into a new table with the built-in model, three times, so that no record of an
earlier run helps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from common import machine, save
from rich.console import Console

ROUNDS = 3


def moee(*arguments):
    began = time.monotonic()
    command = [sys.executable, "-m", "jobs.cli", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout), time.monotonic() - began


def one_round(source, engine):
    with tempfile.TemporaryDirectory(prefix="moee-plan-") as folder:
        command = ("embed", source, "--table", f"{folder}/lake/docs", "--engine", engine)
        planned, planning = moee(*command, "--plan")
        _, took = moee(*command)
    expected = planned["estimate"]
    return {
        "planning_seconds": round(planning, 1),
        "estimated": round(expected["seconds"], 1),
        "least": round(expected["least_seconds"], 1),
        "most": round(expected["most_seconds"], 1),
        "took": round(took, 1),
        "ratio": round(expected["seconds"] / took, 3),
        "held": expected["least_seconds"] <= took <= expected["most_seconds"],
        "tokens_per_second": round(expected["tokens_per_second"]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--engine", default="local")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    console = Console(soft_wrap=True)
    results = {"machine": machine(), "engine": given.engine, "corpora": {}}
    for source in given.sources:
        rounds = [one_round(source, given.engine) for _ in range(given.rounds)]
        ratio = statistics.median(each["ratio"] for each in rounds)
        results["corpora"][Path(source).name] = {"median_ratio": ratio, "rounds": rounds}
        for each in rounds:
            console.print(Path(source).name, each)
        console.print(f"{Path(source).name}: median of estimate / time {ratio:.2f}")
    console.print(f"kept in {save('plan', results)}")


if __name__ == "__main__":
    main()
