"""Named arrays beside a table: one safetensors file for each name, in ``DIRECTORY/NAME.topic_artefacts``.

Texts are stored as their UTF-8 bytes and where each text ends. Nothing in such a file can be executed.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import numpy as np

from pipeline.errors import SourceError, TableError
from pipeline.storage import filesystem, is_local, open_binary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipeline.table.location import TableLocation

__all__ = [
    "Tensors",
    "read_tensors",
    "remove_tensors",
    "tensor_files",
    "texts_of_tensors",
    "texts_to_tensors",
    "write_tensors",
]

SUFFIX: Final = ".safetensors"

Tensors = dict[str, "NDArray[Any]"]


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
    path = _path(location, name)
    try:
        if is_local(place):
            _replace(Path(place), data)
        else:
            fs, path = filesystem(place, location.options)
            fs.pipe_file(path, data)
    except Exception as error:  # storage clients raise classes of their own
        raise TableError(f"cannot write {place}: {type(error).__name__}: {error}") from error


def read_tensors(location: TableLocation, name: str) -> Tensors | None:
    """What was written under `name`; None where there is nothing.

    Raises:
        TableError: the storage refused, or the file is damaged.
    """
    from safetensors.numpy import load

    path = _path(location, name)
    try:
        with open_binary(place, location.options) as file:
            return load(file.read())
    except SourceError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise TableError(f"cannot read {place}: {error}") from error
    except FileNotFoundError:
        return None
    except Exception as error:  # storage clients raise classes of their own
        raise TableError(f"cannot read {place}: {type(error).__name__}: {error}") from error


def tensor_files(location: TableLocation) -> list[str]:
    """The artefacts of the table at `location`.

    Raises:
        TableError: the storage refused.
    """
    folder = _folder(location)
    try:
        fs, path = filesystem(folder, location.options)
        fs.invalidate_cache()
        files: list[str] = fs.ls(path, detail=False)
    except FileNotFoundError:
        return []
    except Exception as error:  # storage clients raise classes of their own
        raise TableError(f"cannot list {folder}: {type(error).__name__}: {error}") from error
    names = [file.rpartition("/")[2] for file in files]
    return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


def remove_tensors(location: TableLocation, name: str) -> None:
    """Remove the artefact `name`; nothing happens where there is none.

    Raises:
        TableError: the storage refused.
    """
    path = _path(location, name)
    try:
        fs, path = filesystem(place, location.options)
        fs.rm_file(path)
    except FileNotFoundError:
        return
    except Exception as error:  # storage clients raise classes of their own
        raise TableError(f"cannot remove {place}: {type(error).__name__}: {error}") from error


def _folder(location: TableLocation) -> str:
    return f"{location.directory.rstrip('/')}/{location.name}.topic_artefacts"


def _path(location: TableLocation, name: str) -> str:
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
