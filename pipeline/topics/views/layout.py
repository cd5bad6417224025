"""The layout of a map: vectors → 50 principal components → UMAP to two dimensions.

The same documents and seed give the same map. The map is turned so that its long side is horizontal. A layout takes a
minute for 50,000 documents, so `pipeline.topics.views.map` keeps it under its `layout_token`.
"""

from __future__ import annotations

from hashlib import blake2b
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.table.fragments.rows import take_rows
from pipeline.topics.clustering.documents import BATCH_ROWS
from pipeline.topics.clustering.geometry import unit_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lance import LanceDataset
    from numpy.typing import NDArray

    from pipeline.topics.views.sample import Sample

__all__ = ["layout", "layout_token"]

COMPONENTS: Final = 50
PCA_ROWS: Final = 20_000
"""Documents that the components are computed from."""
NEIGHBOURS: Final = 15
MIN_DISTANCE: Final = 0.1
MIN_DOCUMENTS: Final = NEIGHBOURS + 1
"""With fewer documents, the first two components are the map."""
FRAMED_SHARE: Final = 0.99
"""Share of the documents that spans the map; documents far outside are drawn into the margin."""
MARGIN: Final = 0.25
"""Width of the margin, in halves of the map's side."""


def layout_token(sample: Sample, fingerprint: str | None, seed: int) -> str:
    """A name for a layout: the same token means the same coordinates."""
    settings = f"{fingerprint} {seed} {COMPONENTS} {NEIGHBOURS} {MIN_DISTANCE} umap-learn {version('umap-learn')}"
    return blake2b(settings.encode() + sample.hashes.tobytes(), digest_size=16).hexdigest()


def layout(dataset: LanceDataset, rows: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """Coordinates float32 [n, 2] of `rows` int64 [n] of a table, both axes in [0, 1]."""
    if len(rows) == 1:  # one document has no components
        return np.full((1, 2), 0.5, dtype=np.float32)
    return _framed(_umap(_reduced(dataset, rows, seed), seed))


def _reduced(dataset: LanceDataset, rows: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """Principal components float32 [n, c]; after the fit, one batch of vectors is in memory at a time."""
    from sklearn.decomposition import PCA

    first = np.concatenate(list(_vectors(dataset, rows[:PCA_ROWS])))
    pca = PCA(min(COMPONENTS, *first.shape), random_state=seed).fit(first)
    del first
    return np.concatenate([pca.transform(batch).astype(np.float32) for batch in _vectors(dataset, rows)])


def _vectors(dataset: LanceDataset, rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    """Unit vectors float32 [≤ BATCH_ROWS, D]."""
    for start in range(0, len(rows), BATCH_ROWS):
        column = take_rows(dataset, rows[start : start + BATCH_ROWS], ["vector"]).column("vector")
        values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        yield unit_rows(values.reshape(len(column), -1).astype(np.float32))


def _umap(points: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    if len(points) < MIN_DOCUMENTS:
        return np.pad(points[:, :2], ((0, 0), (0, max(0, 2 - points.shape[1]))))
    from umap import UMAP

    reducer = UMAP(
        n_neighbors=NEIGHBOURS,
        min_dist=MIN_DISTANCE,
        metric="cosine",
        random_state=seed,
        n_jobs=1,  # a seeded UMAP runs on one thread; saying so keeps it from warning
    )
    return np.asarray(reducer.fit_transform(points), dtype=np.float32)


def _framed(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """`points` [n, 2] turned to their principal axes and scaled into the unit square; the long side fills it."""
    centred = points - np.median(points, axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    # The sign of an axis is arbitrary: the farthest point goes to the positive side.
    turned = centred @ axes.T
    turned *= np.sign(turned[np.abs(turned).argmax(axis=0), [0, 1]] + 1e-30)
    edges = np.quantile(turned, [(1 - FRAMED_SHARE) / 2, (1 + FRAMED_SHARE) / 2], axis=0)
    middle, half = edges.mean(axis=0), np.maximum((edges[1] - edges[0]).max() / 2, 1e-9)
    far = (turned - middle) / half
    beyond = np.abs(far) - 1
    drawn_in = np.sign(far) * (1 + MARGIN * np.tanh(beyond / MARGIN))
    return (0.5 + np.where(beyond > 0, drawn_in, far) / (2 + 2 * MARGIN)).astype(np.float32)
