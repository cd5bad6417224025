"""The recipe: how documents are clustered.

    exact    UMAP to five dimensions, then HDBSCAN, with the settings of BERTopic's own pipeline
    pca      the same on the first hundred principal components: less memory, less time, slightly other neighbours
    evoc     EVoC on these components: the quickest of the three (extra ``evoc``)

Topic ids are given by `pipeline.topics.clustering.identity`, words by `pipeline.topics.words`.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

import numpy as np

from pipeline.errors import TopicError, UsageError
from pipeline.topics.clustering import engines
from pipeline.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["LIBRARIES", "RECIPES", "SEED_LIMIT", "Recipe", "RecipeName", "cluster", "library_versions", "untold"]

logger = logging.getLogger(__name__)

RecipeName = Literal["exact", "pca", "evoc"]
RECIPES: Final[tuple[RecipeName, ...]] = get_args(RecipeName)

SEED_LIMIT: Final = 2**32 - 1
"""Seeds are smaller: random generators take up to 2**32 - 1, and stability is measured with the next seed."""

LIBRARIES: Final = ("umap-learn", "hdbscan", "evoc", "scikit-learn", "numpy")
"""Packages whose version can change a fit; the versions are recorded with every model."""

SAME_VECTOR: Final = 1e-3
"""Vectors that differ by no more in any dimension are of the same text: it may be embedded twice, in float16."""

PRINCIPAL_COMPONENTS: Final = 100
"""Dimensions to which the recipes "pca" and "evoc" reduce first."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides a fit, beside the documents and their vectors.

    Raises:
        UsageError: a value with which nothing can be fitted.
    """

    name: RecipeName = "exact"
    """How documents are clustered."""
    seed: int = 0
    """Of the random steps."""
    min_cluster_size: int = 15
    """Fewest documents that make a topic."""
    limit: int = 100_000
    """The most documents that are clustered; of a larger table, a sample of this size."""
    n_neighbors: int = 15
    """Neighbours of each document in UMAP and EVoC."""
    n_components: int = 5
    """Dimensions to which UMAP reduces."""

    def __post_init__(self) -> None:
        if self.name not in RECIPES:
            raise UsageError(f"recipe={self.name!r}: there are {', '.join(RECIPES)}")
        if not 0 <= self.seed < SEED_LIMIT:
            raise UsageError(f"seed={self.seed}: use 0 or more, below {SEED_LIMIT:,}")
        if self.min_cluster_size < 2:
            raise UsageError(f"min_cluster_size={self.min_cluster_size}: a topic needs at least 2 documents")
        if self.limit < self.min_documents:
            raise UsageError(f"limit={self.limit}: cluster at least {self.min_documents} documents")

    @property
    def min_documents(self) -> int:
        """Fewest documents that can be clustered: enough for two topics, and for UMAP's neighbourhoods."""
        return 2 * max(self.min_cluster_size, self.n_neighbors)

    def params(self) -> dict[str, Any]:
        """The recipe as JSON-serializable values, as they are stored with the model."""
        params = asdict(self)
        return {"recipe": params.pop("name"), **params}


def library_versions() -> dict[str, str]:
    """Installed version of each of `LIBRARIES`, and of cuML where it is used."""
    gpu = engines.cuml()
    found = {} if gpu is None else {"cuml": str(gpu.__version__)}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def untold(_phase: str) -> None:
    """Nobody listens to the phases of a fit."""


def cluster(
    vectors: NDArray[np.float32],
    recipe: Recipe,
    known: NDArray[np.int64] | None = None,
    *,
    phase: Callable[[str], None] = untold,
) -> NDArray[np.int64]:
    """Cluster the rows of `vectors` float32 [n, D]; int64 [n]: 0..k-1 by falling size, -1 for outliers.

    Args:
        vectors: of the documents, unit length.
        recipe: how to cluster.
        known: topics of the documents in the last model, int64 [n], -1 for none; they guide the clustering. Recipe
            "evoc" ignores them.
        phase: told what is done.

    Raises:
        TopicError: too few documents, or no cluster was found.
        UsageError: the recipe needs a package that is not installed.
    """
    if len(vectors) < recipe.min_documents:
        raise TopicError(
            f"only {counted(len(vectors), 'document')} with a vector: topics need at least {recipe.min_documents} "
            f"at min_cluster_size {recipe.min_cluster_size}; embed more documents"
        )
    labels = _by_size(_clusters(vectors, recipe, known, phase))
    logger.info("%d documents: %d topics, %d outliers", len(labels), labels.max() + 1, np.sum(labels < 0))
    if labels.max() < 0:
        if np.abs(vectors - vectors[0]).max() <= SAME_VECTOR:
            raise TopicError(
                f"no topics: all {len(vectors)} documents hold the same text, as far as their vectors tell; "
                "was the column with the texts named with --text? --drop-duplicates stores a text once"
            )
        raise TopicError(
            f"no topics: all {len(labels)} documents are outliers at min_cluster_size {recipe.min_cluster_size}; "
            "try a lower one, or embed more documents"
        )
    return labels


def _clusters(
    vectors: NDArray[np.float32], recipe: Recipe, known: NDArray[np.int64] | None, phase: Callable[[str], None]
) -> NDArray[np.int64]:
    phase("reducing dimensions")
    if recipe.name != "exact":
        vectors = _principal_components(vectors, recipe.seed)
    if recipe.name == "evoc":
        phase("clustering")
        return _evoc(vectors, recipe)
    points = engines.umap(
        vectors, neighbors=recipe.n_neighbors, dimensions=recipe.n_components, seed=recipe.seed, known=known
    )
    phase("clustering")
    return engines.hdbscan(points, min_cluster_size=recipe.min_cluster_size)


def _principal_components(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """float32 [n, at most `PRINCIPAL_COMPONENTS`]."""
    from sklearn.decomposition import PCA

    return PCA(min(PRINCIPAL_COMPONENTS, *vectors.shape), random_state=seed).fit_transform(vectors)


def _evoc(vectors: NDArray[np.float32], recipe: Recipe) -> NDArray[np.int64]:
    try:
        from evoc import EVoC
    except ImportError as error:
        raise UsageError("recipe 'evoc' needs EVoC, which is not here: pip install 'moee-pipeline[evoc]'") from error
    settings = {"base_min_cluster_size": recipe.min_cluster_size, "n_neighbors": recipe.n_neighbors}
    clusterer: Any = EVoC(**cast("Any", settings), random_state=recipe.seed)
    return np.asarray(clusterer.fit_predict(vectors), dtype=np.int64)


def _by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Renumber clusters 0..k-1 by falling size; ties go to the cluster of the first document."""
    names, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    renumbered = np.full(int(labels.max(initial=-1)) + 2, -1, dtype=np.int64)
    renumbered[names[order]] = np.arange(len(names))
    return renumbered[labels]
