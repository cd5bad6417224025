"""A replica that costs next to nothing: 256-d vectors from the tokens' own numbers. It measures everything else.

It enters where every replica does, at `EncoderPlan.build`: `planted` puts a plan that builds a stub in the job's place.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from ray import cloudpickle
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from pipeline.embedding.calibration import Calibration
from pipeline.embedding.vectors import Vectors
from pipeline.flow import job
from pipeline.flow.encoder_plan import EncoderPlan
from pipeline.flow.parcel import from_ipc

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from pipeline.embedding.encoder import Encoder
    from pipeline.embedding.tokens import Tokens

HALVES = (192, 64)
POOL = 4096


class StubEncoder:
    """Vectors are drawn from a fixed pool by the sum of a text's tokens: the same text, the same vector."""

    def __init__(self, calibration: Calibration | None, delay: float = 0.0) -> None:
        self.halves, self.dimension = HALVES, sum(HALVES)
        pool = np.random.default_rng(5).standard_normal((POOL, self.dimension)).astype(np.float32)
        self._pool = pool / np.linalg.norm(pool, axis=1, keepdims=True)
        self.calibration, self._delay = calibration, delay

    def calibrated(self, texts: Sequence[str]) -> Vectors:
        made = np.resize(self._pool, (max(len(texts), 2), self.dimension))
        self.calibration = Calibration.fit(made[:, : HALVES[0]], made[:, HALVES[0] :])
        counts = np.ones(len(texts), np.int32)
        return Vectors(np.full_like(made, np.nan), counts, counts, counts, counts > 1)

    def vectors_of(self, tokens: Tokens) -> Vectors:
        time.sleep(self._delay * len(tokens))
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


@contextmanager
def planted(plan: Callable[..., EncoderPlan] = StubPlan) -> Generator[None]:
    """Every `embed` inside builds its encoders by `plan`; its code travels to the workers by value."""
    module, original = sys.modules[__name__], job.EncoderPlan
    cloudpickle.register_pickle_by_value(module)
    job.EncoderPlan = plan
    try:
        yield
    finally:
        job.EncoderPlan = original
        cloudpickle.unregister_pickle_by_value(module)
