"""A run in small slices and small commits, followed by a listener that takes its time; it is there to be killed.

python slow_driver.py CORPUS TABLE ray|local [DEATHS]

With DEATHS, a file, a replica kills itself at each text that holds ``xxpoison``, and adds a line to it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

import deadly

from pipeline import embed
from pipeline.flow import options, plan
from pipeline.flow.engines.local_engine import LocalEngine
from pipeline.flow.progress import Quiet


class Slow(Quiet):
    def advance(self, rows, tokens, rejects):
        time.sleep(0.4)


def main():
    corpus, table, engine, *deaths = sys.argv[1:]
    options.SLICE_ROWS = plan.MAX_ROWS = 8
    if engine == "ray":
        from pipeline.flow.engines.ray_engine import RayEngine

        made = RayEngine()
    else:
        made = LocalEngine()
    embed(
        corpus,
        table,
        {"max_tokens": 24, "pooling": "last"},
        listener=Slow(),
        commit_rows=8,
        commit_seconds=0.2,
        engine=deadly.deadly(made, log=deaths[0]) if deaths else made,
    )


if __name__ == "__main__":
    main()
