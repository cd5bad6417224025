"""A replica that costs next to nothing: 256-d vectors from the tokens' own numbers. It measures everything else.

It enters where every replica does, at `EncoderPlan.build`: `planted` is an engine whose plans build stubs.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from pipeline.columns import from_ipc
from pipeline.embedding.batches import BatchCounts
from pipeline.embedding.calibration import Calibration
from pipeline.embedding.vectors import Vectors
from pipeline.flow.encoder import EncoderPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipeline.embedding.encoder import Encoder
    from pipeline.embedding.tokens import Tokens
    from pipeline.flow.engines.base import Engine

HALVES = (192, 64)
POOL = 4096


class StubEncoder:
    """Vectors are drawn from a fixed pool by the sum of a text's tokens: the same text, the same vector."""

    def __init__(self, calibration: Calibration | None, delay: float = 0.0) -> None:
        self.halves, self.dimension = HALVES, sum(HALVES)
        pool = np.random.default_rng(5).standard_normal((POOL, self.dimension)).astype(np.float32)
        self._pool = pool / np.linalg.norm(pool, axis=1, keepdims=True)
        self.calibration, self._delay = calibration, delay
        self.batches = BatchCounts()

    def calibrated(self, texts: Sequence[str]) -> Vectors:
        made = np.resize(self._pool, (max(len(texts), 2), self.dimension))
        self.calibration = Calibration.fit(made[:, : HALVES[0]], made[:, HALVES[0] :])
        counts = np.ones(len(texts), np.int32)
        return Vectors(np.full_like(made, np.nan), counts, counts, counts, counts > 1)

    def encode_raw(self, texts: Sequence[str]) -> None:
        """What comes out of it is not asked for."""

    def vectors_of(self, tokens: Tokens) -> Vectors:
        time.sleep(self._delay * len(tokens))
        self.batches.count(int(tokens.lengths.sum()), 1 << 16)
        ends = np.cumsum(tokens.lengths)
        sums = np.concatenate([[0], np.cumsum(tokens.ids, dtype=np.int64)])
        numbers = (sums[ends] - sums[ends - tokens.lengths]) % POOL
        norms = np.ones(len(tokens), np.float32)
        return Vectors(self._pool[numbers], norms, norms, tokens.lengths.astype(np.int32), tokens.truncated)


@dataclass(frozen=True, slots=True)
class StubPlan(EncoderPlan):
    """Builds a `StubEncoder`; `delay`: seconds that it takes for each document, asleep."""

    delay: float = 0.0

    def build(self) -> StubEncoder:
        packed = self.calibration
        return StubEncoder(None if packed is None else Calibration.from_arrow(from_ipc(packed)), self.delay)


@dataclass(frozen=True, slots=True)
class OneThread(EncoderPlan):
    """Builds the real encoder, with one thread on however many cores."""

    def build(self) -> Encoder:
        return EncoderPlan.build(replace(self, threads=1))


def checkpoint(directory: Path, vocabulary: Sequence[str]) -> str:
    """A model directory for the stub: no weights to speak of, and a tokenizer that splits at white space."""
    directory.mkdir(parents=True)
    numbers = {word: number for number, word in enumerate(["[UNK]", "[PAD]", *dict.fromkeys(vocabulary)])}
    words = Tokenizer(WordLevel(numbers, unk_token="[UNK]"))
    words.pre_tokenizer = WhitespaceSplit()
    words.save(str(directory / "tokenizer.json"))
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    (directory / "tokenizer_config.json").write_text(json.dumps(kind))
    (directory / "config.json").write_text(json.dumps({"model_type": "olmoe"}))
    (directory / "moee.json").write_text(json.dumps({"prompt": "{text}"}))
    save_file({"nothing": np.zeros(1, np.float32)}, directory / "model.safetensors")
    return str(directory)


class Rigged:
    """An engine that is given other stages than the job's.

    Args:
        engine: executes them.
        parts: for some fields of `Stages`, what makes of the job's the one to be executed.
    """

    def __init__(self, engine: Engine, **parts: Callable[[Any], Any]) -> None:
        self.engine, self.parts = engine, parts
        self._modules: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def __enter__(self) -> Self:
        if self.engine.name == "Ray":
            self._travel_by_value()
        self.engine.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.engine.__exit__(*error)
        while self._modules:
            unregister(self._modules.pop())

    def calibrate(self, encoder: EncoderPlan, plan: Any, read: Any) -> Any:
        return self.engine.calibrate(self._part("encoder", encoder), plan, self._part("read", read))

    def parcels(self, sized: Any, stages: Any) -> Any:
        changed = {name: self._part(name, getattr(stages, name)) for name in self.parts}
        return self.engine.parcels(sized, replace(stages, **changed))

    def _part(self, name: str, part: Any) -> Any:
        return self.parts[name](part) if name in self.parts else part

    def _travel_by_value(self) -> None:
        """Ray's workers cannot import what is not in the package; the local engine's have the driver's path."""
        from ray import cloudpickle

        for name in ("stub", "deadly", "slow_stages", "bench_stub"):
            if name in sys.modules:
                cloudpickle.register_pickle_by_value(sys.modules[name])
                self._modules.append(sys.modules[name])


def unregister(module: Any) -> None:
    from ray import cloudpickle

    cloudpickle.unregister_pickle_by_value(module)


def as_a(kind: type[Any], part: Any) -> Any:
    """A dataclass with the fields that it has in common with another one."""
    names = {each.name for each in fields(kind)} & {each.name for each in fields(part)}
    return kind(**{name: getattr(part, name) for name in names})


def planted(engine: Engine, delay: float = 0.0) -> Rigged:
    """The engine with stubs for replicas."""
    return Rigged(engine, encoder=partial(_stub_plan, delay=delay))


def _stub_plan(encoder: EncoderPlan, delay: float) -> StubPlan:
    return replace(as_a(StubPlan, encoder), delay=delay)


def on_one_thread(engine: Engine) -> Rigged:
    """The engine with real replicas of one thread each."""
    return Rigged(engine, encoder=partial(as_a, OneThread))
