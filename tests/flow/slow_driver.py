"""A run in small slices and small commits, followed by a listener that takes its time; it is there to be killed.

python slow_driver.py CORPUS TABLE
"""

from __future__ import annotations

import sys
import time

from pipeline import embed
from pipeline.flow import embed as embed_module
from pipeline.flow.progress import Quiet

SLICE_ROWS = 8


class Slow(Quiet):
    def advance(self, rows, tokens, rejects):
        time.sleep(0.4)


if __name__ == "__main__":
    embed_module.MAX_ROWS = SLICE_ROWS
    embed(
        sys.argv[1],
        sys.argv[2],
        {"max_tokens": 24, "pooling": "last"},
        listener=Slow(),
        commit_rows=8,
        commit_seconds=0.2,
    )
