"""How good vectors are: neighbours of the same label, clusters that follow labels, agreement with human similarity.

Every way to make a vector from the same raw halves is measured on the same texts in one run, beside two baselines:
TF-IDF + SVD, and the same architecture with random weights.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from pipeline.embedding.calibration import Calibration, choose_sample
from pipeline.embedding.combine import combine, unit
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipeline.embedding.calibration import Halves
    from pipeline.embedding.encoder import Encoder
    from pipeline.models import Checkpoint

__all__ = [
    "ALPHAS",
    "NEIGHBOURS",
    "Scores",
    "calibrated_halves",
    "combinations",
    "label_scores",
    "precision_at",
    "read_sts",
    "spearman",
    "tfidf_vectors",
    "v_measure",
    "write_random_checkpoint",
]

NEIGHBOURS: Final = 10
ALPHAS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
SVD_DIMENSIONS: Final = 256
ROWS_PER_PRODUCT: Final = 1024


@dataclass(frozen=True, slots=True)
class Scores:
    """How well vectors follow labels."""

    precision: float
    """Share of the 10 nearest others that carry the same label."""
    v_measure: float
    """V-measure of k-means with as many clusters as there are labels."""


def label_scores(vectors: np.ndarray, labels: np.ndarray) -> Scores:
    """Both measures of unit-length vectors, float32 [n, D], against labels [n]."""
    return Scores(precision_at(vectors, labels), v_measure(vectors, labels))


def precision_at(vectors: np.ndarray, labels: np.ndarray, k: int = NEIGHBOURS) -> float:
    """Share of each document's `k` nearest others (cosine) that carry its label, averaged.

    Raises:
        UsageError: there are not more than `k` documents.
    """
    if len(vectors) <= k:
        raise UsageError(f"precision@{k} needs more than {k} labelled documents; there are {len(vectors)}")
    hits = 0
    for start in range(0, len(vectors), ROWS_PER_PRODUCT):
        similarity = vectors[start : start + ROWS_PER_PRODUCT] @ vectors.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -np.inf
        nearest = np.argpartition(-similarity, k, axis=1)[:, :k]
        hits += int((labels[nearest] == labels[start : start + ROWS_PER_PRODUCT, None]).sum())
    return hits / (len(vectors) * k)


def v_measure(vectors: np.ndarray, labels: np.ndarray) -> float:
    """V-measure of k-means clusters, one for each label, best of 3 starts, seed 0."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import v_measure_score

    means = KMeans(len(np.unique(labels)), n_init=3, random_state=0)  # pyright: ignore[reportArgumentType]
    clusters = means.fit_predict(vectors)
    return float(v_measure_score(labels, clusters))


def spearman(a: np.ndarray, b: np.ndarray, gold: np.ndarray) -> float:
    """Rank correlation of the cosines of row pairs with human judgements [n]."""
    from scipy.stats import spearmanr

    return float(spearmanr(np.einsum("nd,nd->n", unit(a), unit(b)), gold).statistic)


def calibrated_halves(encoder: Encoder, texts: Sequence[str]) -> Halves:
    """Z-scored halves of texts, calibrated on a sample of the same texts as a table would be."""
    raw = encoder.encode_raw(texts)
    chosen = set(choose_sample(pa.array(texts)))
    sample = np.array([text in chosen for text in texts])
    calibration = Calibration.fit(raw.hidden_state[sample], raw.routing_weights[sample])
    return calibration.apply(raw.hidden_state, raw.routing_weights)


def combinations(halves: Halves, alphas: Sequence[float] = ALPHAS) -> Iterator[tuple[str, np.ndarray]]:
    """Every way to combine the halves: its name and the vectors."""
    for how in ("hs", "rw", "concat"):
        yield how, combine(halves, how, None)
    for alpha in alphas:
        yield f"sum {alpha:g}", combine(halves, "sum", alpha)


def tfidf_vectors(fitting: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """The baseline: TF-IDF (english stop words, min_df 3, sublinear, 50k terms) + SVD 256, unit length."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(stop_words="english", min_df=3, sublinear_tf=True, max_features=50_000)
    counts = vectorizer.fit_transform(fitting)
    svd = TruncatedSVD(min(SVD_DIMENSIONS, counts.shape[1] - 1), random_state=0).fit(counts)
    return unit(svd.transform(vectorizer.transform(texts)))


def write_random_checkpoint(checkpoint: Checkpoint, target: Path) -> None:
    """Write a checkpoint of the same architecture and tokenizer with random weights."""
    import torch
    from transformers import AutoConfig, AutoModel

    from pipeline.models.quiet import quiet_transformers

    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = AutoConfig.from_pretrained(checkpoint.path, trust_remote_code=False)
        AutoModel.from_config(config, dtype=torch.bfloat16).save_pretrained(target)
    for file in checkpoint.path.glob("tokenizer*"):
        shutil.copy(file, target)
    (target / "moee.json").write_text(json.dumps(dict(checkpoint.defaults)))


def read_sts(path: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """A SemEval file: gold score, tab, sentence, tab, sentence; pairs without a score are left out.

    Raises:
        UsageError: the file is not of that form.
    """
    gold: list[float] = []
    first: list[str] = []
    second: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        parts = line.split("\t")
        try:
            score = float(parts[0]) if parts[0].strip() else None
            one, other = parts[1], parts[2]
        except (ValueError, IndexError):
            raise UsageError(f"{path}:{number}: not a gold score and two sentences, parted by tabs") from None
        if score is not None:
            gold.append(score)
            first.append(one)
            second.append(other)
    return np.array(gold), first, second
