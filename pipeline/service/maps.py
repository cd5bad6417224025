"""Maps of topics, as bytes: drawn in a process of their own, once, and kept while their topic model is the newest.

    newest model ─▶ drawn? ─ no ─▶ a process draws it; whoever asks meanwhile waits for the same one
                      └─ yes ─▶ without documents that are gone since ─▶ packed and compressed

UMAP holds the interpreter for a minute where no layout is kept: in a thread it would stop every other answer. The new
layout is kept in memory only, for nothing here writes; ``moee topics map`` keeps it beside the table.

A map is one byte string: 4 bytes that say how long the head is; the head, JSON that ends in blanks; x and y of n points
as uint16; the position of their topics in the head as int16, -1 for none. All numbers are little-endian.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import subprocess
import sys
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import errors
from pipeline.errors import MoeeError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable

    import lance
    from numpy.typing import NDArray

    from pipeline.service.tables import ServedTable
    from pipeline.table import VectorTable

__all__ = ["MAX_POINTS", "Maps", "PackedMap", "ServedMap", "StillDrawingError"]

logger = logging.getLogger(__name__)

MAX_POINTS: Final = 50_000
"""What the page moves smoothly."""
MAX_MAPS: Final = 8
"""Of all tables, in memory; each takes some megabytes."""
PATIENCE: Final = 10.0
"""Seconds that a request waits for a map that is being drawn."""
NICENESS: Final = 10
"""Of the process that draws: searches go first."""

_COMMAND: Final = (
    "import os, sys; sys.path[:] = sys.argv[1].split(os.pathsep); from pipeline.service.maps import draw; draw()"
)
_HEADERS: Final = {"cache-control": "private, no-cache", "vary": "accept-encoding"}


class StillDrawingError(Exception):
    """A map takes longer than a request should."""


@dataclass(frozen=True, slots=True)
class PackedMap:
    """A map of n points, which can be a byte string."""

    head: dict[str, Any]
    """Table, counts, topics, regions, and the points' ids (`pipeline.topics.views.packed`)."""
    xy: NDArray[np.uint16]
    """uint16 [2, n]: 0 to 65,535, left to right and bottom to top."""
    topic: NDArray[np.int16]
    """int16 [n]: position in the head's topics; -1: in none."""

    @classmethod
    def of(cls, data: bytes) -> PackedMap:
        """Read a byte string."""
        begin = 4 + int.from_bytes(data[:4], "little")
        head = json.loads(data[4:begin])
        count = head["shown"]
        xy = np.frombuffer(data, "<u2", 2 * count, begin).reshape(2, count)
        return cls(head, xy, np.frombuffer(data, "<i2", count, begin + 4 * count))

    def to_bytes(self) -> bytes:
        """The inverse of `of`."""
        head = json.dumps(self.head, ensure_ascii=False, separators=(",", ":")).encode()
        head += b" " * (-(4 + len(head)) % 8)  # arrays begin where any language can map them
        return len(head).to_bytes(4, "little") + head + self.xy.tobytes() + self.topic.tobytes()

    def only(self, kept: NDArray[np.bool_]) -> PackedMap:
        """The points of which `kept` bool [n] says so."""
        topic = self.topic[kept]
        shown = np.bincount(topic[topic >= 0], minlength=len(self.head["topics"])).tolist()
        topics = [{**each, "shown": count} for each, count in zip(self.head["topics"], shown, strict=True)]
        ids = pa.array(self.head["ids"]).filter(pa.array(kept)).to_pylist()
        return PackedMap({**self.head, "topics": topics, "ids": ids, "shown": len(ids)}, self.xy[:, kept], topic)


@dataclass(frozen=True, slots=True)
class ServedMap:
    """A map as it is sent."""

    compressed: bytes
    """By gzip."""
    etag: str
    """Another one where anything differs."""

    @property
    def headers(self) -> dict[str, str]:
        """Of an answer, whether it has a body or not."""
        return {**_HEADERS, "etag": self.etag}


@dataclass(slots=True)
class _Kept:
    drawing: Future[PackedMap]
    is_late: bool = False
    version: int = -1
    """Of the table that `served` is about."""
    served: ServedMap = field(default_factory=lambda: ServedMap(b"", ""))

    @property
    def has_failed(self) -> bool:
        return self.drawing.done() and (self.drawing.cancelled() or self.drawing.exception() is not None)


class Maps:
    """The maps of one application."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, int], _Kept] = OrderedDict()
        self._one_by_one = ThreadPoolExecutor(1, "map")
        self._process: subprocess.Popen[bytes] | None = None

    async def get(self, served: ServedTable, points: int, run: Callable[..., asyncio.Future[Any]]) -> ServedMap:
        """The map of a table's newest topics with up to `points` documents; `run` calls a function in a thread.

        Raises:
            TopicError: there are no topics, or of none of the documents.
            StillDrawingError: ask again in some seconds.
            MoeeError: it cannot be drawn.
        """
        token, version, dataset = await run(_newest, served.table)
        kept = self._entry((served.name, token, points), served.table, version)
        drawing = asyncio.wrap_future(kept.drawing)
        drawing.add_done_callback(lambda done: done.cancelled() or done.exception())  # it is told to who asks next
        if not (await asyncio.wait({drawing}, timeout=PATIENCE))[0]:
            if not kept.is_late:
                logger.warning("%s: no layout of its map is kept, a new one takes long: moee topics map", served.name)
            kept.is_late = True
            raise StillDrawingError
        drawn = drawing.result()
        if kept.version != dataset.version:
            kept.served, kept.version = await run(_as_sent, drawn, dataset), dataset.version
        return kept.served

    def close(self) -> None:
        """Stop drawing."""
        self._one_by_one.shutdown(wait=False, cancel_futures=True)
        if self._process is not None:
            self._process.kill()

    def _entry(self, key: tuple[str, str, int], table: VectorTable, version: int) -> _Kept:
        if key not in self._kept or self._kept[key].has_failed:
            place = table.location
            asked = {"directory": place.directory, "name": place.name, "options": dict(place.options)}
            asked |= {"version": version, "points": key[-1]}
            self._kept[key] = _Kept(self._one_by_one.submit(self._draw, asked))
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_MAPS:
            self._kept.popitem(last=False)[1].drawing.cancel()
        return self._kept[key]

    def _draw(self, asked: dict[str, Any]) -> PackedMap:
        """What `draw` answers in a process of its own."""
        with subprocess.Popen(  # noqa: S603 — nothing of it comes from outside
            [sys.executable, "-c", _COMMAND, os.pathsep.join(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if logger.isEnabledFor(logging.DEBUG) else subprocess.DEVNULL,
            process_group=0,  # Ctrl-C on the terminal is for the service
        ) as self._process:
            answer, _ = self._process.communicate(json.dumps(asked).encode())
        status, self._process = self._process.returncode, None
        if status == 0:
            return PackedMap.of(answer)
        if status == MoeeError.exit_code and answer:
            told = json.loads(answer)
            raise getattr(errors, told["kind"])(told["message"])
        raise RunError(f"the map cannot be drawn: its process ended with status {status}")


def draw() -> None:
    """What the process does: a question from stdin, as JSON; a map to stdout, or why there is none."""
    from pipeline.table.location import TableLocation
    from pipeline.topics import load_topics
    from pipeline.topics.versions.tables import TopicTables
    from pipeline.topics.views import draw_map
    from pipeline.topics.views.packed import map_head, map_points

    os.nice(NICENESS)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    asked = json.load(sys.stdin)
    location = TableLocation(asked["directory"], asked["name"], asked["options"])
    try:
        topics = load_topics(TopicTables(location), asked["version"])
        drawn = draw_map(topics, asked["points"], with_texts=False, keep=False)
    except MoeeError as error:
        answer.write(json.dumps({"kind": type(error).__name__, "message": str(error)}).encode())
        answer.close()
        sys.exit(MoeeError.exit_code)
    head = {**map_head(drawn), "ids": drawn.ids.to_pylist()}
    answer.write(PackedMap(head, *map_points(drawn)).to_bytes())
    answer.close()


def _newest(table: VectorTable) -> tuple[str, int, lance.LanceDataset]:
    """Token and version of the newest topic model, and the table as it is."""
    from pipeline.topics import load_topics

    model = load_topics(table).model
    return model.model, model.version, table.dataset()


def _as_sent(drawn: PackedMap, dataset: lance.LanceDataset) -> ServedMap:
    """The map with the documents that `dataset` has."""
    ids = pa.array(drawn.head["ids"], pa.string())
    is_there = np.zeros(len(ids), bool)
    for batch in dataset.to_batches(columns=["id"]):
        is_there[pc.index_in(batch.column("id").cast(pa.string()), value_set=ids).drop_null().to_numpy()] = True
    data = (drawn if is_there.all() else drawn.only(is_there)).to_bytes()
    return ServedMap(gzip.compress(data, compresslevel=6, mtime=0), f'W/"{blake2b(data, digest_size=12).hexdigest()}"')
