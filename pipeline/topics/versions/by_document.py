"""From chunks to documents: where a table's rows are parts of documents, a document's topic is that of most of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.topics.clustering.geometry import OUTLIER

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DOCUMENTS", "Extent", "document_topics", "extent_of"]

DOCUMENTS: Final = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),
        pa.field("topic", pa.int64(), nullable=False),
        pa.field("share", pa.float64(), nullable=False),
        pa.field("chunks", pa.int64(), nullable=False),
    ]
)
"""`share` is the part of the document's `chunks` that lie in its topic."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How many `documents` there are, how many of them in no topic (`outliers`), and in each topic (`sizes`).

    `chunks` is how many rows they make; None where rows are documents.
    """

    documents: int
    outliers: int
    chunks: int | None = None
    sizes: Mapping[int, int] | None = None


def document_topics(rows: pa.Table, *, chunked: bool) -> pa.Table:
    """A row of `DOCUMENTS` for each document, by its id.

    A document belongs to the topic that most of its chunks belong to, those in no topic aside; of equals to the one
    that its chunks are nearer to (the sum of their scores), then to the lower id. One whose chunks are all in none is
    in none.

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
    return pa.Table.from_arrays(columns, schema=DOCUMENTS)


def extent_of(documents: pa.Table) -> Extent:
    """Count rows of `DOCUMENTS`."""
    topics, counts = np.unique(documents.column("topic").to_numpy(), return_counts=True)
    sizes = dict(zip(topics.tolist(), counts.tolist(), strict=True))
    outliers = sizes.pop(OUTLIER, 0)
    return Extent(documents.num_rows, outliers, int(pc.sum(documents.column("chunks")).as_py() or 0), sizes)
