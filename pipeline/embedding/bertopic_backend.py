"""The encoder as BERTopic's backend and scikit-learn's transformer: ``BERTopic(embedding_model=encoder)`` works.

BERTopic accepts a user's object only if it is an instance of its ``BaseEmbedder``, and importing BERTopic takes 10 s
and more. So the class claims to be one only after BERTopic has been imported, through ``__class__``, which
``isinstance`` reads by design (``unittest.mock`` uses it, too). Without this, BERTopic would treat the encoder as a
Hugging Face pipeline: it tests whether the type's name contains "pipeline", and this package's does.
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
