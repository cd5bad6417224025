"""The tables that a service answers from: always their newest version, and one replica for all that share a meaning."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import UsageError
from pipeline.service.batcher import Batcher
from pipeline.table import VectorTable
from pipeline.table.schema import metadata_value

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from pipeline.embedding.encoder import Encoder
    from pipeline.service.settings import ServiceSettings
    from pipeline.table.query.question import Question

__all__ = ["ServedTable", "ServedTables"]


@dataclass(frozen=True, slots=True)
class ServedTable:
    """A table as it is: another object where it was made anew."""

    name: str
    table: VectorTable
    batcher: Batcher

    async def search(self, question: Question, run: Callable[..., asyncio.Future[pa.Table]]) -> pa.Table:
        """The hits; `run` calls a function in a thread."""
        if not isinstance(question.query, str) or question.mode == "text":
            return await run(self.table.answer, question)
        vector = await self.batcher.encode(question.query)
        return await run(self.table.answer, question, lambda texts: np.stack([vector] * len(texts)))


class ServedTables:
    """All tables of a service, by the last part of their place.

    Raises:
        UsageError: two of them have one name.
        TableError: one of them cannot be opened.
    """

    def __init__(self, settings: ServiceSettings, observe: Callable[[int], None]) -> None:
        self._settings, self._observe = settings, observe
        self._replicas: dict[str, tuple[asyncio.Lock, ThreadPoolExecutor, list[Encoder]]] = {}
        self._served: dict[str, ServedTable] = {}
        self._opening = threading.Lock()
        for uri in settings.tables:
            table = VectorTable.open(uri, settings.storage_options)
            if table.name in self._served:
                raise UsageError(f"two tables are called {table.name!r}: serve them apart")
            self._served[table.name] = self._serve(table)

    @property
    def names(self) -> list[str]:
        """The names of the tables."""
        return list(self._served)

    def by_name(self, message: str) -> str:
        """`message` with the names of the tables in the place of where they lie."""
        for served in self._served.values():
            message = message.replace(str(served.table.location), served.name)
        return message

    def get(self, name: str | None) -> ServedTable:
        """A table as it is now, opened again where another one was made at its place; None: the only one.

        Raises:
            UsageError: there is no such table, or there are several.
            TableError: it is gone, or cannot be read.
        """
        if name is None and len(self._served) > 1:
            raise UsageError(f"say which table: there are {', '.join(self._served)}")
        served = self._served.get(next(iter(self._served)) if name is None else name)
        if served is None:
            raise UsageError(f"there is no such table; there are {', '.join(self._served)}")
        if metadata_value(served.table.dataset().schema, "fingerprint") != served.table.fingerprint:
            with self._opening:
                served = self._serve(VectorTable.open(served.table.location))
                self._served[served.name] = served
        return served

    def warm_up(self) -> None:
        """Load every replica.

        Raises:
            MoeeError: one cannot be loaded.
        """
        for served in self._served.values():
            if served.table.meaning.get("checkpoint") and served.table.calibration_hash:
                self._encoder(served.table)

    def _serve(self, table: VectorTable) -> ServedTable:
        lock, executor, _ = self._replica(table)
        limits = self._settings.limits
        encode = Batcher(
            lambda texts: self._encoder(table).encode_query(texts),
            lock,
            executor,
            most=limits.batch,
            waiting=2 * limits.requests + limits.queries,
            observe=self._observe,
        )
        return ServedTable(table.name, table, encode)

    def _replica(self, table: VectorTable) -> tuple[asyncio.Lock, ThreadPoolExecutor, list[Encoder]]:
        """What tables of one meaning share: turns at the replica, a thread for it, the encoder once it is loaded."""
        meaning = json.dumps(table.meaning, sort_keys=True)
        if meaning not in self._replicas:
            self._replicas[meaning] = asyncio.Lock(), ThreadPoolExecutor(1, "replica"), []
        return self._replicas[meaning]

    def _encoder(self, table: VectorTable) -> Encoder:
        if "encoder" not in table.__dict__:
            *_, loaded = self._replica(table)
            with self._opening:
                if not loaded:
                    loaded.append(table.encoder)
                elif "encoder" not in table.__dict__:
                    table.__dict__["encoder"] = loaded[0].calibrated_by(table.calibration)
        return table.encoder
