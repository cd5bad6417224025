"""Raw values of the package's reference texts, kept on disk: they top up the calibration of every small corpus.

Encoding the 2,048 texts takes the built-in model 2.6 s on two cores, each time a table is made. So their hidden states
and routing weights are kept as a safetensors file in the user's cache (`pipeline.models.content.cache_directory`), one
file for each model and way of reading it. The files may be deleted at any time. A file that is damaged, or whose
directory cannot be written, costs the computation and nothing else.

What is read equals what was computed, bit by bit. It may differ from what would be computed now as two batches differ
(docs/design.md, promise 1): by another CPU, another version of torch, or another composition of the batches.
"""

from __future__ import annotations

import json
import logging
import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pipeline.embedding.vectors import RawVectors
from pipeline.models import reference_texts
from pipeline.models.content import cache_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipeline.spec import Meaning

__all__ = ["encode_sample", "reference_file"]

logger = logging.getLogger(__name__)

MAX_FILE_BYTES: Final = 64 << 20
"""Larger files are not kept. OLMoE-1B-7B's takes 25 MB, Mixtral-8x7B's 36 MB. Chosen, not measured."""

AFTER_ENCODING: Final = ("combine", "alpha", "query_prompt")
"""Fields of a meaning that change no raw value of a document."""

FIELDS: Final = ("hidden_state", "routing_weights", "n_tokens", "truncated")
DIGEST: Final = "blake2b"


def encode_sample(
    texts: Sequence[str], meaning: Meaning, device: str, encode: Callable[[Sequence[str]], RawVectors]
) -> RawVectors:
    """Raw values of a calibration sample, in its order; those of reference texts are taken from disk where possible.

    Where the disk has none and at least half of the reference texts are wanted, all of them are encoded and kept.

    Args:
        texts: the sample.
        meaning: what the vectors mean, `EmbeddingSpec.meaning`.
        device: the kind of device that encodes, ``cpu`` or ``cuda``.
        encode: gives the raw values of any texts.
    """
    place = {text: row for row, text in enumerate(dict.fromkeys(reference_texts()))}
    rows = np.array([place.get(text, -1) for text in texts], dtype=np.int64)
    wanted = rows >= 0
    if not wanted.any():
        return encode(texts)
    file = reference_file(meaning, device)
    kept = _read(file, len(place))
    if kept is None:
        if 2 * wanted.sum() < len(place):
            return encode(texts)
        kept = encode(list(place))
        _write(file, kept)
    if wanted.all():
        return kept.take(rows)
    own = encode([text for text, known in zip(texts, wanted.tolist(), strict=True) if not known])
    order = np.where(wanted, rows, len(place) + np.cumsum(~wanted) - 1)
    return RawVectors.joined([kept, own]).take(order)


def reference_file(meaning: Meaning, device: str) -> Path:
    """Where the raw values are kept for vectors of this meaning, made on this kind of device."""
    decisive = {name: value for name, value in meaning.items() if name not in AFTER_ENCODING}
    canonical = json.dumps([decisive, device, reference_texts()], sort_keys=True)
    name = blake2b(canonical.encode(), digest_size=16).hexdigest()
    return cache_directory() / "reference" / f"{name}.safetensors"


def _read(file: Path, count: int) -> RawVectors | None:
    """What the file holds; None where there is none, or where it is not what was written."""
    try:
        with safe_open(file, framework="numpy") as opened:
            arrays = {name: opened.get_tensor(name) for name in FIELDS}
            digest = (opened.metadata() or {}).get(DIGEST)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        logger.debug("%s cannot be read and is made again: %s", file, error)
        return None
    if digest != _digest(arrays) or any(len(array) != count for array in arrays.values()):
        logger.debug("%s is damaged and is made again", file)
        return None
    return RawVectors(**arrays)


def _write(file: Path, raw: RawVectors) -> None:
    """Keep the values, all of them or none; failing is no error."""
    arrays = {name: np.ascontiguousarray(getattr(raw, name)) for name in FIELDS}
    if sum(array.nbytes for array in arrays.values()) > MAX_FILE_BYTES:
        return
    scratch = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, scratch, metadata={DIGEST: _digest(arrays)})
        scratch.replace(file)
    except (OSError, SafetensorError) as error:
        logger.debug("the values of the reference texts cannot be kept in %s: %s", file, error)


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = blake2b(digest_size=16)
    for name in FIELDS:
        digest.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
