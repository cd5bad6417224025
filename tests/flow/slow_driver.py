"""A run in small slices and small commits, followed by a listener that takes its time; it is there to be killed.

python slow_driver.py CORPUS TABLE
"""

from __future__ import annotations

import sys
import time

from pipeline import embed
from pipeline.flow import options, planning
from pipeline.flow.progress import Quiet


class Slow(Quiet):
    def advance(self, rows, tokens, rejects):
        time.sleep(0.4)


if __name__ == "__main__":
    options.SLICE_ROWS = planning.MAX_ROWS = 8
    embed(
        sys.argv[1],
        sys.argv[2],
        {"max_tokens": 24, "pooling": "last"},
        listener=Slow(),
        commit_rows=8,
        commit_seconds=0.2,
    )
