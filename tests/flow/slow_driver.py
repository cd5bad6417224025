"""A run in small slices and small commits, followed by a listener that takes its time; it is there to be killed.

python slow_driver.py CORPUS TABLE [DEATHS]

With DEATHS, a file, a replica kills itself at each text that holds ``xxpoison``, and adds a line to it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from pipeline import embed
from pipeline.flow import job, options, work
from pipeline.flow.progress import Quiet
from pipeline.flow.stages import EmbedStage


class Slow(Quiet):
    def advance(self, rows, tokens, rejects):
        time.sleep(0.4)


class Deadly(EmbedStage):
    deaths = sys.argv[3] if len(sys.argv) > 3 else ""

    def _embed(self, parcel):
        if any("xxpoison" in text for text in parcel.rows.column("text").to_pylist()):
            with Path(self.deaths).open("a") as file:
                file.write("died\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._embed(parcel)


if __name__ == "__main__":
    if Deadly.deaths:
        job.EmbedStage = Deadly
    options.SLICE_ROWS = work.MAX_ROWS = 8
    embed(
        sys.argv[1],
        sys.argv[2],
        {"max_tokens": 24, "pooling": "last"},
        listener=Slow(),
        commit_rows=8,
        commit_seconds=0.2,
    )
