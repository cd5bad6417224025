"""What a checkpoint's safetensors files hold, read from their headers: names, sizes, and whether they are whole.

A few kilobytes are read of each file, so that a shard that is gone or cut short is found before gigabytes are loaded,
and so that a model which does not fit is refused before it fills the memory.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Weight", "read_weights", "weight_files"]

INDEX_FILE: Final = "model.safetensors.index.json"
MAX_HEADER_BYTES: Final = 100_000_000
"""Bytes; the safetensors format allows no longer header."""

EXPERT_NAME: Final = re.compile(r"\.(experts|input_linear|output_linear)\.")


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of a checkpoint."""

    name: str
    elements: int
    """The number of its elements."""
    dtype: str
    """The type that it is stored in, as safetensors names it."""

    @property
    def of_experts(self) -> bool:
        """Whether it belongs to a layer's experts, fused or one by one."""
        return EXPERT_NAME.search(self.name) is not None


def read_weights(name: str, directory: Path) -> list[Weight]:
    """All tensors of the checkpoint `name` in `directory`.

    Raises:
        ModelError: a file that the index names is gone, or a file is damaged or cut short.
    """
    weights: list[Weight] = []
    for file in weight_files(name, directory):
        weights += _read_header(name, file)
    return weights


def weight_files(name: str, directory: Path) -> list[Path]:
    """The safetensors files that make up the checkpoint.

    Raises:
        ModelError: one that the index names is gone.
    """
    index = directory / INDEX_FILE
    if (directory / "model.safetensors").is_file() or not index.is_file():
        return sorted(directory.glob("*.safetensors"))
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"model {name!r}: {index} is damaged; fetch the checkpoint again") from error
    gone = [shard for shard in shards if not (directory / shard).is_file()]
    if gone:
        raise ModelError(
            f"model {name!r}: {len(gone)} of its {len(shards)} weight files are not in {directory}, {gone[0]} among "
            "them; fetch the checkpoint again"
        )
    return [directory / shard for shard in shards]


def _read_header(name: str, file: Path) -> list[Weight]:
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = _parsed(stream.read(length)) if 0 < length <= min(size - 8, MAX_HEADER_BYTES) else None
    except OSError as error:
        raise ModelError(f"model {name!r}: {file} cannot be read: {error.strerror or error}") from error
    if header is None:
        raise ModelError(f"model {name!r}: {file} is damaged: not a safetensors file; fetch it again")
    expected = 8 + length + header.data_bytes
    if size < expected:
        raise ModelError(f"model {name!r}: {file} is damaged: {size:,} of {expected:,} bytes are there; fetch it again")
    return header.weights


@dataclass(frozen=True, slots=True)
class _Header:
    weights: list[Weight]
    data_bytes: int


def _parsed(header: bytes) -> _Header | None:
    """What a header says; None if it is none."""
    try:
        entries = [(key, entry) for key, entry in json.loads(header).items() if key != "__metadata__"]
        weights = [Weight(key, math.prod(entry["shape"]), str(entry["dtype"])) for key, entry in entries]
        return _Header(weights, max((int(entry["data_offsets"][1]) for _, entry in entries), default=0))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
