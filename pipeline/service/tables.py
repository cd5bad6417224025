"""The tables that a service answers from: always their newest version, and one replica for all that share a meaning."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

import numpy as np

from pipeline.errors import UsageError
from pipeline.service.batcher import Batcher
from pipeline.table import VectorTable
from pipeline.table.indexes.listing import has_index
from pipeline.table.location import TableLocation
from pipeline.table.schema import metadata_value
from pipeline.table.store import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from pipeline.embedding.encoder import Encoder
    from pipeline.service.settings import ServiceSettings
    from pipeline.table.query.question import Mode, Question

__all__ = ["ServedTable", "ServedTables"]

_VERSIONS: Final = 100
"""Of a table, after which its caches are begun anew: they hold the open files of indexes that are no more."""


@dataclass(frozen=True, slots=True)
class ServedTable:
    """A table as it is: another object where it was made anew."""

    name: str
    table: VectorTable
    version: int
    """The version that was the newest when it was opened."""
    batcher: Batcher

    def modes(self) -> list[Mode]:
        """In which it can be asked in words: by meaning if it has a model, by words if they have an index."""
        dataset = self.table.dataset()
        has_model, has_words = _has_model(self.table), "text" in dataset.schema.names and has_index(dataset, "text")
        offered: dict[Mode, bool] = {"vector": has_model, "text": has_words, "hybrid": has_model and has_words}
        return [mode for mode, is_offered in offered.items() if is_offered]

    async def search(
        self, questions: Sequence[Question], run: Callable[..., asyncio.Future[list[pa.Table]]]
    ) -> tuple[list[pa.Table], int]:
        """The hits of questions that differ in query and alpha only, all of one version of the table.

        `run` calls a function in a thread. Beside the hits: how many queries were encoded together; 0: none was.
        """
        asked = (question.query for question in questions if question.mode != "text")
        words = list(dict.fromkeys(query for query in asked if isinstance(query, str)))
        vectors, together = await self.batcher.encode(words)
        known = dict(zip(words, vectors, strict=True))

        def answers() -> list[pa.Table]:
            return list(self.table.answers(questions, lambda texts: np.stack([known[text] for text in texts])))

        return await run(answers), together


@dataclass(slots=True, weakref_slot=True)
class _Replica:
    """What tables of one meaning share; it goes with the last of them, and with the last request to it."""

    turns: asyncio.Lock = field(default_factory=asyncio.Lock)
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "replica"))
    encoder: Encoder | None = None
    """Of the table that was asked first, once it is loaded."""
    loading: threading.Lock = field(default_factory=threading.Lock)

    def of(self, table: VectorTable) -> Encoder:
        """The encoder of a table: the shared model, under the table's calibration."""
        with self.loading:
            if "encoder" not in table.__dict__:
                if self.encoder is None:
                    self.encoder = table.encoder
                else:
                    table.__dict__["encoder"] = self.encoder.calibrated_by(table.calibration)
        return table.encoder


class ServedTables:
    """All tables of a service, by the last part of their place.

    Raises:
        UsageError: two of them have one name.
        TableError: one of them cannot be opened.
    """

    def __init__(self, settings: ServiceSettings, observe: Callable[[int], None]) -> None:
        self._limits, self._observe = settings.limits, observe
        self._cached = settings.limits.cached_bytes // len(settings.tables)
        self._replicas: WeakValueDictionary[str, _Replica] = WeakValueDictionary()
        self._served: dict[str, ServedTable] = {}
        self._opening = threading.Lock()
        for uri in settings.tables:
            served = self._open(TableLocation.parse(uri, settings.storage_options))
            if served.name in self._served:
                raise UsageError(f"two tables are called {served.name!r}: serve them apart")
            self._served[served.name] = served

    @property
    def names(self) -> list[str]:
        """The names of the tables."""
        return list(self._served)

    def by_name(self, message: str) -> str:
        """`message` with the names of the tables in the place of where they lie."""
        for served in self._served.values():
            uri = str(served.table.location)
            within = re.sub(r"^(\w+://[^/]+)?/", "", uri)  # the path that Lance tells, of a bucket or of the disk
            message = message.replace(uri, served.name).replace(f"{within}.lance", f"{served.name}.lance")
        return message

    def get(self, name: str | None) -> ServedTable:
        """A table as it is now, opened again where another one was made at its place, or after many versions.

        None: the only one.

        Raises:
            UsageError: there is no such table, or there are several.
            TableError: it is gone, or cannot be read.
        """
        if name is None and len(self._served) > 1:
            raise UsageError(f"say which table: there are {', '.join(self._served)}")
        served = self._served.get(next(iter(self._served)) if name is None else name)
        if served is None:
            raise UsageError(f"there is no such table; there are {', '.join(self._served)}")
        newest = served.table.dataset()
        same = metadata_value(newest.schema, "fingerprint") == served.table.fingerprint
        if not same or newest.version not in range(served.version, served.version + _VERSIONS):
            with self._opening:
                served = self._open(served.table.location)
                self._served[served.name] = served
        return served

    def warm_up(self) -> None:
        """Load every replica.

        Raises:
            MoeeError: one cannot be loaded.
        """
        for served in self._served.values():
            if _has_model(served.table):
                self._replica(served.table).of(served.table)

    def _open(self, location: TableLocation) -> ServedTable:
        session = Session(index_cache_size_bytes=self._cached, metadata_cache_size_bytes=self._cached // 4)
        table = VectorTable.open(location, session=session)
        replica, limits = self._replica(table), self._limits
        encode = Batcher(
            lambda texts: replica.of(table).encode_query(texts),
            replica.turns,
            replica.thread,
            most=limits.batch,
            waiting=2 * limits.requests + limits.queries,
            observe=self._observe,
        )
        return ServedTable(table.name, table, table.dataset().version, encode)

    def _replica(self, table: VectorTable) -> _Replica:
        meaning = json.dumps(table.meaning, sort_keys=True)
        return self._replicas.setdefault(meaning, _Replica())


def _has_model(table: VectorTable) -> bool:
    """Whether queries in words can be embedded: not where the vectors were made elsewhere."""
    return bool(table.meaning.get("checkpoint") and table.calibration_hash)
