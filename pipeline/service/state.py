"""What the routes of one application share: settings, tables, what is counted, maps, threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pipeline.service.maps import Maps
from pipeline.service.topics import KeptAnswers

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.service.metrics import Metrics
    from pipeline.service.settings import ServiceSettings
    from pipeline.service.tables import ServedTables

__all__ = ["State"]

_THREADS: Final = 4
"""In which tables are searched, beside the replica's: Lance releases the interpreter."""


@dataclass(frozen=True, slots=True)
class State:
    """What the routes share."""

    settings: ServiceSettings
    tables: ServedTables
    metrics: Metrics
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    maps: Maps = field(default_factory=Maps)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS, "search"))
    answers: KeptAnswers = field(default_factory=KeptAnswers)

    def run(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Call a function in a thread."""
        return asyncio.get_running_loop().run_in_executor(self.threads, partial(function, *arguments))

    def close(self) -> None:
        """End the threads, and what is being drawn."""
        self.maps.close()
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.answers.close()
