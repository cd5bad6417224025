"""A change of topics that is killed on the way: ``python crash.py TABLE OPERATION STEP COUNT``, to be run by a test.

Clusters are told by the direction of the vectors, so that nothing heavy is imported.
"""

from __future__ import annotations

import os
import signal
import sys

import numpy as np

from pipeline.topics.operations import fit, new_topics
from pipeline.topics.operations.drift import Thresholds
from pipeline.topics.operations.edit import label_topic, merge_topics
from pipeline.topics.operations.refresh import refresh_topics
from pipeline.topics.versions import next_version
from pipeline.topics.versions.next_version import NextVersion

SUBJECTS, DIMENSION = 6, 24
SMALL = Thresholds(births=40, births_per_min_size=2)
STEPS = ("committed", "saved", "written", "switched")


def by_direction(vectors, recipe, known=None, **_):
    """In place of `pipeline.topics.clustering.recipe.cluster`: 0..k-1 by falling size."""
    del recipe, known
    directions = np.random.default_rng(99).normal(size=(SUBJECTS, DIMENSION)).astype(np.float32)
    near = (vectors @ directions.T).argmax(axis=1)
    sizes = np.bincount(near, minlength=SUBJECTS)
    place = np.empty(SUBJECTS, dtype=np.int64)
    place[np.argsort(-sizes, kind="stable")] = np.arange(SUBJECTS)
    return place[near]


def operate(table, operation):
    operations = {
        "refresh": lambda: refresh_topics(table, thresholds=SMALL, refit=False),
        "refit": lambda: refresh_topics(table, refit=True),
        "merge": lambda: merge_topics(table, [3, 1]),
        "label": lambda: label_topic(table, 2, "Faith"),
    }
    return operations[operation]()


def die_at(step, count):
    """Kill this process after a step was taken for the `count`-th time."""
    owner, name = {
        "committed": (NextVersion, "commit"),
        "saved": (NextVersion, "save"),
        "written": (NextVersion, "write"),
        "switched": (next_version, "publish_row"),
    }[step]
    real, left = getattr(owner, name), [count]

    def taken(*given, **named):
        result = real(*given, **named)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, taken)


if __name__ == "__main__":
    new_topics.cluster = fit.cluster = by_direction
    die_at(sys.argv[3], int(sys.argv[4]))
    operate(*sys.argv[1:3])
