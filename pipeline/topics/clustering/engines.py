"""UMAP and HDBSCAN, the two slow steps of clustering: on a GPU if cuML can be imported, else on one core.

The settings are the same on both. cuML is not a dependency; it is used where RAPIDS is installed.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["cuml", "hdbscan", "umap"]

logger = logging.getLogger(__name__)

KNOWN_TOPICS_WEIGHT: Final = 0.1
"""UMAP's `target_weight` of known topics, in [0, 1). Measured on the 20 Newsgroups, fitted on 12 groups and again on
all 20: 88 to 92 % of the old documents in a topic kept it (71 to 76 % without known topics; two seeds of the same fit
agree on 84 to 90 %), and the agreement with the groups was no lower. Weights of 0.25 and 0.5 kept 1 % more."""


@cache
def cuml() -> Any:
    """The module, or None where it is not installed or cannot be imported (no GPU, another CUDA)."""
    if find_spec("cuml") is None:
        return None
    try:
        module = import_module("cuml")
        import_module("cuml.cluster")
        import_module("cuml.manifold")
    except Exception as error:  # whatever a driver that does not fit raises
        logger.warning("cuML cannot be used: %s: %s; going on without a GPU", type(error).__name__, error)
        return None
    return module


def umap(
    vectors: NDArray[np.float32],
    *,
    neighbors: int,
    dimensions: int,
    seed: int,
    known: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Reduce `vectors` float32 [n, D], by cosine, to float32 [n, dimensions].

    Args:
        vectors: of the documents.
        neighbors: of each document.
        dimensions: of the result.
        seed: of the layout.
        known: topics of the documents in the last model, int64 [n], -1 for none. UMAP counts documents of different
            topics as less near (semi-supervised reduction).
    """
    settings: dict[str, Any] = {
        "n_neighbors": neighbors,
        "n_components": dimensions,
        "min_dist": 0.0,
        "metric": "cosine",
        "random_state": seed,
    }
    if known is not None and known.max(initial=-1) >= 0:
        settings["target_weight"] = KNOWN_TOPICS_WEIGHT
    else:
        known = None
    if (gpu := cuml()) is not None:
        return np.asarray(gpu.manifold.UMAP(**settings).fit_transform(vectors, y=known), dtype=np.float32)
    from umap import UMAP

    # A seeded UMAP runs on one thread; saying so keeps it from warning that it changed the setting.
    return np.asarray(UMAP(**settings, n_jobs=1).fit_transform(vectors, y=known), dtype=np.float32)


def hdbscan(points: NDArray[np.float32], *, min_cluster_size: int) -> NDArray[np.int64]:
    """Cluster `points` float32 [n, d], by Euclidean distance; int64 [n], -1 for outliers."""
    settings: dict[str, Any] = {
        "min_cluster_size": min_cluster_size,
        "metric": "euclidean",
        "cluster_selection_method": "eom",
    }
    if (gpu := cuml()) is not None:
        return np.asarray(gpu.cluster.HDBSCAN(**settings).fit_predict(points), dtype=np.int64)
    from hdbscan import HDBSCAN

    return np.asarray(HDBSCAN(**settings, core_dist_n_jobs=1).fit_predict(points), dtype=np.int64)
