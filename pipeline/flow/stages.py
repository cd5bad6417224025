"""What an engine executes: reading with tokenizing, embedding, writing. Each stage is a plain callable.

    work units ─read─▶ documents + tokens ─embed─▶ table rows ─write─▶ fragments ─▶ the driver's commits

Every stage takes and gives blocks of parcels and knows no engine: a Python loop over them does the same. Each tells the
tracker what it takes up; what has killed its process before is taken item by item (`pipeline.flow.poison.tracker`).
A process that only reads imports neither torch nor Lance.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from pipeline.columns import from_ipc
from pipeline.corpus import DocumentBatch, ReaderOptions, WorkUnit, documents_schema, read_unit
from pipeline.corpus.planner import MAX_BYTES
from pipeline.corpus.reading import every_row
from pipeline.corpus.slices import finished
from pipeline.corpus.unchanged import without_changed_files
from pipeline.embedding.chunks import Chunking, chunk_documents
from pipeline.embedding.reuse import KnownRows
from pipeline.embedding.table_rows import embed_documents
from pipeline.embedding.tokens import Tokenizer
from pipeline.flow.encoder import EncoderPlan, build_watched
from pipeline.flow.parcel import Parcel, concat
from pipeline.flow.poison.items import READ, CarefulReader, carefully, items_of, killed, one_by_one
from pipeline.flow.watching.effort import Effort, Turns, timed
from pipeline.models import locate
from pipeline.rejects import REJECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np

    from pipeline.embedding.encoder import Encoder
    from pipeline.flow.poison.items import Watch
    from pipeline.spec import EmbeddingSpec
    from pipeline.table import Staged, TableLocation
    from pipeline.table.changes.retry import Retry
    from pipeline.table.known.texts import KnownTexts

__all__ = ["EmbedStage", "ReadStage", "Stages", "WriteStage"]

EMBED: Final = "embed"
COMMIT: Final = "commit"


BYTES_PER_WINDOW: Final = 16_384
"""Bytes of text in a batch for each token of a window: some thousand chunks."""


def _unwatched() -> Watch:
    from pipeline.flow.poison.tracker import Tracker

    return Tracker(None, "")


@lru_cache(maxsize=4)
def _tokenizer(directory: Path, prompt: str, max_tokens: int) -> Tokenizer:
    """One tokenizer for the life of a worker process."""
    return Tokenizer(directory, prompt, max_tokens)


@dataclass(frozen=True, slots=True)
class ReadStage:
    """Work units (JSON, column ``unit``) → parcels of checked, tokenized documents, or of their chunks."""

    spec: EmbeddingSpec
    options: ReaderOptions
    keep: pa.Schema
    """The table's metadata columns."""
    done: np.ndarray
    """Finished slices, which streams skip."""
    storage_options: Mapping[str, Any] | None = None
    max_rows: int = 1024
    """Most rows in a parcel."""
    max_bytes: int = MAX_BYTES
    """About the most bytes of text in a parcel."""
    chunking: Chunking | None = None
    retry: Retry | None = None
    """The rejected rows of finished slices that are tried again."""
    watch: Watch = field(default_factory=_unwatched)

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Yields one block for each batch of documents; the unit's last one says so."""
        for parcel in self.parcels_of(map(WorkUnit.from_json, block.column("unit").to_pylist())):
            yield parcel.to_block()

    def parcels_of(self, units: Iterable[WorkUnit]) -> Iterator[Parcel]:
        """The parcels of all `units`."""
        for unit in units:
            yield from self.parcels(unit)

    def parcels(self, unit: WorkUnit) -> Iterator[Parcel]:
        """The unit's batches with their tokens, at least one parcel."""
        name = f"{READ} {blake2b(unit.to_json().encode(), digest_size=8).hexdigest()}"
        streams = [part.file.uri for part in unit.parts if part.slices is None]
        careful = self.watch.begin(name, READ, unit.slices, streams)
        parcel: Parcel | None = None
        try:
            for batch, seconds in timed(self._batches(unit, name, careful=careful)):
                if parcel is not None:
                    yield parcel
                parcel = self._parcel(batch, seconds, name if careful else None)
        finally:
            self.watch.end(name)
        yield replace(parcel or self._nothing(), n_units=1)

    def tokenize(self, documents: pa.Table) -> tuple[pa.Table, pa.Table]:
        """The documents, or their chunks, with the tokens of each."""
        checkpoint = locate(self.spec.model, self.spec.revision)
        assert self.spec.prompt is not None  # resolved
        tokenizer = _tokenizer(checkpoint.path, self.spec.prompt, self.spec.max_tokens)
        if self.chunking is None:
            return documents, tokenizer(documents.column("text").to_pylist()).to_arrow()
        rows, tokens = chunk_documents(documents, self.chunking, tokenizer)
        return rows, tokens.to_arrow()

    def _batches(self, unit: WorkUnit, name: str, *, careful: bool) -> Iterator[DocumentBatch]:
        only = every_row if self.retry is None else self.retry.only
        reading: dict[str, Any] = {"keep": self.keep, "storage_options": self.storage_options, "only": only}
        if careful:
            reader = CarefulReader(self.watch, name, self.options, is_done=finished(self.done), **reading)
            batches = reader.read(unit)
        else:
            most = self.max_bytes
            if self.chunking is not None:
                most = min(most, BYTES_PER_WINDOW * self.chunking.window)
            batches = read_unit(unit, self.options, done=self.done, max_rows=self.max_rows, max_bytes=most, **reading)
        yield from without_changed_files(batches, unit, self.storage_options)

    def _parcel(self, batch: DocumentBatch, reading: float, careful_unit: str | None) -> Parcel:
        """The batch, read in so many seconds, with its tokens.

        `careful_unit`: the name of a unit that is taken document by document.
        """
        documents, rejects = batch.documents, batch.rejects
        began = time.perf_counter()
        if careful_unit is None:
            rows, tokens = self.tokenize(documents)
        else:
            (rows, tokens), killers = carefully(
                self.watch,
                careful_unit,
                documents,
                READ,
                lambda rows: self.tokenize(documents.take(pa.array(rows, pa.int64()))),
            )
            rejects = pa.concat_tables([rejects, killers])
        n_read = batch.documents.num_rows + batch.rejects.num_rows
        misfits = Counter(batch.misfits.column("column").to_pylist())
        return Parcel(
            rows=rows,
            rejects=rejects,
            files=batch.finished_files,
            tokens=tokens,
            n_read=n_read,
            misfits=misfits,
            effort=Effort(reading=reading, tokenizing=time.perf_counter() - began),
        )

    def _nothing(self) -> Parcel:
        rows, tokens = self.tokenize(documents_schema(self.keep).empty_table())
        return Parcel(rows=rows, rejects=REJECTS.empty_table(), tokens=tokens)


class EmbedStage:
    """Parcels of tokenized documents → parcels of table rows. Holds the replica.

    Args:
        encoder: how to build it, calibration included; an encoder that is built already is taken as it is.
        with_text: whether rows keep their text.
        watch: the tracker.
        reuse: a table whose vectors are taken over for equal texts.
        sample: rows that are taken over as well, as Arrow IPC (`pipeline.flow.encoder`).

    Raises:
        RunError: the replica's process has died too often while it was being built.
    """

    def __init__(
        self,
        encoder: EncoderPlan | Encoder,
        *,
        with_text: bool,
        watch: Watch | None = None,
        reuse: TableLocation | None = None,
        sample: bytes | None = None,
    ) -> None:
        self._with_text = with_text
        self._watch = watch or _unwatched()
        self._encoder = build_watched(encoder, self._watch) if isinstance(encoder, EncoderPlan) else encoder
        self._stored = None if reuse is None else _texts_of(reuse)
        self._known = self._stored if sample is None else KnownRows(from_ipc(sample), self._stored)
        self._turns = Turns(self._encoder.batches)

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Yields one block for each parcel."""
        for parcel in Parcel.from_block(block):
            begun = time.time()
            self._turns.begin()
            rows, rejects = self._watched(parcel) if parcel.rows.num_rows else self._embed(parcel)
            yield parcel.embedded(rows, rejects, begun, self._turns.end()).to_block()
            self._turns.taken()

    def _watched(self, parcel: Parcel) -> tuple[pa.Table, pa.Table]:
        name = _name(EMBED, parcel.rows)
        careful = self._watch.begin(name, EMBED, _slices(parcel.rows))
        made = self._carefully(parcel, name) if careful else self._embed(parcel)
        self._watch.end(name)
        return made

    def _embed(self, parcel: Parcel) -> tuple[pa.Table, pa.Table]:
        assert parcel.tokens is not None
        if self._stored is not None:
            self._stored.refresh()
        return embed_documents(self._encoder, parcel.rows, parcel.tokens, with_text=self._with_text, known=self._known)

    def _carefully(self, parcel: Parcel, name: str) -> tuple[pa.Table, pa.Table]:
        (rows, rejects), killers = carefully(
            self._watch, name, parcel.rows, EMBED, lambda rows: self._embed(parcel.take(rows))
        )
        return rows, pa.concat_tables([rejects, killers])


def _texts_of(location: TableLocation) -> KnownTexts:
    from pipeline.table.known.texts import KnownTexts

    return KnownTexts(location)


@dataclass(frozen=True, slots=True)
class WriteStage:
    """Parcels of table rows → one parcel that describes the fragments in which they wait for their commit."""

    location: TableLocation
    watch: Watch = field(default_factory=_unwatched)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Takes any number of parcels, gives one."""
        parcel = concat(list(Parcel.from_block(block)))
        began = time.perf_counter()
        if parcel.rows.num_rows:
            parcel, written = self._watched(parcel)
        else:
            written = self.write(parcel.rows)
        effort = Effort(staging=time.perf_counter() - began, staged_bytes=written.n_bytes)
        return parcel.written(written.to_table(), effort).to_block()

    def _watched(self, parcel: Parcel) -> tuple[Parcel, Staged]:
        name = _name(COMMIT, parcel.rows)
        if self.watch.begin(name, COMMIT, _slices(parcel.rows)):
            parcel = self._harmless(parcel, name)
        written = self.write(parcel.rows)
        self.watch.end(name)
        return parcel, written

    def write(self, rows: pa.Table) -> Staged:
        """Write some rows."""
        from pipeline.table import stage

        return stage(self.location, rows)

    def _harmless(self, parcel: Parcel, name: str) -> Parcel:
        """The parcel without the rows that kill when they are written; what is written to find out becomes orphans."""
        items = items_of(parcel.rows, COMMIT)
        _, bad = one_by_one(self.watch, name, items, lambda rows: self.write(parcel.rows.take(rows)))
        return parcel.without(killed(bad)) if bad else parcel


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a run, as they travel to the processes that execute them."""

    read: ReadStage
    encoder: EncoderPlan
    write: WriteStage
    with_text: bool = True
    reuse: TableLocation | None = None
    """A table whose vectors are taken over for equal texts."""
    sample: bytes | None = None
    """Rows that were made while this table was calibrated."""
    embed: Callable[..., EmbedStage] = EmbedStage
    """Builds the stage that embeds, where the replica is."""

    @property
    def embed_arguments(self) -> dict[str, Any]:
        """Arguments of `embed` that are the same for all replicas, besides `encoder`, `watch` and `sample`."""
        return {"with_text": self.with_text, "reuse": self.reuse}


def _name(stage: str, rows: pa.Table) -> str:
    """A parcel's name for the tracker: its first place and its size."""
    first = [rows.column(name)[0].as_py() for name in ("slice", "row")]
    return f"{stage} {first} {rows.num_rows}"


def _slices(rows: pa.Table) -> list[int]:
    return rows.column("slice").unique().to_pylist()
