"""Stage one: one vector a token, so that a mean over tokens already is a good document vector.

First without any training: the truncated SVD of the token-by-window TF-IDF matrix, rows brought
to unit length and multiplied by a power of the inverse document frequency, so that frequent
tokens are short and the mean weighs tokens as TF-IDF does. Then a short contrastive refinement
of these vectors as bags of tokens, which sees hundreds of thousands of tokens a second and
batches of a thousand documents, both out of reach for the contextual model on a CPU.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from sklearn.utils.extmath import randomized_svd
from torch.nn import functional

from .corpus import Stream, choose_documents, draw_pair, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = npt.NDArray[np.float32]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StaticRecipe:
    """Choices made on the held-out posts."""

    width: int = 255
    window: int = 256
    idf_power: float = 1.5
    textbook_weight: float = 0.3  # of a textbook window against a post's
    steps: int = 150  # 600 steps overfit: held-out P@10 falls from .58 to .55
    pairs: int = 1024
    passage: int = 256
    temperature: float = 0.2  # 0.05, usual for sentences, loses what the SVD had
    learning_rate: float = 3e-3
    newsgroup_share: float = 0.9
    token_dropout: float = 0.3
    seed: int = 0


def token_vectors(streams: Sequence[Stream], weights: Sequence[float], vocabulary: int, recipe: StaticRecipe) -> Floats:
    """SVD of the token-by-window TF-IDF matrix; rows of length idf ** idf_power."""
    counts, row_weights = _count_windows(streams, weights, vocabulary, recipe.window)
    windows_in_all = len(row_weights)
    frequency = np.bincount(counts.indices, minlength=vocabulary)
    idf = np.log((1 + windows_in_all) / (1 + frequency)).astype(np.float32)
    tfidf = counts.copy()
    tfidf.data = 1 + np.log(tfidf.data)
    tfidf = tfidf @ sp.diags(idf)
    lengths = np.sqrt(np.asarray(tfidf.multiply(tfidf).sum(axis=1))).ravel()
    tfidf = sp.diags(row_weights / np.maximum(lengths, 1e-9)) @ tfidf
    _, singular, components = randomized_svd(
        tfidf.astype(np.float32).tocsr(),
        recipe.width,
        n_iter=4,  # pyright: ignore[reportArgumentType]
        random_state=recipe.seed,
    )
    vectors = components.T * np.sqrt(singular)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    vectors *= idf[:, None] ** recipe.idf_power
    return (vectors / np.median(np.linalg.norm(vectors, axis=1))).astype(np.float32)


def _count_windows(
    streams: Sequence[Stream], weights: Sequence[float], vocabulary: int, size: int
) -> tuple[Any, Floats]:
    """Token counts (sparse rows), one row a window, and each row's weight."""
    pieces: list[npt.NDArray[np.int32]] = []
    row_weights: list[float] = []
    for stream, weight in zip(streams, weights, strict=True):
        own = windows(stream, size)
        pieces.extend(own)
        row_weights.extend([weight] * len(own))
    rows = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    columns = np.concatenate(pieces)
    matrix = sp.coo_matrix(
        (np.ones(len(columns), dtype=np.float32), (rows, columns)), shape=(len(pieces), vocabulary)
    ).tocsr()
    return matrix, np.array(row_weights, dtype=np.float32)


def bag_means(vectors: torch.Tensor, bags: Sequence[npt.NDArray[np.int32]]) -> torch.Tensor:
    """Mean token vector of each bag, [len(bags), width]."""
    offsets = np.cumsum([0] + [len(bag) for bag in bags[:-1]])
    ids = torch.from_numpy(np.concatenate(bags)).long()
    return functional.embedding_bag(ids, vectors, torch.from_numpy(offsets), mode="mean")


def standardize(rows: torch.Tensor) -> torch.Tensor:
    """What the embedder does with a calibration sample, done with the batch: z-score, unit length."""
    centred = (rows - rows.mean(dim=0)) / (rows.std(dim=0) + 1e-6)
    return functional.normalize(centred, dim=1)


def pair_loss(first: torch.Tensor, second: torch.Tensor, temperature: float) -> torch.Tensor:
    """Symmetric InfoNCE: row i of one side belongs to row i of the other."""
    scores = first @ second.T / temperature
    labels = torch.arange(len(first))
    return (functional.cross_entropy(scores, labels) + functional.cross_entropy(scores.T, labels)) / 2


def refine(start: Floats, streams: Sequence[Stream], recipe: StaticRecipe) -> Floats:
    """Passages of one document agree. Each batch is of one source, whose negatives are harder."""
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    vectors = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = torch.optim.Adam([vectors], lr=recipe.learning_rate, betas=(0.9, 0.98))
    for step in range(recipe.steps):
        cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * cosine * min(1.0, (step + 1) / 20)
        source = 0 if rng.random() < recipe.newsgroup_share else 1
        documents = choose_documents([streams[source]], [1.0], recipe.pairs, 40, rng)
        pairs = [draw_pair(document, recipe.passage, rng) for document in documents]
        bags = [_thin(side, recipe.token_dropout, rng) for sides in zip(*pairs, strict=True) for side in sides]
        rows = standardize(bag_means(vectors, bags))
        loss = pair_loss(rows[: len(pairs)], rows[len(pairs) :], recipe.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 0 or step == recipe.steps - 1:
            logger.info("static step %d source %d loss %.3f", step, source, loss.item())
    return vectors.detach().numpy()


def _thin(ids: npt.NDArray[np.int32], share: float, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Drop a share of the tokens: keeps the refinement from leaning on single rare tokens."""
    kept = ids[rng.random(len(ids)) >= share]
    return kept if len(kept) else ids
