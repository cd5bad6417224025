"""Labels by a language model, as ``moee topics fit``, ``refresh`` and ``label`` offer them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from jobs.command import Output
    from pipeline.topics import Topics
    from pipeline.topics.naming import LlmSettings

__all__ = ["endpoint_arguments", "label_by_llm", "llm_arguments", "llm_settings"]


def llm_arguments(parser: argparse.ArgumentParser) -> None:
    """``--labels``, and which model and where."""
    parser.add_argument(
        "--labels",
        choices=["words", "llm"],
        default="words",
        help="what names new topics: their words, or a language model that is sent words and beginnings of documents",
    )
    endpoint_arguments(parser)


def endpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Which language model, and where; its key is read from the environment only."""
    parser.add_argument("--llm-model", metavar="NAME", help="the language model that names topics")
    parser.add_argument(
        "--llm-url",
        metavar="URL",
        help="an OpenAI-compatible endpoint (OPENAI_BASE_URL, else OpenAI's); OPENAI_API_KEY holds the key",
    )


def llm_settings(arguments: argparse.Namespace, *, wanted: bool | None = None) -> LlmSettings | None:
    """What to ask, None where no language model is wanted; `wanted` stands for ``--labels llm``.

    Raises:
        UsageError: the settings do not fit together, or not what is in the environment.
    """
    from pipeline.topics.naming import LlmSettings

    if wanted if wanted is not None else arguments.labels == "llm":
        return LlmSettings.from_environment(arguments.llm_model, arguments.llm_url)
    if arguments.llm_model or arguments.llm_url:
        raise UsageError(f"--llm-model and --llm-url go with {'--labels llm' if wanted is None else '--llm'}")
    return None


def label_by_llm(
    topics: Topics, settings: LlmSettings, output: Output, *, again: bool = False, wait: float = 0.0
) -> Topics:
    """Name topics and publish the names; without any the topics stay as they are.

    Args:
        topics: of the latest version.
        settings: of the language model.
        output: where progress goes.
        again: label all topics whose label is not locked, not only those whose label is made of their words.
        wait: seconds to wait for another change of these topics to end.
    """
    from pipeline.topics.naming import name_topics
    from pipeline.topics.operations.edit import set_labels

    with output.following(f"asking {settings.model} for names"):
        labels = name_topics(topics, settings, again=again)
        return set_labels(topics.tables, labels, source="llm", locked=False, wait=wait) if labels else topics
