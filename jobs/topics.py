"""``moee topics``: fit topics on a table's vectors, and show them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from jobs.command import Command, Output, parse_pairs, run_command, snippet
from pipeline.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from pipeline.topics import Topics, TopicView

__all__ = ["COMMAND", "fit_and_show", "show_topics"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee topics``."""
    parser.add_argument("action", choices=["fit", "show"])
    parser.add_argument("table", metavar="DIR/NAME")
    parser.add_argument("topic", nargs="?", type=int, help="with show: one topic, in detail")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--min-size", type=int, default=15, help="smallest topic, in documents (15)")
    parser.add_argument("--sample", type=int, default=100_000, help="fit on at most so many documents (100,000)")
    parser.add_argument("--no-keywords", action="store_true", help="skip the words chosen by the model (KeyBERT)")
    parser.add_argument("--limit", type=int, default=30, help="how many topics to show (30)")
    parser.add_argument(
        "--storage-option", action="append", default=[], metavar="NAME=VALUE", help="for object storage"
    )


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Fit or show."""
    options = parse_pairs(arguments.storage_option, "--storage-option") or None
    if arguments.action == "fit":
        if arguments.topic is not None:
            raise UsageError("topics fit: takes a table and nothing more; a topic's number goes with 'topics show'")
        result = fit_and_show(
            arguments.table,
            output,
            limit=arguments.limit,
            storage_options=options,
            keywords=not arguments.no_keywords,
            seed=arguments.seed,
            min_cluster_size=arguments.min_size,
            sample=arguments.sample,
        )
        output.result(result)
        return
    from pipeline.topics import load_topics

    topics = load_topics(arguments.table, storage_options=options)
    if arguments.topic is None:
        show_topics(output.people, topics, arguments.limit)
        output.result(_as_json(topics, arguments.limit))
    else:
        view = topics.show(arguments.topic)
        _show_one(output.people, view)
        output.result(_view_json(view))


def fit_and_show(
    table: str,
    output: Output,
    *,
    limit: int = 30,
    storage_options: dict[str, str] | None = None,
    keywords: bool = True,
    sample: int = 100_000,
    **settings: Any,
) -> dict[str, Any]:
    """Fit topics on a table and show the largest; returns what ``--json`` prints."""
    from pipeline.table import VectorTable
    from pipeline.topics import fit_topics

    opened = VectorTable.open(table, storage_options)
    with output.progress.status("fitting topics …"):
        encoder = opened.encoder if keywords else None
        topics = fit_topics(opened, encoder=encoder, limit=sample, **settings)
    show_topics(output.people, topics, limit)
    return _as_json(topics, limit)


def show_topics(console: Console, topics: Topics, limit: int) -> None:
    """The largest topics: number, size, words, and below them the beginning of an example."""
    model = topics.model
    console.print(
        f"{model.topics} topics over {model.documents:,} documents, {model.outliers:,} in none "
        f"({100 * model.outliers / max(model.documents, 1):.0f} %); version {model.version}"
    )
    for topic in topics.overview(limit=limit, examples=1):
        head = Text(f"{topic.topic:>5}  {topic.size:>7,}  ", style="bold")
        head.append(_words(topic), style="cyan")
        console.print(head)
        if topic.examples:
            console.print(Text(f"{'':16}{snippet(topic.examples[0].text, max(console.width, 80) - 16)}", style="dim"))


def _words(topic: TopicView, count: int = 8) -> str:
    return ", ".join(word for word, _ in topic.words[:count])


def _show_one(console: Console, topic: TopicView) -> None:
    console.print(f"topic {topic.topic}: {topic.label}", style="bold", markup=False)
    console.print(f"size      {topic.size:,} documents, {100 * topic.share:.1f} %")
    console.print(f"words     {_words(topic, 12)}", markup=False)
    if topic.keywords:
        console.print(f"keywords  {', '.join(str(word) for word in topic.keywords)}", markup=False)
    for example in topic.examples:
        console.print(f"· {example.id}: {' '.join(example.text.split())[:300]}", markup=False)


def _view_json(topic: TopicView) -> dict[str, Any]:
    return {
        "topic": topic.topic,
        "label": topic.label,
        "size": topic.size,
        "share": topic.share,
        "words": [{"word": word, "weight": weight} for word, weight in topic.words],
        "keywords": list(topic.keywords),
        "examples": [{"id": example.id, "text": example.text} for example in topic.examples],
    }


def _as_json(topics: Topics, limit: int) -> dict[str, Any]:
    model = topics.model
    return {
        "version": model.version,
        "documents": model.documents,
        "outliers": model.outliers,
        "metrics": dict(model.metrics),
        "count": model.topics,
        "topics": [_view_json(topic) for topic in topics.overview(limit=limit, examples=1)],
    }


COMMAND: Final = Command(
    name="topics",
    help="Fit topics on a table's vectors (BERTopic), and show their size, words and example documents.",
    configure=configure,
    run=run,
    examples=("moee topics fit lake/docs", "moee topics show lake/docs", "moee topics show lake/docs 3"),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
