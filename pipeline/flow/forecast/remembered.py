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
    from pipeline.flow.plan import Plan
    from pipeline.table import TableLocation

__all__ = ["Remembered", "recall", "remember"]

logger = logging.getLogger(__name__)

MAX_AGE: Final = 7 * 86_400.0
"""Seconds after which a plan is not taken for that of a run any more."""

Remembered = dict[str, Any]
"""An estimate as a run keeps it: the fields `_FIELDS` of `Estimate`."""

_FIELDS: Final = ("rows", "tokens", "replicas", "seconds", "least_seconds", "most_seconds", "price", "cost")


def remember(location: TableLocation, plan: Plan, expected: Estimate) -> None:
    """Keep the estimate of a plan; a cache that cannot be written is no reason to fail."""
    figures = expected.to_json()
    kept = {"made": time.time(), **{name: figures[name] for name in _FIELDS}}
    file = _file(location, plan)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(kept), encoding="utf-8")
    except OSError as error:
        logger.warning("the estimate is not kept, so that the run cannot be held against it: %s", error)


def recall(location: TableLocation, plan: Plan) -> Remembered | None:
    """The estimate of a plan, which is forgotten by that; None: there is none, an old one, or another version's."""
    file = _file(location, plan)
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        file.unlink()
        return {name: kept[name] for name in _FIELDS} if time.time() - kept["made"] < MAX_AGE else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file(location: TableLocation, plan: Plan) -> Path:
    """By the table, and by the files that are left to read: a run on others is held against nothing."""
    key = [str(location), plan.limit, sorted((file.uri, file.version) for file in plan.files)]
    name = blake2b(json.dumps(key).encode(), digest_size=16).hexdigest()
    return cache_directory() / "plans" / f"{name}.json"
