"""``python tests/bench/startup.py``: what a command takes from start to end, on the wall, as a person waits for it.

Two hundred short texts are embedded into a new table with the built-in model, then once more, when nothing is new; the
table is searched. Each is a process of its own; medians of ``--rounds``, after one round that warms the file cache and
the cache of the reference texts. Writes ``tests/bench/results/startup-DATE.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import machine, save  # the folder of a script is on its path
from rich.console import Console
from rich.table import Table

from pipeline.models import reference_texts

TEXTS = 200


def seconds(*arguments: str) -> float:
    """How long ``moee ARGUMENTS`` takes."""
    began = time.perf_counter()
    done = subprocess.run(
        [Path(sys.executable).with_name("moee"), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"moee {' '.join(arguments)} failed: {done.stderr}")
    return time.perf_counter() - began


def one_round(folder: Path, corpus: Path, number: int) -> dict[str, float]:
    """The three commands on a table of its own."""
    table = str(folder / "lake" / f"docs{number}")
    return {
        "embed into a new table": seconds("embed", str(corpus), "--table", table),
        "embed again": seconds("embed", str(corpus), "--table", table),
        "search": seconds("search", table, "a question about the stars"),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "texts.jsonl"
        corpus.write_text(
            "".join(
                json.dumps({"text": f"{text[:120]} {at}"}) + "\n" for at, text in enumerate(reference_texts()[:TEXTS])
            )
        )
        os.environ["MOEE_CACHE"] = str(folder / "cache")
        first = one_round(folder, corpus, 0)
        rounds = [one_round(folder, corpus, number) for number in range(1, given.rounds + 1)]
    medians = {what: statistics.median(each[what] for each in rounds) for what in first}
    view = Table(box=None)
    for column in ("command", "median s", "first time s", "all s"):
        view.add_column(column)
    for what, median in medians.items():
        everything = " ".join(f"{each[what]:.1f}" for each in rounds)
        view.add_row(what, f"{median:.1f}", f"{first[what]:.1f}", everything)
    console = Console()
    console.print(view)
    target = save(
        "startup", {"machine": machine(), "texts": TEXTS, "medians": medians, "first": first, "rounds": rounds}
    )
    console.print(f"kept in {target}")


if __name__ == "__main__":
    main()
