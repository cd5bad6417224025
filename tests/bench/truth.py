"""Exact search, computed apart from the tables' own, and how far theirs agrees: recall, errors of scores, time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.embedding.combine import query_vector
from pipeline.table.schema import VECTOR

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.table import VectorTable

K, WARM_UP = 10, 10


@dataclass
class Setting:
    """Some queries asked in one way, and what exact search finds for each."""

    name: str
    queries: np.ndarray
    """float32 [q, D], in the stored form."""
    alpha: float | None = None
    column: str | None = None
    """Query i asks for rows that have i modulo `values` in this column."""
    values: int = 1
    ids: np.ndarray = field(init=False)
    """[q, K], best first; empty where there are fewer."""
    scores: np.ndarray = field(init=False)
    """float32 [q, K]; -inf where there are fewer."""

    def __post_init__(self) -> None:
        self.ids = np.full((len(self.queries), K), "", object)
        self.scores = np.full((len(self.queries), K), -np.inf, np.float32)

    def where(self, query: int) -> dict[str, int] | None:
        return None if self.column is None else {self.column: query % self.values}

    def asked(self, table: VectorTable) -> np.ndarray:
        """float32 [q, D]: of which the dot product with a stored vector is the score."""
        spec, (hidden, _) = table.spec, table.halves
        asked = [query_vector(query, spec.combine, hidden, spec.alpha, self.alpha) for query in self.queries]
        return np.stack([query.scale * query.vector for query in asked])

    def compare(self, scores: np.ndarray, batch: pa.RecordBatch) -> None:
        """Take rows with these scores [q, n] in, where they are better."""
        if self.column:
            wanted = np.arange(len(scores)) % self.values
            scores[batch.column(self.column).to_numpy()[None] != wanted[:, None]] = -np.inf
        few = np.argpartition(-scores, min(K, scores.shape[1]) - 1, axis=1)[:, :K]
        ids = batch.column("id").to_numpy(zero_copy_only=False)[few]
        scores = np.concatenate([self.scores, np.take_along_axis(scores, few, axis=1)], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        self.ids = np.take_along_axis(np.concatenate([self.ids, ids], axis=1), order, axis=1)
        self.scores = np.take_along_axis(scores, order, axis=1)


def find_truth(table: VectorTable, settings: list[Setting]) -> None:
    """Exact search for all of them, in one pass over the table: float32, over the stored float16."""
    asked = [setting.asked(table) for setting in settings]
    columns = ["id", VECTOR, *{setting.column for setting in settings if setting.column}]
    for batch in table.dataset().to_batches(columns=columns, batch_size=8192):
        flat = batch.column(VECTOR).flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        rows = flat.reshape(len(batch), -1)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for setting, queries in zip(settings, asked, strict=True):
            setting.compare(queries @ rows.T, batch)


def measure(table: VectorTable, setting: Setting) -> dict[str, float]:
    """Recall, milliseconds, and the largest error of a score, of `VectorTable.search`, warm."""
    for query in range(min(WARM_UP, len(setting.queries))):
        table.search(setting.queries[query], K, alpha=setting.alpha, where=setting.where(query))
    seconds, found, errors = [], [], [0.0]
    for query, (ids, scores) in enumerate(zip(setting.ids, setting.scores, strict=True)):
        began = time.perf_counter()
        hits = table.search(setting.queries[query], K, alpha=setting.alpha, where=setting.where(query))
        seconds.append(time.perf_counter() - began)
        true = {name: score for name, score in zip(ids, scores, strict=True) if np.isfinite(score)}
        reported = dict(zip(hits.column("id").to_pylist(), hits.column("_score").to_pylist(), strict=True))
        errors += [abs(true[name] - reported[name]) for name in true.keys() & reported.keys()]
        found.append(len(true.keys() & reported.keys()) / len(true) if true else 1.0)
    return {
        "recall": float(np.mean(found)),
        "error": float(max(errors)),
        "p50": 1000 * float(np.median(seconds)),
        "p95": 1000 * float(np.quantile(seconds, 0.95)),
    }


def raw_recall(table: VectorTable, setting: Setting) -> float:
    """Recall of the index's codes alone, without comparing the full vectors."""
    dataset, found = table.dataset(), []
    for vector, true in zip(setting.asked(table), setting.ids, strict=True):
        nearest = {"column": VECTOR, "q": vector, "k": K, "metric": "cosine", "minimum_nprobes": 32}
        ids = dataset.to_table(columns=["id", "_distance"], nearest=nearest).column("id").to_pylist()
        found.append(len(set(ids) & set(true)) / K)
    return float(np.mean(found))
