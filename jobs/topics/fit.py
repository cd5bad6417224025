"""``moee topics fit``: find the topics of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jobs.command import Command, Output, storage_options, table_arguments
from jobs.topics.common import as_json
from jobs.topics.naming import label_by_llm, llm_arguments, llm_settings
from jobs.topics.show import show_topics

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from rich.console import Console

    from pipeline.mapper import Mapper
    from pipeline.table import VectorTable
    from pipeline.topics.naming import LlmSettings

__all__ = ["COMMAND", "fit_and_show", "mapper_for"]

SAMPLE: Final = 100_000
LABEL_WAIT: Final = 60.0
"""Seconds that new labels wait for another change of the topics to end."""

FIGURES: Final = {
    "npmi": "NPMI",
    "outlier_rate": "outlier rate",
    "ami": "AMI",
    "v_measure": "V-measure",
    "ami_all": "AMI with outliers",
    "stability": "AMI with another seed",
}
"""What people call the metrics."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee topics fit``."""
    table_arguments(parser)
    parser.add_argument(
        "--recipe",
        default="exact",
        metavar="NAME",
        help="how documents are clustered: exact (UMAP, HDBSCAN), pca (the same on 100 principal components) or evoc",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    parser.add_argument("--min-size", type=int, default=15, metavar="N", help="smallest topic, in documents (15)")
    parser.add_argument(
        "--sample",
        type=int,
        default=SAMPLE,
        metavar="N",
        help=f"cluster at most N documents; the others are assigned to the topics found ({SAMPLE:,})",
    )
    parser.add_argument("--no-keywords", action="store_true", help="skip the words chosen by the model (KeyBERT)")
    parser.add_argument("--truth", metavar="COLUMN", help="measure how well topics agree with this column")
    parser.add_argument("--stability", action="store_true", help="cluster once more, under the next seed, and compare")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="for another change to end (0)")
    parser.add_argument("--limit", type=int, default=30, metavar="N", help="how many topics to show (30)")
    llm_arguments(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Fit, and show what was found."""
    result = fit_and_show(
        arguments.table,
        output,
        limit=arguments.limit,
        storage_options=storage_options(arguments),
        keywords=not arguments.no_keywords,
        llm=llm_settings(arguments),
        recipe=arguments.recipe,
        seed=arguments.seed,
        min_cluster_size=arguments.min_size,
        sample=arguments.sample,
        truth=arguments.truth,
        with_stability=arguments.stability,
        wait=arguments.wait,
    )
    output.result(result)


def fit_and_show(
    table: str,
    output: Output,
    *,
    limit: int = 30,
    storage_options: dict[str, str] | None = None,
    keywords: bool = True,
    sample: int = SAMPLE,
    llm: LlmSettings | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Fit topics on a table and show the largest; returns what ``--json`` prints."""
    from pipeline.table import VectorTable
    from pipeline.topics import fit_topics

    opened = VectorTable.open(table, storage_options)
    with output.following("fitting topics") as progress:
        encoder = opened.encoder if keywords else None
        mapper = mapper_for(opened, sample)
        topics = fit_topics(opened, encoder=encoder, limit=sample, mapper=mapper, phase=progress.phase, **settings)
    if llm is not None:
        topics = label_by_llm(topics, llm, output, wait=LABEL_WAIT)
    show_topics(output.people, topics, limit)
    _show_quality(output.people, topics.model.metrics)
    return as_json(topics, limit)


def mapper_for(table: VectorTable, sample: int) -> Mapper:
    """An engine's for a table of more documents than are clustered; starting one takes longer than a smaller table."""
    from pipeline.mapper import in_this_process

    if table.dataset().count_rows() <= sample:
        return in_this_process
    from pipeline.flow.engines.base import EngineMapper
    from pipeline.flow.engines.choice import choose_engine
    from pipeline.flow.options import EmbedOptions

    return EngineMapper(choose_engine(EmbedOptions(device="cpu")).engine)


def _show_quality(console: Console, metrics: Mapping[str, float | None]) -> None:
    figures = [f"{FIGURES.get(name, name)} {value:.2f}" for name, value in metrics.items() if value is not None]
    console.print(f"quality: {', '.join(figures)}", style="dim")


COMMAND: Final = Command(
    name="fit",
    help="Fit topics on a table's vectors (BERTopic); topics that go on from the last fit keep their number.",
    configure=configure,
    run=run,
    examples=("moee topics fit lake/docs", "moee topics fit lake/docs --min-size 30 --seed 1"),
)
