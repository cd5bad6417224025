"""The stages of the graph: read and tokenize (tasks), embed (actors), stage (tasks). Each is a plain callable.

    work units ─read─▶ documents + tokens ─embed─▶ table rows ─stage─▶ fragments ─▶ the driver's commits

Every stage takes and gives blocks of parcels; called in a Python loop they do the same without Ray.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pipeline.corpus import DocumentBatch, ReaderOptions, WorkUnit, read_unit
from pipeline.embedding.rows import embed_documents
from pipeline.embedding.tokens import Tokenizer
from pipeline.flow.parcel import Parcel, concat
from pipeline.models import locate
from pipeline.table import stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    import pyarrow as pa

    from pipeline.flow.worker import EncoderPlan
    from pipeline.spec import EmbeddingSpec
    from pipeline.table import TableLocation

__all__ = ["EmbedStage", "ReadStage", "StageStage"]


@lru_cache(maxsize=4)
def _tokenizer(directory: Path, prompt: str, max_tokens: int) -> Tokenizer:
    """One tokenizer for the life of a worker process."""
    return Tokenizer(directory, prompt, max_tokens)


@dataclass(frozen=True, slots=True)
class ReadStage:
    """Work units (JSON, column ``unit``) → parcels of checked, tokenized documents.

    `done`: finished slices, which streams must skip; `keep`: the table's metadata columns.
    """

    spec: EmbeddingSpec
    options: ReaderOptions
    keep: pa.Schema
    done: np.ndarray
    storage_options: Mapping[str, Any] | None = None
    max_rows: int = 1024

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Yields one block for each batch of documents."""
        checkpoint = locate(self.spec.model, self.spec.revision)
        assert self.spec.prompt is not None  # resolved
        tokenizer = _tokenizer(checkpoint.path, self.spec.prompt, self.spec.max_tokens)
        for line in block.column("unit").to_pylist():
            for batch in self.read(WorkUnit.from_json(line)):
                tokens = tokenizer(batch.documents.column("text").to_pylist())
                yield Parcel(
                    rows=batch.documents,
                    rejects=batch.rejects,
                    files=batch.finished_files,
                    tokens=tokens.to_arrow(),
                    n_read=batch.documents.num_rows + batch.rejects.num_rows,
                ).to_block()

    def read(self, unit: WorkUnit) -> Iterator[DocumentBatch]:
        """The unit's documents and rejects, before tokenizing."""
        return read_unit(
            unit,
            self.options,
            keep=self.keep,
            done=self.done,
            storage_options=self.storage_options,
            max_rows=self.max_rows,
        )


class EmbedStage:
    """Parcels of tokenized documents → parcels of table rows. Holds the replica; one to an actor.

    Args:
        encoder: how to build it, calibration included.
        with_text: whether rows keep their text.
    """

    def __init__(self, encoder: EncoderPlan, *, with_text: bool) -> None:
        self._encoder = encoder.build()
        self._with_text = with_text

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Yields one block for each parcel."""
        for parcel in Parcel.from_block(block):
            assert parcel.tokens is not None
            started = time.monotonic()
            rows, rejects = embed_documents(self._encoder, parcel.rows, parcel.tokens, with_text=self._with_text)
            yield parcel.embedded(rows, rejects, time.monotonic() - started).to_block()


@dataclass(frozen=True, slots=True)
class StageStage:
    """Parcels of table rows → one parcel that describes the fragments in which they wait for their commit."""

    location: TableLocation

    def __call__(self, block: pa.Table) -> pa.Table:
        """Takes any number of parcels, gives one."""
        parcel = concat(list(Parcel.from_block(block)))
        return parcel.staged(stage(self.location, parcel.rows).to_table()).to_block()
