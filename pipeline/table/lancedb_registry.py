"""The table's encoder in LanceDB's registry of embedding functions: ``table.search("words")`` in plain LanceDB.

    import pipeline.table.lancedb_registry        # once, so that LanceDB knows the name "moee"

A registered table names the function in its schema's metadata, with its own location: the function encodes queries with
that table's spec and calibration. LanceDB imports nothing for its readers. Whoever has not imported this module gets
``KeyError: 'moee'`` from ``search("words")`` and from every ``add``; all else works. So it is done on request only.

`register_table` and `unregister_table` change metadata only, in one commit.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from lancedb.embeddings import EmbeddingFunction, get_registry
from pydantic import PrivateAttr

from pipeline.errors import UsageError
from pipeline.table.schema import VECTOR
from pipeline.table.store import storage_errors
from pipeline.table.vector_table import VectorTable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MoeeFunction", "is_registered", "register_table", "unregister_table"]

_NAME: Final = "moee"
_KEY: Final = "embedding_functions"
"""LanceDB's key in a schema's metadata."""


@get_registry().register(_NAME)
class MoeeFunction(EmbeddingFunction):
    """Encodes texts as the documents and queries of `table`, and opens it when first asked.

    Raises:
        TableError, FingerprintError: as `VectorTable.open` and `VectorTable.encoder`.
    """

    table: str
    """``DIRECTORY/NAME`` or its URL form; keys for object storage come from the environment."""
    _opened: VectorTable | None = PrivateAttr(None)

    def ndims(self) -> int:
        """D."""
        return self._table.dim

    def compute_query_embeddings(self, query: str | Sequence[str], *_: Any, **__: Any) -> list[np.ndarray]:
        """The vector of each query, float16 [D]."""
        queries = [query] if isinstance(query, str) else list(query)
        return self._stored(self._table.encoder.encode_query(queries))

    def compute_source_embeddings(self, texts: Any, *_: Any, **__: Any) -> list[np.ndarray]:
        """The vector of each document, float16 [D]."""
        documents = list(self.sanitize_input(texts))
        return self._stored(self._table.encoder.encode(documents))

    @property
    def _table(self) -> VectorTable:
        if self._opened is None:
            self._opened = VectorTable.open(self.table)
        return self._opened

    @staticmethod
    def _stored(vectors: np.ndarray) -> list[np.ndarray]:
        return list(vectors.astype(np.float16))


def register_table(table: VectorTable) -> None:
    """Name the function in the metadata of `table`, in place of any other of its vectors.

    Raises:
        UsageError: the table stores no texts, or its vectors were made elsewhere.
        TableError: the storage refused.
    """
    if "text" not in table.schema.names:
        raise UsageError(f"{table.location} stores no texts, of which LanceDB's registry wants vectors to be made")
    if not table.calibration_hash:
        raise UsageError(f"the vectors of {table.location} were made elsewhere: there is no encoder to register")
    entry = {"name": _NAME, "model": {"table": str(table.location)}, "source_column": "text", "vector_column": VECTOR}
    _write(table, [*_others(table), entry])


def unregister_table(table: VectorTable) -> None:
    """Take `register_table` back; functions of other names stay.

    Raises:
        TableError: the storage refused.
    """
    if is_registered(table):
        _write(table, _others(table))


def is_registered(table: VectorTable) -> bool:
    """Whether the newest version of `table` names the function."""
    return any(entry["name"] == _NAME for entry in _entries(table))


def _entries(table: VectorTable) -> list[dict[str, Any]]:
    stored = (table.dataset().schema.metadata or {}).get(_KEY.encode())
    return [] if stored is None else cast("list[dict[str, Any]]", json.loads(stored))


def _others(table: VectorTable) -> list[dict[str, Any]]:
    return [entry for entry in _entries(table) if entry["name"] != _NAME]


def _write(table: VectorTable, entries: list[dict[str, Any]]) -> None:
    with storage_errors("register", table.location):
        table.dataset().update_schema_metadata({_KEY: json.dumps(entries) if entries else None})
