"""How a service runs: its tables, who may ask, and how much."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping  # noqa: TC003 — pydantic asks for it
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import UsageError

__all__ = ["Limits", "ServiceSettings"]


class Limits(BaseModel):
    """Bounds of one request and of all at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(1_000, ge=1, le=10_000)
    """Hits of one search, those before `offset` included."""
    query_letters: int = Field(10_000, ge=1)
    """Letters of a query in words."""
    queries: int = Field(256, ge=1)
    """Queries in one batch."""
    body_bytes: int = Field(1 << 20, ge=1024)
    seconds: float = Field(30.0, gt=0)
    """From the first byte of a request to the last one of its answer."""
    requests: int = Field(64, ge=1)
    """That are being answered; more get status 429."""
    batch: int = Field(32, ge=1)
    """Queries that are encoded together."""
    cached_bytes: int = Field(256 << 20, ge=1 << 20)
    """Of indexes, kept in memory for all tables together; of what describes the files, a quarter as much besides."""


class ServiceSettings(BaseModel):
    """A service.

    Raises:
        UsageError: a value that cannot be meant, or an address that others reach without a token.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: tuple[str, ...] = Field(min_length=1)
    """``DIRECTORY/NAME`` or URL forms."""
    storage_options: Mapping[str, Any] | None = Field(None, repr=False)
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    token_hash: str | None = Field(None, repr=False)
    """Of the token that a request brings (`pipeline.tokens`); None: none is asked for, on this machine only."""
    host_names: tuple[str, ...] = ()
    """Further names by which the service is reached, as behind a proxy."""
    with_texts: bool = True
    """Whether answers hold texts."""
    mcp: bool = False
    """Whether assistants are answered, at ``/mcp``."""
    device: str = "auto"
    limits: Limits = Limits.model_validate({})

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    @model_validator(mode="after")
    def _refuse_open_doors(self) -> Self:
        if self.token_hash is None and not self.is_local:
            raise UsageError(
                f"host {self.host!r} is reached from elsewhere, which needs a token: "
                "set MOEE_SERVE_TOKEN, or give --token-hash (moee serve --new-token makes both)"
            )
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
