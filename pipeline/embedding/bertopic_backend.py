"""The encoder's faces towards BERTopic and scikit-learn, so that ``BERTopic(embedding_model=encoder)`` just works.

BERTopic accepts an object of one's own only if it is an instance of its ``BaseEmbedder``, and importing BERTopic takes
10 s and more. So the class shows itself as one only when BERTopic has been imported, through ``__class__``, which
``isinstance`` consults by design (as ``unittest.mock`` uses it). Without this, BERTopic would take the encoder for a
Hugging Face pipeline: its test is whether the type's name contains "pipeline", and our package's does.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

__all__ = ["BertopicBackend"]


class BertopicBackend(ABC):
    """Mixin for anything with ``encode(texts) -> float32 [n, D]``."""

    embedding_model = None
    word_embedding_model = None

    @abstractmethod
    def encode(self, texts: Any) -> np.ndarray:
        """Texts → vectors, float32 [n, D]."""

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The encoder's class, or a subclass that is BERTopic's ``BaseEmbedder`` too once BERTopic is there."""
        module = sys.modules.get("bertopic.backend._base")
        base = getattr(module, "BaseEmbedder", None)
        if base is None:
            return type(self)
        return type(type(self).__name__, (type(self), base), {"__module__": type(self).__module__})

    def embed(self, documents: Sequence[str], verbose: bool = False) -> np.ndarray:  # noqa: ARG002, FBT001, FBT002
        """BERTopic's name for `encode`."""
        return self.encode(list(documents))

    embed_documents = embed
    embed_words = embed

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002
        """Scikit-learn's protocol; an encoder has nothing to search over."""
        return {}

    def fit(self, texts: Sequence[str], y: object = None) -> Self:  # noqa: ARG002
        """Scikit-learn's protocol; there is nothing to learn."""
        return self

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Scikit-learn's name for `encode`."""
        return self.encode(list(texts))

    def fit_transform(self, texts: Sequence[str], y: object = None) -> np.ndarray:
        """`fit`, then `transform`."""
        return self.fit(texts, y).transform(texts)
