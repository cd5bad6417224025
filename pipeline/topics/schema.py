"""The four tables beside ``NAME``; plain LanceDB and pandas read them.

    NAME.topic_models        a row per version; written last: a version without its row does not exist
    NAME.topics              all topics of each version
    NAME.topic_assignments   which topic a document was put into, and in which version, apart from the vectors
    NAME.topic_events        what happened to each topic from one version to the next

Words: a *version* is one state of a table's topics. A *model* is the row of ``NAME.topic_models`` that describes it.
An *operation* (fit, refresh, label, merge, reduce) writes one version; its *token* is stored in the column `model` of
every row that it writes. An operation that died leaves rows whose token is not in ``topic_models``. A document without
a topic of its own is an *outlier* (topic -1); one that no operation has looked at yet is *unassigned* and has no row.

Assignments are added and never changed. Those of documents that left the table are deleted by the next refresh. A full
fit writes all documents. Later versions write the documents that are new, have changed, or change their topic. A
document's topic in version v is that of its row with the highest version from the `base` of v up to v. With pandas, for
the latest version:

    last = models.sort_values("version").iloc[-1]
    rows = rows[rows.model.isin(models.model) & (rows.version >= last.base)]
    rows.sort_values("version").drop_duplicates("id", keep="last")
"""

from __future__ import annotations

from typing import Final, Literal

import pyarrow as pa

__all__ = ["ASSIGNMENTS", "EVENTS", "MODELS", "OUTLIER", "Companion", "Kind", "topics_schema"]

Companion = Literal["topic_models", "topics", "topic_assignments", "topic_events"]

Kind = Literal["fit", "assign", "births", "refit", "label", "merge", "reduce"]
"""What made a version. ``fit`` and ``refit`` assign every document again and are the `base` of later versions."""

OUTLIER: Final = -1
"""The topic of documents that belong to no topic. Their words count as words of the corpus."""

_MODEL: Final = [pa.field("version", pa.int64(), nullable=False), pa.field("model", pa.string(), nullable=False)]

MODELS: Final = pa.schema(
    [
        # The key makes `merge_insert` exact when two operations end at once: one of them inserts nothing.
        _MODEL[0].with_metadata({"lance-schema:unenforced-primary-key": "true"}),
        _MODEL[1],
        pa.field("parent", pa.int64()),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("base", pa.int64(), nullable=False),
        pa.field("created", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("recipe", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("table_version", pa.int64(), nullable=False),
        pa.field("fingerprint", pa.string()),
        pa.field("documents", pa.int64(), nullable=False),
        pa.field("sampled", pa.int64(), nullable=False),
        pa.field("topics", pa.int64(), nullable=False),
        pa.field("outliers", pa.int64(), nullable=False),
        # The first id that no topic ever had: ids of retired topics are not used again.
        pa.field("unused", pa.int64(), nullable=False),
        pa.field("params", pa.string(), nullable=False),
        pa.field("libraries", pa.string(), nullable=False),
        pa.field("metrics", pa.string(), nullable=False),
        pa.field("drift", pa.string()),
        pa.field("artefact", pa.string()),
    ]
)
"""`params`, `libraries`, `metrics` and `drift` (figures of a refresh, else null) are JSON objects; `artefact` names a
file in ``NAME.topic_artefacts`` (`pipeline.topics.versions.artefact`)."""

ASSIGNMENTS: Final = pa.schema(
    [
        *_MODEL,
        pa.field("id", pa.string(), nullable=False),
        pa.field("topic", pa.int64(), nullable=False),
        pa.field("nearest", pa.int64(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("margin", pa.float32(), nullable=False),
        pa.field("slice", pa.int64()),
    ]
)
"""`topic` is -1 for outliers; `score` is the cosine to the centroid of `nearest`, `margin` its lead on the second."""

EVENTS: Final = pa.schema(
    [
        *_MODEL,
        pa.field("event", pa.string(), nullable=False),
        pa.field("topic", pa.int64(), nullable=False),
        pa.field("other", pa.int64()),
        pa.field("overlap", pa.float64()),
        pa.field("score", pa.float64()),
        pa.field("created", pa.timestamp("us", "UTC"), nullable=False),
    ]
)
"""`event` is born, continued, retired, split or merged; `other` is the topic split from or merged into. A full
fit writes one event for each topic of either version; other operations write what changed."""


def topics_schema(dimension: int) -> pa.Schema:
    """Schema of ``NAME.topics`` for vectors of `dimension`; `x` and `y` are the topic's place on a map, if drawn."""
    words, weights = pa.list_(pa.string()), pa.list_(pa.float32())
    return pa.schema(
        [
            *_MODEL,
            pa.field("topic", pa.int64(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            pa.field("size", pa.int64(), nullable=False),
            pa.field("centroid", pa.list_(pa.float32(), dimension), nullable=False),
            pa.field("median", pa.float32(), nullable=False),
            pa.field("mad", pa.float32(), nullable=False),
            pa.field("words", words, nullable=False),
            pa.field("weights", weights, nullable=False),
            pa.field("keywords", words, nullable=False),
            pa.field("keyword_weights", weights, nullable=False),
            pa.field("label", pa.string(), nullable=False),
            pa.field("label_source", pa.string(), nullable=False),
            pa.field("label_locked", pa.bool_(), nullable=False),
            pa.field("representatives", pa.list_(pa.string()), nullable=False),
            pa.field("x", pa.float32()),
            pa.field("y", pa.float32()),
        ]
    )
