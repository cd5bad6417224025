"""Questions to a table, answered one by one or many at once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.table.query.conditions import condition_sql, conjunction, named, whole_sql
from pipeline.table.query.earlier import as_it_was
from pipeline.table.query.facets import count_values
from pipeline.table.query.question import check_count, check_names, check_rows
from pipeline.table.query.request import make_request
from pipeline.table.query.search import run_search
from pipeline.table.schema import VECTOR
from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import lance
    import pyarrow as pa

    from pipeline.table.location import TableLocation
    from pipeline.table.query.conditions import Where
    from pipeline.table.query.question import Question
    from pipeline.table.query.request import Request, VectorSpace

__all__ = ["document", "facets", "search_each"]

_ENCODED: Final = 64
"""Queries that are encoded at once, and answered before the next."""


def search_each(space: VectorSpace, newest: lance.LanceDataset, questions: Sequence[Question]) -> Iterator[pa.Table]:
    """The hits of each of `questions`, which differ in query and alpha only.

    What the table cannot be asked is refused at once.
    """
    if not questions:
        return iter(())
    dataset, without = _version(space.location, newest, questions[0].at)
    request = make_request(space, dataset, questions[0], without=without)
    return _each(space, dataset, questions, without, _hits(space, dataset, request))


def _each(
    space: VectorSpace, dataset: lance.LanceDataset, questions: Sequence[Question], without: str | None, first: pa.Table
) -> Iterator[pa.Table]:
    yield first
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for begin in range(1, len(questions), _ENCODED):
            some = questions[begin : begin + _ENCODED]
            encoded = _encoded_together(space, some)
            requests = [make_request(encoded, dataset, question, without=without) for question in some]
            yield from threads.map(lambda request: _hits(space, dataset, request), requests)


def _encoded_together(space: VectorSpace, questions: Sequence[Question]) -> VectorSpace:
    """`space`, with the vectors of these questions at hand."""
    texts = [question.query for question in questions if isinstance(question.query, str) and question.mode != "text"]
    if not texts:
        return space
    vectors = dict(zip(texts, space.encode(texts), strict=True))
    return replace(space, encode=lambda some: np.stack([vectors[text] for text in some]))


def document(location: TableLocation, newest: lance.LanceDataset, name: str, at: int | str | None) -> pa.Table:
    """See `VectorTable.document`."""
    dataset, without = _version(location, newest, at)
    columns = [column for column in dataset.schema.names if column != VECTOR]
    with storage_errors("read", location):
        return dataset.to_table(columns=columns, filter=conjunction(named(dataset.schema, name), without))


def facets(
    location: TableLocation,
    newest: lance.LanceDataset,
    columns: Sequence[str],
    where: Where | None,
    where_sql: str | None,
    at: int | str | None,
    most: int,
) -> dict[str, pa.Table]:
    """See `VectorTable.facets`."""
    check_names("columns", columns)
    check_count("most", most, 1)
    check_rows(where_sql, at)
    dataset, without = _version(location, newest, at)
    condition = conjunction(condition_sql(dataset.schema, where), whole_sql(where_sql), without)
    with storage_errors("read", location):
        return count_values(dataset, columns, condition, most)


def _version(
    location: TableLocation, newest: lance.LanceDataset, at: int | str | None
) -> tuple[lance.LanceDataset, str | None]:
    return (newest, None) if at is None else as_it_was(location, newest, at)


def _hits(space: VectorSpace, dataset: lance.LanceDataset, request: Request) -> pa.Table:
    with storage_errors("search", space.location):
        return run_search(dataset, request)
