"""Counting the words of a whole table anew, where the stored counts no longer say what its documents hold.

Counts hold the words of documents, and not which document each came from: what a document leaves behind cannot be taken
out of them. And counts of words that were split by another rule cannot be added to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.topics.clustering.documents import key_columns, keys_of, read_sample
from pipeline.topics.keys import document_keys
from pipeline.topics.schema import OUTLIER
from pipeline.topics.versions.join import BATCH_ROWS, TopicIndex
from pipeline.topics.words.counts import Sum, Vocabulary
from pipeline.topics.words.splitting import SPLITTING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from lance import LanceDataset
    from numpy.typing import NDArray

    from pipeline.topics.words.counts import TermCounts

__all__ = ["MAX_LEFT", "count_anew", "current_vocabulary"]

MAX_LEFT: Final = 0.05
"""Share of documents whose words may stay in the counts after they have left the table or changed."""


def current_vocabulary(vocabulary: Vocabulary, dataset: LanceDataset, limit: int) -> Vocabulary:
    """`vocabulary` if its words were split by the present rule; else that of up to `limit` documents of the table."""
    if vocabulary.splitting == SPLITTING:
        return vocabulary
    return Vocabulary.of(read_sample(dataset, limit).texts)


def count_anew(
    dataset: LanceDataset, rows: Iterable[pa.RecordBatch], topics: NDArray[np.int64], vocabulary: Vocabulary
) -> TermCounts:
    """Count the words of all documents of a table that are in `rows`, in one pass over its texts.

    Args:
        dataset: the table.
        rows: assignments with id, slice and topic.
        topics: int64 [k], the topics that are counted; outliers are added.
        vocabulary: the words to count.
    """
    index = _index(rows)
    counts = vocabulary.empty(np.append(OUTLIER, np.sort(topics)))
    total = Sum(counts.matrix)
    columns = list(dict.fromkeys([*key_columns(dataset), "text"]))
    for batch in dataset.to_batches(columns=columns, batch_size=BATCH_ROWS):
        known, found = index.find(keys_of(batch))
        texts = batch.column("text").filter(known)
        total.add(vocabulary.count(texts, found, counts.topics).matrix)
    return replace(counts, matrix=total.value)


def _index(rows: Iterable[pa.RecordBatch]) -> TopicIndex:
    keys, topics = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for batch in rows:
        keys.append(document_keys(batch.column("id"), batch.column("slice")))
        topics.append(batch.column("topic").to_numpy())
    joined = np.concatenate(keys)
    order = np.argsort(joined, kind="stable")
    return TopicIndex(joined[order], np.concatenate(topics)[order])
