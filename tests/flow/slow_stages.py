"""Stages that sleep; workers import this module."""

from __future__ import annotations

import time
from functools import partial

from stub import Rigged, as_a, planted

from pipeline.flow.stages import ReadStage, WriteStage

SECONDS = 0.15
"""For every batch that is read, tokenized, written or committed."""


class SlowReading(ReadStage):
    __slots__ = ()

    def _batches(self, *arguments, **more):
        for batch in super()._batches(*arguments, **more):
            time.sleep(SECONDS)
            yield batch


class SlowTokenizing(ReadStage):
    __slots__ = ()

    def tokenize(self, documents):
        time.sleep(SECONDS)
        return super().tokenize(documents)


class SlowStaging(WriteStage):
    __slots__ = ()

    def write(self, rows):
        time.sleep(SECONDS)
        return super().write(rows)


RIGGED = {
    "reading": {"read": partial(as_a, SlowReading)},
    "tokenizing": {"read": partial(as_a, SlowTokenizing)},
    "staging": {"write": partial(as_a, SlowStaging)},
}


def slowed(engine, stage):
    """The engine with stubs for replicas, and with one stage that is slow."""
    stubs = planted(engine, SECONDS / 8 if stage == "replicas" else 0.0)
    return Rigged(engine, **stubs.parts, **RIGGED.get(stage, {}))
