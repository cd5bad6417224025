"""MoEE embeddings: a corpus streamed through Mixture-of-Experts models into a searchable table with topics.

The public names load on first use, so that importing the package costs nothing. The import sets one thing: how
torch's threads wait (`pipeline.threads`), because torch reads that when it is loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.threads import spin_briefly

if TYPE_CHECKING:
    from pipeline.embedding.encoder import Encoder
    from pipeline.flow.dataset import embed_dataset
    from pipeline.flow.embed import embed
    from pipeline.spec import EmbeddingSpec
    from pipeline.table.vector_table import VectorTable
    from pipeline.topics.versions.load import load_topics

spin_briefly()

__all__ = ["EmbeddingSpec", "Encoder", "VectorTable", "embed", "embed_dataset", "load_topics"]

_HOME = {
    "EmbeddingSpec": "pipeline.spec",
    "Encoder": "pipeline.embedding.encoder",
    "VectorTable": "pipeline.table.vector_table",
    "embed": "pipeline.flow.embed",
    "embed_dataset": "pipeline.flow.dataset",
    "load_topics": "pipeline.topics.versions.load",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
