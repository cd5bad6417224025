"""``moee topics label``, ``merge`` and ``reduce``: topics changed by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jobs.command import Command, Output, printable, storage_options, table_arguments
from jobs.topics.naming import endpoint_arguments, label_by_llm, llm_settings
from pipeline.errors import UsageError
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse

    from pipeline.topics import Topics
    from pipeline.topics.naming import LlmSettings

__all__ = ["LABEL", "MERGE", "REDUCE"]


def _configure_label(parser: argparse.ArgumentParser) -> None:
    table_arguments(parser)
    parser.add_argument("topic", type=int, nargs="?", help="its number")
    parser.add_argument("label", nargs="?", help="what it is called from now on, through every refresh")
    parser.add_argument("--unlock", action="store_true", help="forget the label: the topic's words are its name again")
    parser.add_argument("--llm", action="store_true", help="let a language model name topics that only words name")
    parser.add_argument("--anew", action="store_true", help="with --llm: all topics whose label is not locked")
    endpoint_arguments(parser)
    _wait(parser)


def _configure_merge(parser: argparse.ArgumentParser) -> None:
    table_arguments(parser)
    parser.add_argument("topics", type=int, nargs="+", metavar="TOPIC", help="the one that goes on, then the others")
    _wait(parser)


def _configure_reduce(parser: argparse.ArgumentParser) -> None:
    table_arguments(parser)
    parser.add_argument("to", type=int, metavar="N", help="how many topics are left")
    _wait(parser)


def _wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="for another change to end (0)")


def _label(arguments: argparse.Namespace, output: Output) -> None:
    settings = llm_settings(arguments, wanted=arguments.llm)
    if settings is not None:
        _label_by_llm(arguments, settings, output)
        return
    from pipeline.topics.operations.edit import label_topic

    if arguments.topic is None or arguments.unlock == (arguments.label is not None) or arguments.anew:
        raise UsageError("topics label: name a topic, and give a label or --unlock; or --llm without a topic")
    topics = label_topic(arguments.table, arguments.topic, arguments.label, **_shared(arguments))
    view = topics.show(arguments.topic, examples=0)
    said = "is called by its words again" if arguments.unlock else "is called for good"
    output.people.print(f"topic {view.topic} {said}: {printable(view.label)}", markup=False)
    output.result({"version": topics.model.version, "topic": view.topic, "label": view.label})


def _label_by_llm(arguments: argparse.Namespace, settings: LlmSettings, output: Output) -> None:
    from pipeline.topics import load_topics

    if arguments.topic is not None or arguments.unlock:
        raise UsageError("topics label --llm names all topics that only their words name: it takes no topic")
    before = load_topics(arguments.table, storage_options=storage_options(arguments))
    topics = label_by_llm(before, settings, output, again=arguments.anew, wait=arguments.wait)
    old = {row["topic"]: row["label"] for row in before.topics().to_pylist()}
    new = {row["topic"]: row["label"] for row in topics.topics().to_pylist()}
    changed = {topic: label for topic, label in sorted(new.items()) if label != old.get(topic)}
    for topic, label in changed.items():
        output.people.print(f"topic {topic} is called: {printable(label)}", markup=False)
    output.people.print(f"{len(changed)} of {len(new)} topics have a new name; version {topics.model.version}")
    output.result({"version": topics.model.version, "labels": changed})


def _merge(arguments: argparse.Namespace, output: Output) -> None:
    from pipeline.topics.operations.edit import merge_topics

    _show_merged(merge_topics(arguments.table, arguments.topics, **_shared(arguments)), output)


def _reduce(arguments: argparse.Namespace, output: Output) -> None:
    from pipeline.topics.operations.edit import reduce_topics

    _show_merged(reduce_topics(arguments.table, arguments.to, **_shared(arguments)), output)


def _shared(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"wait": arguments.wait, "storage_options": storage_options(arguments)}


def _show_merged(topics: Topics, output: Output) -> None:
    events = [row for row in topics.events().to_pylist() if row["event"] == "merged"]
    rows = {row["topic"]: row for row in topics.topics().to_pylist()}
    for target in sorted({row["other"] for row in events}):
        parts = ", ".join(str(row["topic"]) for row in events if row["other"] == target)
        row = rows[target]
        output.people.print(
            f"{parts} → {target}: {printable(row['label'])} ({counted(row['size'], 'document')})", markup=False
        )
    output.people.print(f"{counted(topics.model.topics, 'topic')} left; version {topics.model.version}")
    merged = [{"topic": row["topic"], "into": row["other"]} for row in events]
    output.result({"version": topics.model.version, "count": topics.model.topics, "merged": merged})


LABEL: Final = Command(
    name="label",
    help="Call a topic something; the label is locked and goes on with the topic.",
    configure=_configure_label,
    run=_label,
    examples=(
        'moee topics label lake/docs 3 "Space flight"',
        "moee topics label lake/docs 3 --unlock",
        "moee topics label lake/docs --llm --llm-model NAME --llm-url http://localhost:8000/v1",
    ),
)
MERGE: Final = Command(
    name="merge",
    help="Merge topics into the first one named, which keeps its number and label.",
    configure=_configure_merge,
    run=_merge,
    examples=("moee topics merge lake/docs 3 7 12",),
)
REDUCE: Final = Command(
    name="reduce",
    help="Merge topics, small and near ones first, until N are left; those with locked labels stay.",
    configure=_configure_reduce,
    run=_reduce,
    examples=("moee topics reduce lake/docs 20",),
)
