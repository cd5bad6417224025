"""What a fit found, apart from its rows: one safetensors file for each, in ``DIRECTORY/NAME.topic_artefacts``.

    TOKEN.safetensors               the sample and its topics, geometry, vocabulary, word counts, map
    TOKEN.FRAGMENT.safetensors      word counts of a part of the table, until the operation ends
    words.FINGERPRINT.safetensors   vectors of single words, kept from one fit to the next
    map-TOKEN.safetensors           coordinates of the documents of a map, kept until the next full fit

Texts are stored as their bytes and where each ends. Nothing here can be executed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import uuid4

import numpy as np

from pipeline.errors import SourceError, TableError
from pipeline.storage import filesystem, fsspec_errors, is_local, open_binary
from pipeline.topics.clustering.geometry import Geometry
from pipeline.topics.words.counts import TermCounts, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipeline.table.location import TableLocation

__all__ = ["Artefact", "Tensors", "artefact_names", "read_tensors", "remove_artefact", "write_tensors"]

SUFFIX: Final = ".safetensors"

Tensors = dict[str, "NDArray[Any]"]


@dataclass(frozen=True, slots=True)
class Artefact:
    """What a fit found.

    `hashes` uint64 [n] of the clustered documents' ids (`pipeline.topics.keys.id_hashes`), in their order, and their
    topics `labels` int64 [n]; the topics' `geometry`; the `vocabulary` that is counted and, once they are complete, the
    `counts` over all documents.
    """

    hashes: NDArray[np.uint64]
    labels: NDArray[np.int64]
    geometry: Geometry
    vocabulary: Vocabulary
    counts: TermCounts | None = None

    def tensors(self) -> Tensors:
        """As arrays by name."""
        found: Tensors = {
            "hashes": self.hashes,
            "labels": self.labels,
            "topics": self.geometry.ids,
            "centroids": self.geometry.centroids,
            "median": self.geometry.median,
            "mad": self.geometry.mad,
            "english": np.array([self.vocabulary.language == "english"]),
            **texts_to_tensors("words", self.vocabulary.words),
        }
        if self.counts is not None:
            found |= counts_to_tensors(self.counts)
        return found

    @classmethod
    def of(cls, tensors: Tensors) -> Self:
        """From what `tensors` gave."""
        language = "english" if tensors["english"][0] else "multilingual"
        vocabulary = Vocabulary(tuple(texts_of_tensors("words", tensors)), language)
        names = ("topics", "centroids", "median", "mad")
        return cls(
            hashes=tensors["hashes"],
            labels=tensors["labels"],
            geometry=Geometry(*(tensors[name] for name in names)),
            vocabulary=vocabulary,
            counts=counts_of_tensors(tensors, vocabulary),
        )


def counts_to_tensors(counts: TermCounts) -> Tensors:
    """The counts without their vocabulary."""
    matrix = counts.matrix
    return {
        "counts.topics": counts.topics,
        "counts.data": matrix.data,
        "counts.indices": matrix.indices.astype(np.int32),
        "counts.indptr": matrix.indptr.astype(np.int64),
    }


def counts_of_tensors(tensors: Tensors, vocabulary: Vocabulary) -> TermCounts | None:
    """From what `counts_to_tensors` gave; None where there are no counts."""
    from scipy.sparse import csr_matrix

    if "counts.topics" not in tensors:
        return None
    topics = tensors["counts.topics"]
    parts = (tensors["counts.data"], tensors["counts.indices"], tensors["counts.indptr"])
    return TermCounts(topics, vocabulary, csr_matrix(parts, shape=(len(topics), len(vocabulary.words))))


def texts_to_tensors(name: str, texts: Sequence[str]) -> Tensors:
    """Texts as utf-8 bytes, and the end of each."""
    encoded = [text.encode() for text in texts]
    return {
        f"{name}.bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        f"{name}.ends": np.cumsum([len(text) for text in encoded], dtype=np.int64),
    }


def texts_of_tensors(name: str, tensors: Tensors) -> list[str]:
    """From what `texts_to_tensors` gave."""
    data, ends = tensors[f"{name}.bytes"].tobytes(), tensors[f"{name}.ends"].tolist()
    return [data[start:end].decode() for start, end in pairwise([0, *ends])]


def write_tensors(location: TableLocation, name: str, tensors: Tensors) -> None:
    """Write or replace the artefact `name` of the table at `location`, as a whole or not at all.

    Raises:
        TableError: the storage refused.
    """
    from safetensors.numpy import save

    data = save({key: np.ascontiguousarray(value) for key, value in tensors.items()})
    place = _place(location, name)
    with fsspec_errors(f"cannot write {place}", TableError):
        if is_local(place):
            _replace(Path(place), data)
        else:
            fs, path = filesystem(place, location.options)
            fs.pipe_file(path, data)


def read_tensors(location: TableLocation, name: str) -> Tensors | None:
    """What was written under `name`; None where there is nothing.

    Raises:
        TableError: the storage refused, or the file is damaged.
    """
    from safetensors.numpy import load

    place = _place(location, name)
    with fsspec_errors(f"cannot read {place}", TableError):
        try:
            with open_binary(place, location.options) as file:
                return load(file.read())
        except FileNotFoundError:
            return None
        except SourceError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise


def artefact_names(location: TableLocation) -> list[str]:
    """The artefacts of the table at `location`.

    Raises:
        TableError: the storage refused.
    """
    folder = _folder(location)
    with fsspec_errors(f"cannot list {folder}", TableError):
        fs, path = filesystem(folder, location.options)
        fs.invalidate_cache()
        try:
            files: list[str] = fs.ls(path, detail=False)
        except FileNotFoundError:
            return []
    names = [file.rpartition("/")[2] for file in files]
    return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


def remove_artefact(location: TableLocation, name: str) -> None:
    """Remove the artefact `name`; nothing happens where there is none.

    Raises:
        TableError: the storage refused.
    """
    place = _place(location, name)
    with fsspec_errors(f"cannot remove {place}", TableError), suppress(FileNotFoundError):
        fs, path = filesystem(place, location.options)
        fs.rm_file(path)


def _folder(location: TableLocation) -> str:
    return f"{location.directory.rstrip('/')}/{location.name}.topic_artefacts"


def _place(location: TableLocation, name: str) -> str:
    return f"{_folder(location)}/{name}{SUFFIX}"


def _replace(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f"{target.name}.{uuid4().hex}")
    try:
        with scratch.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
