"""``moee topics show``: the topics of a table, or one of them in detail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from jobs.command import Command, Output, printable, snippet, storage_options, table_arguments
from jobs.topics.breakdown import show_breakdown, show_threshold
from jobs.topics.common import as_json, view_json
from pipeline.errors import UsageError
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import Console

    from pipeline.topics import Topics, TopicView
    from pipeline.topics.views.groups import TopicGroup

__all__ = ["COMMAND", "show_topics"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee topics show``."""
    table_arguments(parser)
    parser.add_argument("topic", nargs="?", type=int, help="one topic, in detail")
    view = parser.add_mutually_exclusive_group()
    view.add_argument("--over", metavar="COLUMN", help="topics over time: a column of times, dates or years")
    view.add_argument("--by", metavar="COLUMN", help="topics by a metadata column, and what is over-represented")
    view.add_argument("--tree", action="store_true", help="which topics are kin")
    view.add_argument("--history", action="store_true", help="versions, and what happened to topics in each")
    parser.add_argument("--bins", type=int, default=20, metavar="N", help="with --over: at most N intervals (20)")
    parser.add_argument(
        "--mad",
        type=float,
        metavar="F",
        help="decide outliers again, without fitting: a document is in its nearest topic down to median - F x MAD (3)",
    )
    parser.add_argument("--version", type=int, metavar="N", help="of the topics (the latest)")
    parser.add_argument("--limit", type=int, default=30, metavar="N", help="how many topics or values to show (30)")


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Show all or one, or all in another way."""
    from pipeline.topics import load_topics

    _check(arguments)
    topics = load_topics(arguments.table, arguments.version, storage_options=storage_options(arguments))
    output.result(_view(arguments, topics, output.people))


def _check(arguments: argparse.Namespace) -> None:
    views = {name: getattr(arguments, name) for name in ("over", "by", "tree", "history", "mad")}
    asked = [name for name, value in views.items() if value is not None and value is not False]  # --mad 0 is asked
    if arguments.topic is not None and asked:
        raise UsageError(f"topics show: --{asked[0]} is about all topics; leave the topic's number out")
    if arguments.mad is not None and (arguments.tree or arguments.history):
        raise UsageError("topics show: --mad changes which documents are in a topic, and neither --tree nor --history")
    if arguments.mad is not None and not arguments.mad >= 0:
        raise UsageError(f"--mad {arguments.mad}: use 0 or more")
    for name in ("over", "by"):
        if getattr(arguments, name) == "":
            raise UsageError(f"--{name}: name a column of the table")
    if arguments.limit < 0:
        raise UsageError(f"--limit {arguments.limit}: use 0 or more")


def _view(arguments: argparse.Namespace, topics: Topics, console: Console) -> dict[str, Any]:
    if arguments.topic is not None:
        view = topics.show(arguments.topic)
        _show_one(console, view)
        return view_json(view)
    if arguments.over or arguments.by or arguments.tree or arguments.history:
        return show_breakdown(console, topics, arguments)
    if arguments.mad is not None:
        return show_threshold(console, topics, arguments.mad, arguments.limit)
    show_topics(console, topics, arguments.limit)
    return as_json(topics, arguments.limit)


def show_topics(console: Console, topics: Topics, limit: int) -> None:
    """The largest topics: number, size, words, and an example's beginning; long lists in groups."""
    from pipeline.topics.views.groups import topic_groups

    model, counts = topics.model, topics.document_counts()
    chunks = "" if counts.chunks is None else f" in {counted(counts.chunks, 'chunk')}"
    share = 100 * counts.outliers / max(counts.documents, 1)
    console.print(
        f"{counted(model.topics, 'topic')} over {counted(counts.documents, 'document')}{chunks}, "
        f"{counts.outliers:,} in none ({share:.0f} %); version {model.version}"
    )
    groups = topic_groups(topics.topics())
    if groups and limit < model.topics:
        _show_groups(console, topics, groups, limit)
        return
    for topic in topics.overview(limit=limit, examples=1):
        head = Text(f"{topic.topic:>5}  {topic.size:>7,}  ", style="bold")
        words = _words(topic)
        if not words.startswith(topic.label):
            head.append(f"{printable(topic.label)}  ")
        head.append(words, style="cyan")
        console.print(head)
        if topic.examples:
            console.print(Text(f"{'':16}{snippet(topic.examples[0].text, max(console.width, 80) - 16)}", style="dim"))


def _show_groups(console: Console, topics: Topics, groups: Sequence[TopicGroup], limit: int) -> None:
    """Each group with its largest topics, a line each; about `limit` topics in all, at least one of each group."""
    views = {topic.topic: topic for topic in topics.overview(examples=0)}
    for group in groups:
        inside = sorted((views[topic] for topic in group.topics), key=lambda topic: -topic.size)
        size = sum(topic.size for topic in inside)
        shown = min(limit, max(1, round(limit / len(groups))))
        head = Text(f"{size:>14,}  {printable(group.label)}", style="bold")
        more = f"  {len(inside)} topics, the largest:" if len(inside) > shown else ""
        console.print(head.append(more, style="not bold dim"))
        for topic in inside[:shown]:
            line = Text(f"{topic.topic:>9}  {topic.size:>7,}  ", style="dim")
            label = snippet(topic.label, max(console.width, 80) - 20)
            console.print(line.append(label, style="not dim cyan"))
    table = topics.tables.location
    console.print(
        f"--limit {topics.model.topics} lists all; moee topics reduce {table} 50 merges near ones, moee topics fit "
        f"{table} --min-size N finds fewer",
        style="dim",
        markup=False,
    )


def _words(topic: TopicView, count: int = 8) -> str:
    return ", ".join(word for word, _ in topic.words[:count])


def _show_one(console: Console, topic: TopicView) -> None:
    console.print(f"topic {topic.topic}: {printable(topic.label)}", style="bold", markup=False)
    console.print(f"size      {counted(topic.size, 'document')}, {100 * topic.share:.1f} %")
    console.print(f"words     {_words(topic, 12)}", markup=False)
    if topic.keywords:
        keywords = ", ".join(f"{word} {cosine:.2f}" for word, cosine in topic.keywords)
        console.print(f"keywords  {printable(keywords)}", markup=False)
    for example in topic.examples:
        console.print(f"· {example.id}: {printable(' '.join(example.text.split())[:300])}", markup=False)


COMMAND: Final = Command(
    name="show",
    help="Show the largest topics: size, words, an example; one in detail; over time, by metadata, as a tree.",
    configure=configure,
    run=run,
    examples=(
        "moee topics show lake/docs",
        "moee topics show lake/docs 3",
        "moee topics show lake/docs --over date --bins 12",
        "moee topics show lake/docs --by newsgroup",
        "moee topics show lake/docs --tree",
        "moee topics show lake/docs --mad 2",
        "moee topics show lake/docs --history",
    ),
)
