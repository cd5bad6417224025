"""``killed_fit.py TABLE LIMIT ROWS``: a fit that is killed with three units committed and a fourth one staged."""

from __future__ import annotations

import os
import signal
import sys

from pipeline.topics import fit_topics
from pipeline.topics.operations import assign, fit


def three_and_a_half(work, units):
    for unit in units[:3]:
        yield work(unit, 1)
    work(units[3], 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    table, limit, rows = sys.argv[1:]
    fit.cluster = lambda vectors, *_, **__: vectors[:, :3].argmax(axis=1)
    assign.UNIT_ROWS = int(rows)
    fit_topics(table, limit=int(limit), mapper=three_and_a_half)
