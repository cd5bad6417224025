"""What a version inherits from the one before it, unless it is a full fit: rows, artefact, recipe, figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import TopicError
from pipeline.topics.clustering.recipe import Recipe
from pipeline.topics.versions.load import Topics
from pipeline.topics.versions.rows import label_of
from pipeline.topics.words.keywords import WORDS_PER_TOPIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipeline.topics.operations.tally import Tally
    from pipeline.topics.versions.artefact import Artefact
    from pipeline.topics.versions.next_version import NextVersion
    from pipeline.topics.versions.tables import TopicModel, TopicTables
    from pipeline.topics.words.counts import TermCounts, Weighted

__all__ = [
    "TopicRow",
    "artefact_of",
    "inherited_rows",
    "merged_since_fit",
    "parent_of",
    "publish",
    "recipe_of",
    "reworded",
    "rows_by_topic",
]

TopicRow = dict[str, Any]


def parent_of(step: NextVersion) -> Topics:
    """The topics that `step` goes on from.

    Raises:
        TopicError: there is none.
    """
    if step.parent is None:
        raise TopicError(f"{step.tables.location} has no topics yet: fit them first (moee topics fit)")
    return step.parent


def artefact_of(topics: Topics) -> Artefact:
    """The sample and the word counts that go with `topics`.

    Raises:
        TopicError: the file is gone.
    """
    artefact = topics.artefact()
    if artefact is None:
        raise TopicError(
            f"{topics.tables.location}: the artefact of topic model {topics.model.version} is gone: "
            "fit again (moee topics refresh --refit)"
        )
    return artefact


def recipe_of(model: TopicModel) -> Recipe:
    """The recipe of a full fit."""
    params = dict(model.params)
    return Recipe(name=params.pop("recipe"), **params)


def rows_by_topic(topics: Topics) -> dict[int, TopicRow]:
    """Topic → its row, without the stamp; by ascending id."""
    table = topics.topics().drop_columns(["version", "model"]).sort_by("topic")
    return {row["topic"]: row for row in table.to_pylist()}


def inherited_rows(
    topics: Topics, sizes: Mapping[int, int], counts: TermCounts, *, with_labels: bool = False
) -> dict[int, TopicRow]:
    """Topic → its row with new size and words; the other columns are inherited.

    A topic of which no word is left keeps its words. With `with_labels`, labels made of words are made again.
    """
    words, rows = counts.top(WORDS_PER_TOPIC), rows_by_topic(topics)
    for topic, row in rows.items():
        row["size"] = sizes.get(topic, 0)
        if words.get(topic):
            row.update(reworded(words[topic], with_label=with_labels and row["label_source"] == "words"))
    return rows


def reworded(words: Weighted, *, with_label: bool = False) -> TopicRow:
    """The columns of a topic's words; `with_label`: also those of a label that is made of them."""
    columns: TopicRow = {"words": [word for word, _ in words], "weights": [weight for _, weight in words]}
    return {**columns, "label": label_of(words), "label_source": "words"} if with_label else columns


def merged_since_fit(tables: TopicTables, model: TopicModel) -> dict[int, int]:
    """Topic of the last full fit → the topic that it was merged into since, up to `model`."""
    merged_into: dict[int, int] = {}
    for other in tables.since_fit(model):
        if other.kind in {"merge", "reduce"}:
            rows = Topics(tables, other).events().to_pylist()
            latest = {row["topic"]: row["other"] for row in rows if row["event"] == "merged"}
            # What was merged into a topic that is merged now follows it.
            merged_into = {old: latest.get(new, new) for old, new in merged_into.items()} | latest
    return merged_into


def publish(
    step: NextVersion,
    rows: Iterable[TopicRow],
    tally: Tally,
    *,
    events: Iterable[Mapping[str, Any]] = (),
    unused: int | None = None,
    drift: Mapping[str, Any] | None = None,
) -> Topics:
    """Publish `step` with the sizes of `tally`; quality figures are inherited, except the share of outliers."""
    model = parent_of(step).model
    return step.publish(
        topics=list(rows),
        events=list(events),
        documents=tally.documents,
        outliers=tally.outliers,
        unused=model.unused if unused is None else unused,
        metrics={**model.metrics, "outlier_rate": tally.outliers / max(tally.documents, 1)},
        drift=drift,
    )
