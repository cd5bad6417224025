"""Which Lance directories below a source hold embeddings, and are no documents: the run's own table, and others."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipeline.corpus.formats.lance_table import unlisted
from pipeline.corpus.readers import file_schema
from pipeline.errors import SourceError
from pipeline.storage import is_local, lance_uri
from pipeline.table.location import COMPANIONS
from pipeline.table.schema import FILES, metadata_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    from pipeline.table import TableLocation

__all__ = ["embeddings", "owned_by"]


def owned_by(location: TableLocation) -> Callable[[str], bool]:
    """Whether a Lance directory, by its URI, is the table that is being written, or one of its companions.

    By their names, since ``docs.de`` beside ``docs`` may be anybody's; on this machine by whatever path.
    """
    owned = (location, *map(location.sibling, COMPANIONS))
    own = {_place(each.uri if each.is_local else unquote(each.uri)) for each in owned}  # a listing gives names
    return lambda uri: _place(uri) in own


def _place(uri: str) -> str:
    place = lance_uri(uri)
    return os.path.realpath(place) if is_local(place) else place


def embeddings(storage_options: Mapping[str, Any] | None) -> Callable[[str], bool]:
    """Whether a Lance directory, by its URI, is any table of this package or a companion of one.

    The companions of a table that was dropped are known by its ``NAME.files``.
    """

    @cache
    def is_table(name: str) -> bool:
        table, files = (_schema(f"{name}{suffix}.lance", storage_options) for suffix in ("", ".files"))
        return (table is not None and metadata_value(table, "layout") is not None) or (
            files is not None and files.names == FILES.names
        )

    def decide(uri: str) -> bool:
        name = uri.removesuffix(".lance")
        tables = (name.removesuffix(f".{suffix}") for suffix in COMPANIONS if name.endswith(f".{suffix}"))
        return is_table(name) or any(map(is_table, tables))

    return decide


def _schema(uri: str, storage_options: Mapping[str, Any] | None) -> pa.Schema | None:
    try:
        return file_schema(unlisted(uri), storage_options=storage_options)
    except SourceError:  # whoever reads it says why it cannot be opened
        return None
