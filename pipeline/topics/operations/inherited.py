"""What a version that is no full fit takes over from the one before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import TopicError
from pipeline.topics.clustering.recipe import Recipe
from pipeline.topics.versions.load import Topics
from pipeline.topics.versions.rows import label_of
from pipeline.topics.words.keywords import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipeline.topics.operations.tally import Census
    from pipeline.topics.versions.artefact import Artefact
    from pipeline.topics.versions.next_version import NextVersion
    from pipeline.topics.versions.tables import TopicModel, TopicTables
    from pipeline.topics.words.counts import TermCounts, Weighted

__all__ = [
    "TopicRow",
    "artefact_of",
    "carried_rows",
    "merged_since",
    "parent_of",
    "publish",
    "recipe_of",
    "reworded",
    "rows_of",
]

TopicRow = dict[str, Any]


def parent_of(step: NextVersion) -> Topics:
    """The version that `step` goes on from.

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
            "fit anew (moee topics refresh --refit)"
        )
    return artefact


def recipe_of(model: TopicModel) -> Recipe:
    """The recipe of a full fit."""
    params = dict(model.params)
    return Recipe(name=params.pop("recipe"), **params)


def rows_of(topics: Topics) -> dict[int, TopicRow]:
    """The rows of all topics, but for the stamp, by id."""
    table = topics.topics().drop_columns(["version", "model"]).sort_by("topic")
    return {row["topic"]: row for row in table.to_pylist()}


def carried_rows(topics: Topics, sizes: Mapping[int, int], counts: TermCounts) -> dict[int, TopicRow]:
    """The rows of all topics with their new sizes and words; labels and the rest stay as they are."""
    words = counts.top(WORDS)
    return {
        topic: {**row, "size": sizes.get(topic, 0), **reworded(words.get(topic, ()))}
        for topic, row in rows_of(topics).items()
    }


def reworded(words: Weighted, *, with_label: bool = False) -> TopicRow:
    """The columns of a topic's words, and of a label that is made of them."""
    columns: TopicRow = {"words": [word for word, _ in words], "weights": [weight for _, weight in words]}
    return {**columns, "label": label_of(words), "label_source": "words"} if with_label else columns


def merged_since(tables: TopicTables, base: TopicModel, model: TopicModel) -> dict[int, int]:
    """Which topics of the full fit `base` were merged by hand up to `model`: the id they had → the one they have."""
    onto: dict[int, int] = {}
    for other in tables.models():
        if other.base == base.version and other.version <= model.version and other.kind in {"merge", "reduce"}:
            rows = Topics(tables, other).events().to_pylist()
            step = {row["topic"]: row["other"] for row in rows if row["event"] == "merged"}
            onto = {old: step.get(new, new) for old, new in onto.items()} | step
    return onto


def publish(
    step: NextVersion,
    rows: Iterable[TopicRow],
    census: Census,
    *,
    events: Iterable[Mapping[str, Any]] = (),
    unused: int | None = None,
    drift: Mapping[str, Any] | None = None,
) -> Topics:
    """Publish `step` with the sizes of `census`; its quality figures are the parent's but for the outliers."""
    model = parent_of(step).model
    return step.publish(
        topics=list(rows),
        events=list(events),
        documents=census.documents,
        outliers=census.outliers,
        unused=model.unused if unused is None else unused,
        metrics={**model.metrics, "outlier_rate": census.outliers / max(census.documents, 1)},
        drift=drift,
    )
