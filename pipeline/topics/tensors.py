"""Named arrays beside a table: one safetensors file for each name, in ``DIRECTORY/NAME.topic_artefacts``.

Texts are stored as their UTF-8 bytes and where each text ends. Nothing in such a file can be executed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import numpy as np

from pipeline.errors import SourceError, TableError
from pipeline.storage import filesystem, fsspec_errors, is_local, open_binary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipeline.table.location import TableLocation

__all__ = [
    "Tensors",
    "read_tensors",
    "remove_tensors",
    "tensor_names",
    "texts_of_tensors",
    "texts_to_tensors",
    "write_tensors",
]

SUFFIX: Final = ".safetensors"

Tensors = dict[str, "NDArray[Any]"]


def texts_to_tensors(name: str, texts: Sequence[str]) -> Tensors:
    """Texts as UTF-8 bytes, and the end of each."""
    encoded = [text.encode() for text in texts]
    return {
        f"{name}.bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        f"{name}.ends": np.cumsum([len(text) for text in encoded], dtype=np.int64),
    }


def texts_of_tensors(name: str, tensors: Tensors) -> list[str]:
    """The inverse of `texts_to_tensors`."""
    data, ends = tensors[f"{name}.bytes"].tobytes(), tensors[f"{name}.ends"].tolist()
    return [data[start:end].decode() for start, end in pairwise([0, *ends])]


def write_tensors(location: TableLocation, name: str, tensors: Tensors) -> None:
    """Write or replace the file `name` of the table at `location`, as a whole or not at all.

    Raises:
        TableError: the storage refused.
    """
    from safetensors.numpy import save

    data = save({key: np.ascontiguousarray(value) for key, value in tensors.items()})
    url = _url(location, name)
    with fsspec_errors(f"cannot write {url}", TableError):
        if is_local(url):
            _replace(Path(url), data)
        else:
            fs, path = filesystem(url, location.options)
            fs.pipe_file(path, data)


def read_tensors(location: TableLocation, name: str) -> Tensors | None:
    """The content of the file `name`; None where there is no such file.

    Raises:
        TableError: the storage refused, or the file is damaged.
    """
    from safetensors.numpy import load

    url = _url(location, name)
    with fsspec_errors(f"cannot read {url}", TableError):
        try:
            with open_binary(url, location.options) as file:
                return load(file.read())
        except FileNotFoundError:
            return None
        except SourceError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise


def tensor_names(location: TableLocation) -> list[str]:
    """The names of all files of the table at `location`, ascending.

    Raises:
        TableError: the storage refused.
    """
    folder = _folder(location)
    with fsspec_errors(f"cannot list {folder}", TableError):
        try:
            fs, path = filesystem(folder, location.options)
            fs.invalidate_cache()
            files: list[str] = fs.ls(path, detail=False)
        except FileNotFoundError:
            return []
    names = [file.rpartition("/")[2] for file in files]
    return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


def remove_tensors(location: TableLocation, name: str) -> None:
    """Remove the file `name`; nothing happens where there is none.

    Raises:
        TableError: the storage refused.
    """
    url = _url(location, name)
    with fsspec_errors(f"cannot remove {url}", TableError), suppress(FileNotFoundError):
        fs, path = filesystem(url, location.options)
        fs.rm_file(path)


def _folder(location: TableLocation) -> str:
    return f"{location.directory.rstrip('/')}/{location.name}.topic_artefacts"


def _url(location: TableLocation, name: str) -> str:
    return f"{_folder(location)}/{name}{SUFFIX}"


def _replace(target: Path, data: bytes) -> None:
    """Write `data` beside `target`, then rename: a reader sees the old file or the new one."""
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
