"""Calibration: the mean and deviation of each dimension, so that a vector says in what its document is unusual.

The authors z-score per batch, which makes a document's vector depend on the rest of its batch. Here mean and standard
deviation come from a fixed sample of the corpus, once, and are stored with the table (docs/design.md, "The vector").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.errors import UsageError

__all__ = ["SAMPLE_SIZE", "Calibration", "Halves", "choose_sample", "text_hash"]

SAMPLE_SIZE: Final = 2048
"""Documents in a calibration sample."""

MIN_RELATIVE_DEVIATION: Final = 1e-6
"""A dimension whose deviation is a smaller share of its mean counts as constant: a dead expert, not a signal.

float32 resolves 6e-8 of a value, and the mean of thousands of equal values is off by some tens of that.
"""


class Halves(NamedTuple):
    """Z-scored halves of n vectors."""

    hidden: np.ndarray
    """z_h, float32 [n, H]."""
    routing: np.ndarray
    """z_r, float32 [n, R]."""


@dataclass(frozen=True)
class Calibration:
    """Mean and standard deviation of the raw halves over a sample."""

    hidden_mean: np.ndarray
    """float32 [H]."""
    hidden_deviation: np.ndarray
    """float32 [H]."""
    routing_mean: np.ndarray
    """float32 [R]."""
    routing_deviation: np.ndarray
    """float32 [R]."""
    sample_size: int
    """Documents in the sample."""

    @classmethod
    def fit(cls, hidden: np.ndarray, routing: np.ndarray) -> Calibration:
        """From the raw halves of a sample: float [n, H] and float [n, R], n at least 2."""
        if len(hidden) < 2 or len(hidden) != len(routing):
            raise UsageError(f"calibration needs at least two documents with both halves, not {len(hidden)}")
        hidden, routing = hidden.astype(np.float64), routing.astype(np.float64)
        if not hidden.std(axis=0).any():
            raise UsageError("calibration: all texts of the sample give the same vector; take texts that differ")
        return cls(
            hidden_mean=hidden.mean(axis=0).astype(np.float32),
            hidden_deviation=hidden.std(axis=0).astype(np.float32),
            routing_mean=routing.mean(axis=0).astype(np.float32),
            routing_deviation=routing.std(axis=0).astype(np.float32),
            sample_size=len(hidden),
        )

    @cached_property
    def hash(self) -> str:
        """Hash of the figures: 32 hexadecimal digits."""
        digest = blake2b(digest_size=16)
        for array in self._arrays():
            digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        return digest.hexdigest()

    def apply(self, hidden: np.ndarray, routing: np.ndarray) -> Halves:
        """Z-score raw halves; dimensions that are constant in the sample become 0."""
        return Halves(
            (hidden - self.hidden_mean) * _inverse(self.hidden_mean, self.hidden_deviation),
            (routing - self.routing_mean) * _inverse(self.routing_mean, self.routing_deviation),
        )

    def to_arrow(self) -> pa.Table:
        """One row: hash, sample_size, and the four arrays as list<float32>."""
        names = ("hidden_mean", "hidden_deviation", "routing_mean", "routing_deviation")
        lists = {name: pa.array([array]) for name, array in zip(names, self._arrays(), strict=True)}
        return pa.table({"hash": [self.hash], "sample_size": pa.array([self.sample_size], pa.int64()), **lists})

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Calibration:
        """From the first row of a table that `to_arrow` made."""

        def array(name: str) -> np.ndarray:
            return np.asarray(table.column(name)[0].values, dtype=np.float32)

        return cls(
            array("hidden_mean"),
            array("hidden_deviation"),
            array("routing_mean"),
            array("routing_deviation"),
            int(table.column("sample_size")[0].as_py()),
        )

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return (self.hidden_mean, self.hidden_deviation, self.routing_mean, self.routing_deviation)


def choose_sample(texts: pa.ChunkedArray | pa.Array, size: int = SAMPLE_SIZE) -> list[str]:
    """The `size` distinct texts with the lowest hash, which depend on neither their order nor the workers."""
    distinct = texts.unique().to_pylist()
    return [text for _, text in sorted((text_hash(text), text) for text in distinct)[:size]]


def text_hash(text: str) -> bytes:
    """A text's place in the sampling order."""
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()


def _inverse(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    floor = MIN_RELATIVE_DEVIATION * np.maximum(np.abs(mean), MIN_RELATIVE_DEVIATION)
    return np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > floor)
