"""Stages that end their process, or hang, at texts that hold a certain word; workers import this module."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from stub import Rigged, as_a

from pipeline.errors import SourceError
from pipeline.flow.encoder import EncoderPlan
from pipeline.flow.stages import EmbedStage, ReadStage, WriteStage

HOW = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(3),
    "hang": lambda: time.sleep(3600),
}
WORDS = {"read": "xxvenom", "embed": "xxpoison", "commit": "xxbane", "calibration": "xxgas"}
"""For each stage the word of which it dies."""


def die_of(texts, word, how="kill", log=None):
    if any(word in text for text in texts):
        if log:
            with Path(log).open("a", encoding="ascii") as file:
                file.write("died\n")
        HOW[how]()


class KillingRead(ReadStage):
    __slots__ = ()
    how = "kill"

    def tokenize(self, documents):
        die_of(documents.column("text").to_pylist(), WORDS["read"], self.how)
        return super().tokenize(documents)


class KillingEmbed(EmbedStage):
    def __init__(self, *arguments, how="kill", log=None, **more):
        self._how, self._log = how, log
        super().__init__(*arguments, **more)

    def _embed(self, parcel):
        die_of(parcel.rows.column("text").to_pylist(), WORDS["embed"], self._how, self._log)
        return super()._embed(parcel)


class KillingWrite(WriteStage):
    __slots__ = ()
    how = "kill"

    def write(self, rows):
        die_of(rows.column("text").to_pylist(), WORDS["commit"], self.how)
        return super().write(rows)


@dataclass(frozen=True, slots=True)
class Sensitive(EncoderPlan):
    """Builds the encoder of another plan, which then dies of some texts while it is calibrated."""

    plan: EncoderPlan | None = None
    how: str = "kill"

    @classmethod
    def of(cls, plan, how):
        return replace(as_a(cls, plan), plan=plan, how=how)

    def build(self):
        encoder, how = self.plan.build(), self.how
        calibrated, encode = encoder.calibrated, encoder.encode_raw
        word = WORDS["calibration"]
        encoder.calibrated = lambda texts, **more: die_of(texts, word, how) or calibrated(texts, **more)
        encoder.encode_raw = lambda texts, **more: die_of(texts, word, how) or encode(texts, **more)
        return encoder


class Unbuildable(EncoderPlan):
    """A model whose process dies each time that it is loaded."""

    __slots__ = ()

    def build(self):
        os.kill(os.getpid(), signal.SIGKILL)


def _ways(kind):
    """A class for each way to die: what travels is a class by its name."""
    made = {}
    for how in HOW:
        name = f"{kind.__name__}By{how.capitalize()}"
        made[how] = type(name, (kind,), {"__slots__": (), "how": how, "__module__": __name__})
        setattr(sys.modules[__name__], name, made[how])
    return made


READS, WRITES = _ways(KillingRead), _ways(KillingWrite)


def deadly(engine, how="kill", log=None):
    """An engine whose stages die of `WORDS`."""
    return Rigged(
        engine,
        read=partial(as_a, READS[how]),
        write=partial(as_a, WRITES[how]),
        encoder=partial(Sensitive.of, how=how),
        embed=lambda _: partial(KillingEmbed, how=how, log=log),
    )


def unbuildable(engine):
    """An engine whose replicas die while they are built."""
    return Rigged(engine, encoder=partial(as_a, Unbuildable))


class NoWrite(WriteStage):
    """Passes parcels through."""

    __slots__ = ()

    def __call__(self, block):
        return block


def squared(number):
    return number**2


def refuse(_):
    raise SourceError("not this one")


def end_of_file(_):
    raise EOFError


def divide(number):
    return 1 / number


def end(_):
    HOW["kill"]()


def oom_score(_):
    return Path("/proc/self/oom_score_adj").read_text(encoding="ascii").strip()


def imports_ray(modules):
    for module in modules:
        importlib.import_module(module)
    return "ray" in sys.modules
