"""A service on tables: search, documents, facets and topics over HTTP.

    guard ─▶ routes ─▶ tables ─▶ batcher ─▶ replica
    (who may ask, how much)  (what is asked, as JSON)  (the newest version)  (queries that wait are encoded together)

Nothing here writes into a table. The application is plain ASGI: uvicorn runs it on one machine, Ray Serve on a cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.service.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    """The clients, imported when they are asked for."""
    if name in __all__:
        from pipeline.service import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
