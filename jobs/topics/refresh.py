"""``moee topics refresh``: bring topics up to date with their table; say what was measured, what was done, and why."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from jobs.command import Command, Output, storage_options, table_arguments
from jobs.topics.fit import SAMPLE, mapper_for
from jobs.topics.naming import label_by_llm, llm_arguments, llm_settings
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from pipeline.table import VectorTable
    from pipeline.topics.naming import LlmSettings
    from pipeline.topics.operations.drift import Drift, Thresholds
    from pipeline.topics.operations.refresh import Refresh
    from pipeline.topics.versions.tables import TopicModel

__all__ = ["COMMAND", "refresh_and_show"]

SHIFTS: Final = 3
"""Topics that are named as having moved most."""

DONE: Final = {
    "assign": "new documents assigned",
    "births": "looked for new topics",
    "refit": "fitted again; topics that go on keep their number and given labels",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee topics refresh``."""
    table_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and why, and change nothing")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--refit", action="store_true", default=None, help="fit again, whatever is measured")
    choice.add_argument("--no-refit", action="store_false", dest="refit", help="never fit again")
    parser.add_argument(
        "--at-version", type=int, metavar="N", help="a table version to be covered; run again for it, nothing is done"
    )
    parser.add_argument("--no-keywords", action="store_true", help="skip the words chosen by the model (KeyBERT)")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="for another change to end (0)")
    llm_arguments(parser)
    limits = parser.add_argument_group("when to do more than assign new documents")
    limits.add_argument(
        "--births",
        type=int,
        metavar="N",
        help="new rejects that are worth a search for topics (500; never fewer than 20 times the smallest topic)",
    )
    limits.add_argument("--growth", type=float, metavar="SHARE", help="fit again when the table grew by more (0.5)")
    limits.add_argument("--divergence", type=float, metavar="BITS", help="… when topics' shares moved by more (0.1)")
    limits.add_argument("--rejects", type=float, metavar="TIMES", help="… when rejects are N times as frequent (2)")


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Refresh, and show what was done."""
    from pipeline.topics.operations.drift import Thresholds

    given = {each.name: getattr(arguments, each.name, None) for each in fields(Thresholds)}
    settings = llm_settings(arguments)
    result = refresh_and_show(
        arguments.table,
        output,
        llm=settings,
        storage_options=storage_options(arguments),
        keywords=not arguments.no_keywords,
        thresholds=Thresholds(**{name: value for name, value in given.items() if value is not None}),
        refit=arguments.refit,
        dry_run=arguments.dry_run,
        at_version=arguments.at_version,
        wait=arguments.wait,
    )
    output.result(result)


def refresh_and_show(
    table: str,
    output: Output,
    *,
    storage_options: dict[str, str] | None = None,
    keywords: bool = True,
    thresholds: Thresholds | None = None,
    llm: LlmSettings | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Refresh the topics of a table and say what was done; returns what ``--json`` prints."""
    from pipeline.table import VectorTable
    from pipeline.topics.operations.drift import Thresholds
    from pipeline.topics.operations.refresh import refresh_topics
    from pipeline.topics.versions.load import latest_topics
    from pipeline.topics.versions.tables import TopicTables

    opened = VectorTable.open(table, storage_options)
    limits = thresholds or Thresholds()
    mapper = mapper_for(opened, latest_topics(TopicTables.of(opened)).model.documents + SAMPLE)
    with output.following("refreshing topics") as progress:
        encoder = _EncoderOnDemand(opened) if keywords else None
        refresh = refresh_topics(
            opened, thresholds=limits, encoder=encoder, mapper=mapper, phase=progress.phase, **settings
        )
    _show(output.people, refresh, limits)
    if llm is not None and any(model.kind in {"births", "refit"} for model in refresh.made):
        refresh = replace(refresh, topics=label_by_llm(refresh.topics, llm, output))
    return _as_json(refresh)


class _EncoderOnDemand:
    """The table's encoder, loaded when something is to be embedded: most refreshes only assign."""

    def __init__(self, table: VectorTable) -> None:
        self._table = table

    def encode(self, texts: list[str], /) -> NDArray[np.float32]:
        """Vectors of `texts`."""
        return self._table.encoder.encode(texts)


def _show(console: Console, refresh: Refresh, thresholds: Thresholds) -> None:
    from pipeline.topics.operations.inherited import recipe_of

    before = refresh.before
    found, documents = counted(before.topics, "topic"), counted(before.documents, "document")
    console.print(f"topics version {before.version}: {found} over {documents}")
    unassigned = counted(refresh.unassigned, "new or changed document")
    console.print(f"{unassigned} to assign" if refresh.is_dry else f"{unassigned} assigned")
    if refresh.drift is not None and refresh.drift.added:
        _show_drift(console, refresh.drift, thresholds, recipe_of(refresh.topics.tables.base(before)).min_cluster_size)
    for decision in refresh.decisions:
        if decision.action != "nothing" or not refresh.made:
            console.print(f"→ {_said(decision.action)}: {'; '.join(decision.reasons)}", markup=False)
    for model in refresh.made:
        console.print(
            f"version {model.version}: {_done(model, refresh)}; {counted(model.topics, 'topic')}, "
            f"{model.outliers:,} of {model.documents:,} documents in none"
        )
    if refresh.is_dry:
        console.print("nothing was written (--dry-run)", style="dim")


def _done(model: TopicModel, refresh: Refresh) -> str:
    only_gone = model.kind == "assign" and not refresh.unassigned
    return "what is gone was forgotten, or words were counted anew" if only_gone else DONE[model.kind]


def _said(action: str) -> str:
    return {"nothing": "topics stay as they are", "births": "look for new topics", "refit": "fit again"}[action]


def _show_drift(console: Console, drift: Drift, limits: Thresholds, smallest: int) -> None:
    view = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    view.add_column("added since the fit", header_style="dim")
    for name in ("measured", "limit"):
        view.add_column(name, justify="right", header_style="dim")
    view.add_row("documents", f"{drift.added:,} (+{drift.growth:.0%})", f"+{limits.growth:.0%}")
    view.add_row("of them in no topic", f"{drift.reject_rate:.1%}", f"{limits.rejects * drift.baseline:.1%}")
    view.add_row("… not searched for topics yet", f"{drift.fresh_rejects:,}", f"{limits.enough(smallest):,}")
    view.add_row("divergence of topics' shares", f"{drift.divergence:.3f} bits", f"{limits.divergence:g} bits")
    console.print(view)
    moved = sorted(drift.shifts.items(), key=lambda item: item[1])[:SHIFTS]
    lowest = ", ".join(f"topic {topic} by {shift:+.1f}" for topic, shift in moved if shift < 0)
    if lowest:
        console.print(f"similarity to their topics moved most in {lowest} (in MADs)", style="dim")


def _as_json(refresh: Refresh) -> dict[str, Any]:
    return {
        "version": refresh.topics.model.version,
        "dry_run": refresh.is_dry,
        "pending": refresh.unassigned,
        "drift": None if refresh.drift is None else refresh.drift.to_json(),
        "decisions": [{"action": each.action, "reasons": list(each.reasons)} for each in refresh.decisions],
        "made": [
            {
                "version": model.version,
                "kind": model.kind,
                "topics": model.topics,
                "documents": model.documents,
                "outliers": model.outliers,
            }
            for model in refresh.made
        ],
    }


COMMAND: Final = Command(
    name="refresh",
    help="Assign new documents to the topics; add topics or fit again where the table has moved away from them.",
    configure=configure,
    run=run,
    examples=("moee topics refresh lake/docs", "moee topics refresh lake/docs --dry-run"),
)
