"""The recipe: which documents belong together.

UMAP to five dimensions, then HDBSCAN, with the settings of BERTopic's own pipeline. What a cluster is called is
`pipeline.topics.representation`; which number it gets is `pipeline.topics.identity`.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.errors import TopicError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LIBRARIES", "Recipe", "cluster", "library_versions"]

logger = logging.getLogger(__name__)

LIBRARIES: Final = ("bertopic", "umap-learn", "hdbscan", "scikit-learn", "numpy")
"""Packages whose version can change a fit; recorded with every model."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a fit, documents and their vectors apart.

    Raises:
        UsageError: a value with which nothing can be fitted.
    """

    seed: int = 0
    min_cluster_size: int = 15
    limit: int = 100_000
    """Documents that are clustered; of more, those with the lowest id hashes."""
    n_neighbors: int = 15
    n_components: int = 5

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"seed={self.seed}: use 0 or more")
        if self.min_cluster_size < 2:
            raise UsageError(f"min_cluster_size={self.min_cluster_size}: a topic needs at least 2 documents")
        if self.limit < self.fewest_documents:
            raise UsageError(f"limit={self.limit}: cluster at least {self.fewest_documents} documents")

    @property
    def fewest_documents(self) -> int:
        """Below this there is nothing to cluster: room for two topics, and for UMAP's neighbourhoods."""
        return 2 * max(self.min_cluster_size, self.n_neighbors)

    def params(self) -> dict[str, Any]:
        """The recipe as JSON-serializable values, as stored with the model."""
        return {"recipe": "exact", **asdict(self)}


def library_versions() -> dict[str, str]:
    """Installed version of each of `LIBRARIES`."""
    return {name: version(name) for name in LIBRARIES}


def cluster(vectors: NDArray[np.float32], recipe: Recipe) -> NDArray[np.int64]:
    """Cluster the rows of `vectors` float32 [n, D]; int64 [n]: 0..k-1 by falling size, -1 for outliers.

    Raises:
        TopicError: too few documents, or none of them belong together.
    """
    if len(vectors) < recipe.fewest_documents:
        raise TopicError(
            f"only {len(vectors)} documents with a vector: topics need at least {recipe.fewest_documents} "
            f"at min_cluster_size {recipe.min_cluster_size}; embed more documents"
        )
    labels = _by_size(_hdbscan(_umap(vectors, recipe), recipe))
    logger.info("%d documents: %d topics, %d outliers", len(labels), labels.max() + 1, np.sum(labels < 0))
    if labels.max() < 0:
        raise TopicError(
            f"no topics: all {len(labels)} documents are outliers at min_cluster_size {recipe.min_cluster_size}; "
            "try a lower one, or embed more documents"
        )
    return labels


def _umap(vectors: NDArray[np.float32], recipe: Recipe) -> NDArray[np.float32]:
    from umap import UMAP

    reducer = UMAP(
        n_neighbors=recipe.n_neighbors,
        n_components=recipe.n_components,
        min_dist=0.0,
        metric="cosine",
        random_state=recipe.seed,
        # A seeded UMAP runs on one thread; saying so keeps it from warning that it changed the setting.
        n_jobs=1,
    )
    return np.asarray(reducer.fit_transform(vectors), dtype=np.float32)


def _hdbscan(points: NDArray[np.float32], recipe: Recipe) -> NDArray[np.int64]:
    from hdbscan import HDBSCAN

    clusterer = HDBSCAN(
        min_cluster_size=recipe.min_cluster_size,
        metric="euclidean",
        cluster_selection_method="eom",
        prediction_data=True,
        core_dist_n_jobs=1,
    )
    return np.asarray(clusterer.fit_predict(points), dtype=np.int64)


def _by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Renumber 0..k-1 by falling size; the first document decides between equals."""
    names, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    renumbered = np.full(int(labels.max(initial=-1)) + 2, -1, dtype=np.int64)
    renumbered[names[order]] = np.arange(len(names))
    return renumbered[labels]
