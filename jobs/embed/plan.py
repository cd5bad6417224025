"""``moee embed … --plan``: what would be done, and what it would take, without doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.command import Output, above_zero, printable
from pipeline.errors import ModelError
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from pipeline.flow.embed import Task
    from pipeline.flow.forecast.estimate import Estimate

__all__ = ["plan_arguments", "show_plan"]


def plan_arguments(parser: argparse.ArgumentParser) -> None:
    """``--plan``, and what it goes by."""
    plan = parser.add_argument_group("before a run")
    plan.add_argument("--plan", action="store_true", help="say what would be done and what it would take; do nothing")
    plan.add_argument(
        "--rate",
        type=above_zero,
        metavar="N",
        help="tokens a second of one replica (default: of the table's last long run, else measured on this machine)",
    )
    plan.add_argument("--price", type=above_zero, metavar="N", help="of a replica for an hour, for the cost")


def show_plan(
    arguments: argparse.Namespace, spec: Mapping[str, Any], options: Mapping[str, Any], output: Output
) -> None:
    """Show files and rows first: they are known at once; then what a sample says of tokens, time, room and cost."""
    from pipeline.corpus.passed_over import described
    from pipeline.flow.embed import plan_embed

    with output.following("listing") as progress:
        task = plan_embed(arguments.source, arguments.table, spec, listener=progress, **options)
        plan = task.work.to_json()
    rows = "an unknown number of rows" if plan["rows"] is None else counted(plan["rows"], "row")
    files, units = counted(plan["files"], "file"), counted(plan["units"], "work unit")
    ids = "derived" if plan["id"] is None else f"from {plan['id']!r}"
    output.people.print(
        f"{files} ({plan['bytes'] / 1e6:,.1f} MB), {plan['finished_files']:,} of them finished: "
        f"{rows} left in {units}; text from {plan['text']!r}, id {ids}",
        markup=False,
    )
    for kind, uris in (("changed, its rows will be exchanged", "changed_files"), ("gone, to be pruned", "gone_files")):
        for uri in plan[uris]:
            output.people.print(printable(f"{kind}: {uri}"), markup=False)
    for how, count in plan["dialects"].items():
        output.people.print(f"{counted(count, 'file')} to be read with {how}", markup=False)
    if plan["passed_over"]:
        output.people.print(f"not read: {described(plan['passed_over'])}", markup=False)
    expected = _estimate(arguments, task, output)
    if expected is not None:
        for line in _lines(expected):
            output.people.print(line, markup=False)
    output.result({**plan, "estimate": None if expected is None else expected.to_json()})


def _estimate(arguments: argparse.Namespace, task: Task, output: Output) -> Estimate | None:
    """The estimate, which the run that follows is held against; None: nothing is left, or nobody can say."""
    from pipeline.flow.forecast.forecast import forecast
    from pipeline.flow.forecast.remembered import remember

    try:
        with output.following("reading a sample") as progress:
            expected = forecast(task, progress, rate=arguments.rate, price=arguments.price)
    except ModelError as error:  # this machine cannot load it: others may
        help_ = "" if arguments.rate else "; --rate gives one without its weights"
        output.people.print(f"no estimate: {error}{help_}", markup=False)
        return None
    if expected is not None:
        remember(task.location, task.work.units, expected)
    return expected


def _lines(expected: Estimate) -> list[str]:
    """The estimate for people."""
    about = "" if expected.is_counted else "about "
    least, most = _time(expected.least_seconds), _time(expected.most_seconds)
    rate = f"{counted(expected.replicas, 'replica')} at {expected.tokens_per_second:,.0f} tokens/s"
    rows = f"{about}{counted(expected.rows, 'row')} (from {counted(expected.sampled, 'row')})"
    lines = [
        f"tokens       {about}{expected.tokens:,} in {rows}",
        f"start-up     {_time(expected.startup_seconds)}",
        f"calibration  {_time(expected.calibration_seconds)}" if expected.calibration_seconds else "",
        f"embedding    {_time(expected.embedding_seconds)}, {rate} ({expected.rate_origin})",
        f"in all       {_time(expected.seconds)}, between {least} and {most}",
        f"storage      {_size(expected.table_bytes)}, indexes {_size(expected.index_bytes)}",
    ]
    if expected.cost is not None:
        lines.append(
            f"cost         {expected.cost:,.2f}, between {expected.least_cost:,.2f} and {expected.most_cost:,.2f}"
        )
    return [line for line in lines if line]


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
