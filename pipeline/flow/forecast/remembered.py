"""What was planned is remembered on this machine, so that the run that follows can be held against it."""

from __future__ import annotations

import json
import logging
import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from pipeline.models.content import cache_directory

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.flow.forecast.estimate import Estimate
    from pipeline.table import TableLocation

__all__ = ["Remembered", "recall", "remember"]

logger = logging.getLogger(__name__)

MAX_AGE: Final = 7 * 86_400.0
"""Seconds after which a plan is not taken for that of a run any more."""

Remembered = dict[str, Any]
"""An estimate as a run keeps it: the fields `_FIELDS` of `Estimate`."""

_FIELDS: Final = ("rows", "tokens", "replicas", "seconds", "least_seconds", "most_seconds", "price", "cost")


def remember(location: TableLocation, expected: Estimate) -> None:
    """Keep the estimate of the next run on a table; a cache that cannot be written is no reason to fail."""
    figures = expected.to_json()
    kept = {"made": time.time(), **{name: figures[name] for name in _FIELDS}}
    file = _file(location)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(kept), encoding="utf-8")
    except OSError as error:
        logger.warning("the estimate is not kept, so that the run cannot be held against it: %s", error)


def recall(location: TableLocation) -> Remembered | None:
    """The estimate of the next run on a table, which is forgotten by that; None: there is none, or an old one."""
    file = _file(location)
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        file.unlink()
    except (OSError, ValueError):
        return None
    return {name: kept.get(name) for name in _FIELDS} if time.time() - kept["made"] < MAX_AGE else None


def _file(location: TableLocation) -> Path:
    name = blake2b(str(location).encode(), digest_size=16).hexdigest()
    return cache_directory() / "plans" / f"{name}.json"
