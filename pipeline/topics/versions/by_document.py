"""From chunks to documents: where a table's rows are chunks, a document has the topic of most of its chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.topics.schema import OUTLIER
from pipeline.topics.versions.rows import topic_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DOCUMENT_TOPICS", "DocumentCounts", "count_documents", "document_topics"]

DOCUMENT_TOPICS: Final = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),
        pa.field("topic", pa.int64(), nullable=False),
        pa.field("share", pa.float64(), nullable=False),
        pa.field("chunks", pa.int64(), nullable=False),
    ]
)
"""A row for each document; `share` is the share of its `chunks` that are in its topic."""


@dataclass(frozen=True, slots=True)
class DocumentCounts:
    """How many documents a model covers."""

    documents: int
    """All documents."""
    outliers: int
    """Documents in no topic."""
    chunks: int | None = None
    """Rows of the table; None where rows are documents."""
    sizes: Mapping[int, int] | None = None
    """Documents of each topic; None where rows are documents."""


def document_topics(rows: pa.Table, *, chunked: bool) -> pa.Table:
    """A row of `DOCUMENT_TOPICS` for each document, by its id.

    A document belongs to the topic of most of its chunks; chunks in no topic do not count. Ties go to the topic with
    the larger sum of scores, then to the lower id. A document whose chunks are all in no topic is in none.

    Args:
        rows: id (``DOCUMENT#K`` for chunks), topic and score of all rows.
        chunked: whether rows are chunks.
    """
    ids = rows.column("id")
    names = pc.replace_substring_regex(ids, r"#\d+$", "") if chunked else ids
    table = pa.table({"document": names, "topic": rows.column("topic"), "score": rows.column("score")})
    groups = table.group_by(["document", "topic"]).aggregate([("score", "count"), ("score", "sum")])
    inside = pc.not_equal(groups.column("topic"), OUTLIER).cast(pa.int8())
    order = [(name, "descending") for name in ("inside", "score_count", "score_sum")]
    ranked = groups.append_column("inside", inside).sort_by([("document", "ascending"), *order, ("topic", "ascending")])
    encoded = pc.rank(ranked.column("document"), tiebreaker="dense").to_numpy().astype(np.int64) - 1
    first = np.flatnonzero(np.diff(encoded, prepend=-1))
    counts = ranked.column("score_count").to_numpy()
    totals = np.bincount(encoded, weights=counts).astype(np.int64)
    best = ranked.take(pa.array(first))
    columns = [best.column("document"), best.column("topic"), pa.array(counts[first] / totals), pa.array(totals)]
    return pa.Table.from_arrays(columns, schema=DOCUMENT_TOPICS)


def count_documents(documents: pa.Table) -> DocumentCounts:
    """The figures of `documents`, rows of `DOCUMENT_TOPICS`."""
    sizes = topic_sizes([documents.column("topic").to_numpy()])
    outliers = sizes.pop(OUTLIER, 0)
    return DocumentCounts(documents.num_rows, outliers, int(pc.sum(documents.column("chunks")).as_py() or 0), sizes)
