"""``moee embed … --then topics``: topics follow their table, where that is worth it.

The table decides, and not what the run that ends here did: one that died before its topics is made up for by the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jobs.topics.fit import fit_and_show
from jobs.topics.refresh import refresh_and_show

if TYPE_CHECKING:
    from jobs.command import Output

__all__ = ["enough_new", "topics_if_grown"]

SHARE: Final = 0.01
MANY: Final = 1000
"""A refresh is worth it for this share of the documents, or for this number."""


def topics_if_grown(table: str, output: Output, *, storage_options: dict[str, str] | None = None) -> dict[str, Any]:
    """Fit topics where there are none, refresh them where enough is new; returns what goes into ``--json``."""
    from pipeline.table import VectorTable
    from pipeline.topics import Topics
    from pipeline.topics.clustering.recipe import Recipe
    from pipeline.topics.operations.refresh import count_unassigned
    from pipeline.topics.versions.tables import TopicTables

    tables = TopicTables.of(VectorTable.open(table, storage_options))
    models = tables.models()
    if not models:
        documents, fewest = tables.vectors().count_rows(), Recipe().min_documents
        if documents < fewest:
            return _skipped(output, f"{documents:,} documents are too few, topics need {fewest:,}")
        return fit_and_show(table, output, storage_options=storage_options)
    model, pending = models[-1], count_unassigned(Topics(tables, models[-1]))
    enough = enough_new(model.documents)
    if pending < enough:
        return _skipped(
            output, f"{pending:,} documents are new since version {model.version}, a refresh begins at {enough:,}"
        )
    return refresh_and_show(table, output, storage_options=storage_options)


def enough_new(documents: int) -> int:
    """How many new documents are worth a refresh of the topics of so many."""
    return max(1, min(MANY, round(SHARE * documents)))


def _skipped(output: Output, reason: str) -> dict[str, Any]:
    output.people.print(f"topics: left as they are: {reason}", markup=False)
    return {"skipped": reason}
