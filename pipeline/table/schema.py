"""What is stored: the columns of a table and of its companions, and the keys of its schema metadata.

Readers need no part of this package to open a table; whoever wants to know what the vectors mean reads the
metadata keys below.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.rejects import KEY

__all__ = [
    "CHUNKS",
    "COSINES",
    "DELETED",
    "FILES",
    "JOURNAL",
    "LAYOUT",
    "PASSAGE",
    "QUERY",
    "RANKS",
    "RUNS",
    "SCORE",
    "SLICES",
    "VECTOR",
    "align_rows",
    "document_column",
    "metadata_value",
    "refuse_column_name",
    "schema_metadata",
    "table_schema",
]

LAYOUT: Final = "2"
"""Raised when columns or companions change so that an older reader would misread them."""

VECTOR: Final = "vector"

SCORE: Final = "_score"
"""Of a hit: float32, the higher the better."""

COSINES: Final = ("_cos_h", "_cos_r")
"""Of a hit: float32, of hidden states and of routing weights with the query's; for tables that store both halves."""

RANKS: Final = ("_vector_rank", "_text_rank")
"""Of a hit: int32, from 1, in the lists that a hybrid search joins; null where a list does not have the hit."""

PASSAGE: Final = "_passage"
"""Of a hit: the part of the text with most of the query's words."""

QUERY: Final = "_query"
"""Of a hit in a file of hits of many queries: which one it belongs to."""

_LANCE_NAMES: Final = {"_rowid", "_rowaddr", "_rowoffset", "_distance", SCORE}
_NAMES_OF_HITS: Final = {*COSINES, *RANKS, PASSAGE, QUERY}


def _key(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata=KEY)


FILES: Final = pa.schema(
    [
        _key("uri", pa.string()),
        _key("version", pa.string()),
        pa.field("slices", pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("complete", pa.bool_()),
        pa.field("run", pa.string()),
    ]
)
"""The ledger's coarse half: input files by version; ``complete``: all slices are in the table or the rejects."""

SLICES: Final = pa.schema(
    [
        _key("slice", pa.int64()),
        pa.field("source", pa.string()),
        pa.field("why", pa.string()),
        pa.field("run", pa.string()),
    ]
)
"""Slices that are finished without a row in the table; ``why`` is rejected or deleted."""

DELETED: Final = pa.schema(
    [
        _key("key", pa.string()),
        pa.field("id", pa.string()),
        pa.field("text_mark", pa.string()),
    ]
)
"""What must not come back. ``text_mark`` is null where the id alone tells the document; ``key`` is made of either."""

JOURNAL: Final = pa.schema(
    [
        _key("uri", pa.string()),
        _key("version", pa.string()),
        _key("slice", pa.int64()),
        pa.field("fragments", pa.list_(pa.string())),
        pa.field("schema_key", pa.string()),
        pa.field("rejects", pa.binary()),
        pa.field("run", pa.string()),
    ]
)
"""What is staged for changed files. ``fragments``: Lance's FragmentMetadata as JSON; ``rejects``: an Arrow stream."""

RUNS: Final = pa.schema(
    [
        _key("run", pa.string()),
        pa.field("started", pa.timestamp("us", "UTC")),
        pa.field("ended", pa.timestamp("us", "UTC")),
        pa.field("status", pa.string()),
        pa.field("command", pa.string()),
        pa.field("documents", pa.int64()),
        pa.field("tokens", pa.int64()),
        pa.field("rejects", pa.int64()),
        pa.field("seconds", pa.float64()),
        pa.field("collected_bytes", pa.int64()),
        pa.field("settled_version", pa.int64()),
        pa.field("spec", pa.string()),
        pa.field("code_version", pa.string()),
        pa.field("engine", pa.string()),
        pa.field("replicas", pa.int64()),
        pa.field("on_gpus", pa.bool_()),
        pa.field("version_before", pa.int64()),
        pa.field("version_after", pa.int64()),
        pa.field("rows_read", pa.int64()),
        pa.field("reject_reasons", pa.string()),
        pa.field("startup_seconds", pa.float64()),
        pa.field("index_seconds", pa.float64()),
        pa.field("stages", pa.string()),
        pa.field("waited_for", pa.string()),
        pa.field("advice", pa.string()),
        pa.field("batches", pa.int64()),
        pa.field("batch_fill", pa.float64()),
        pa.field("staged_bytes", pa.int64()),
        pa.field("commits", pa.int64()),
        pa.field("commit_seconds", pa.float64()),
        pa.field("swap_retries", pa.int64()),
        pa.field("deaths", pa.int64()),
        pa.field("error", pa.string()),
        pa.field("estimate", pa.string()),
        pa.field("cost", pa.float64()),
    ]
)
"""One row per run. Columns that a table's older runs lack are null.

``status`` is running, finished, failed or interrupted; ``command`` is JSON without secrets, with what is noteworthy of
the end of the run. ``collected_bytes`` is the
size of the orphans that the run deleted. ``settled_version`` is the version of the table in which every duplicate among
the rejects had its original; null where nobody looked, or one had not.

``spec``, ``reject_reasons`` (reason → count), ``stages`` and ``estimate`` are JSON. ``version_before`` and
``version_after`` are the table's when the run began and ended; the former is null where the run made the table.
``stages`` has for each stage its seconds at work, added up over workers, its load (0 to 1, of the time that passed) and
the rows of input a second that one worker did; ``waited_for`` is the stage that bounded the rate, ``advice`` what to
change. ``swap_retries`` counts commits that another writer had won, ``deaths`` those of workers that the run survived.
``estimate`` is what was expected before the run, ``cost`` what it cost.
"""


CHUNKS: Final = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("chunk", pa.int32(), nullable=False),
        pa.field("chunk_start", pa.int64(), nullable=False),
        pa.field("chunk_end", pa.int64(), nullable=False),
    ]
)
"""What rows that are chunks have besides: their document's id, their number in it, the characters that they are."""


def table_schema(
    dim: int,
    keep: pa.Schema | None = None,
    metadata: dict[bytes, bytes] | None = None,
    *,
    with_text: bool = True,
    chunked: bool = False,
) -> pa.Schema:
    """The columns of a table: vectors float16 [`dim`], their provenance, and the nullable `keep` columns.

    Raises:
        UsageError: a `keep` column has the name of one of the table's own.
    """
    own = [
        pa.field("id", pa.string(), nullable=False),
        *([pa.field("text", pa.string())] if with_text else []),
        pa.field(VECTOR, pa.list_(pa.float16(), dim), nullable=False),
        pa.field("hs_norm", pa.float32()),
        pa.field("rw_norm", pa.float32()),
        pa.field("n_tokens", pa.int32()),
        pa.field("truncated", pa.bool_()),
        pa.field("source", pa.string()),
        pa.field("slice", pa.int64(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        *(CHUNKS if chunked else ()),
    ]
    taken = {"text", *(field.name for field in own)}
    kept = [pa.field(field.name, field.type, nullable=True) for field in keep or ()]
    for field in kept:
        if field.name in taken:
            raise UsageError(f"column {field.name!r} cannot be kept: the table has a column of that name of its own")
        refuse_column_name(field.name)
    return pa.schema([*own, *kept], metadata=metadata)


def refuse_column_name(name: str) -> None:
    """Refuse a metadata column by a name that Lance cannot store or ask for, or that columns of its or of hits have.

    Raises:
        UsageError: it cannot be kept.
    """
    if name in _LANCE_NAMES:
        raise UsageError(f"column {name!r} cannot be kept: Lance has a column of that name of its own; rename it")
    if name in _NAMES_OF_HITS:
        raise UsageError(f"column {name!r} cannot be kept: hits have a column of that name of their own; rename it")
    if name in {"", "*"} or any(character in name for character in ".`\0"):
        raise UsageError(f"column {name!r} cannot be kept: Lance has no names with dots, backticks or NUL; rename it")


def schema_metadata(
    *,
    spec: str,
    meaning: dict[str, Any],
    calibration: str,
    fingerprint: str,
    reader: dict[str, Any],
    halves: tuple[int, int],
) -> dict[bytes, bytes]:
    """The metadata that says what the vectors mean; `spec` is the resolved spec's JSON."""
    values = {
        "spec": spec,
        "meaning": json.dumps(meaning, sort_keys=True),
        "calibration": calibration,
        "fingerprint": fingerprint,
        "layout": LAYOUT,
        "reader": json.dumps(reader, sort_keys=True),
        "halves": json.dumps(list(halves)),
    }
    return {f"moee.{name}".encode(): value.encode() for name, value in values.items()}


def metadata_value(schema: pa.Schema, name: str) -> str | None:
    """The metadata value ``moee.NAME`` of a schema, or None where there is none."""
    value = (schema.metadata or {}).get(f"moee.{name}".encode())
    return None if value is None else value.decode()


def document_column(schema: pa.Schema) -> str:
    """The column that names documents: ``id``, or ``doc_id`` in a table whose rows are chunks."""
    reader = metadata_value(schema, "reader")
    return "doc_id" if reader is not None and json.loads(reader).get("chunk") else "id"


def align_rows(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """`rows` in the order and types of `schema`; nullable columns that `rows` lacks are null.

    Raises:
        UsageError: a column is unknown to `schema`, missing although it must not be null, or of another type.
    """
    unknown = [name for name in rows.column_names if name not in schema.names]
    if unknown:
        raise UsageError(f"column {unknown[0]!r} is not in the table, which has {', '.join(schema.names)}")
    columns = [_aligned_column(rows, field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _aligned_column(rows: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    if field.name not in rows.column_names:
        if not field.nullable:
            raise UsageError(f"column {field.name!r} is missing from the rows")
        return pa.nulls(rows.num_rows, field.type)
    column = rows.column(field.name)
    if column.null_count and not field.nullable:
        raise UsageError(f"column {field.name!r} must not be null: {column.null_count} of {rows.num_rows} values are")
    try:
        return column if column.type == field.type else column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise UsageError(f"column {field.name!r} is {column.type}, the table's is {field.type}: {error}") from error
