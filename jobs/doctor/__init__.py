"""``moee doctor``: what is wrong with this environment, why that matters, and what to type."""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from jobs.command import Command, Output, printable, storage_argument, storage_options
from jobs.doctor.finding import Finding, show
from pipeline.errors import MoeeError, RunError, UsageError, first_line
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

__all__ = ["COMMAND"]

SECONDS: Final = 90.0
"""Within which every subject answers, or is said to be silent; what waits for a network has shorter bounds."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee doctor``."""
    parser.add_argument("--model", default="mini", metavar="NAME|DIR", help="is it to be had, and does it fit? (mini)")
    parser.add_argument("--revision", help="of a hub model: branch, tag or commit")
    parser.add_argument("--table", metavar="DIR/NAME", help="can it, and what lies beside it, be read and written?")
    storage_argument(parser)
    parser.add_argument(
        "--address", metavar="URL", help="of a Ray cluster's dashboard, as http://head:8265: a job is run"
    )


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Look at everything at once, and say what was found."""
    checks = _checks(arguments)
    with output.following("looking"):
        found = _examined(checks)
    for subject, findings in found.items():
        show(output.people, subject, findings)
    states = [finding.state for findings in found.values() for finding in findings]
    problems, notes = states.count("problem"), states.count("note")
    output.result(
        {
            "problems": problems,
            "notes": notes,
            "findings": [{"subject": subject, **asdict(each)} for subject, seen in found.items() for each in seen],
        }
    )
    if problems:
        raise RunError(f"{counted(problems, 'problem')} found: what to type stands below each")
    output.people.print(f"no problems, {counted(notes, 'note')}")


def _checks(arguments: argparse.Namespace) -> dict[str, Callable[[], list[Finding]]]:
    """By subject. What each needs is imported before the threads begin: two must not import one library at once."""
    from jobs.doctor.machine import examine_machine
    from jobs.doctor.model import examine_model

    checks: dict[str, Callable[[], list[Finding]]] = {
        "this machine": examine_machine,
        f"model {arguments.model}": lambda: examine_model(arguments.model, arguments.revision),
    }
    if arguments.table is not None:
        from jobs.doctor.storage import examine_storage
        from pipeline.table.location import TableLocation

        options = storage_options(arguments)
        location = TableLocation.parse(arguments.table, options)
        checks[f"table {location}"] = lambda: examine_storage(location, options)
    elif arguments.storage_option:
        raise UsageError("--storage-option goes with --table")
    if arguments.address is not None:
        from jobs.cluster.client import job_address
        from jobs.doctor.cluster import examine_cluster

        address = job_address(arguments.address)
        checks[f"cluster {address}"] = lambda: examine_cluster(address)
    return checks


def _examined(checks: Mapping[str, Callable[[], list[Finding]]]) -> dict[str, list[Finding]]:
    """What each check finds; all go at once, and one that hangs holds up neither the others nor the end."""
    found: dict[str, list[Finding]] = {}

    def examine(subject: str, check: Callable[[], list[Finding]]) -> None:
        try:
            found[subject] = check()
        except MoeeError as error:
            found[subject] = [Finding(printable(str(error)), "problem")]
        except (
            Exception
        ) as error:  # a library that is broken may raise anything, and the others are still to be told of
            what = f"cannot be looked at: {type(error).__name__}: {first_line(error)}"
            found[subject] = [Finding(printable(what), "problem", do="report it: that should have been foreseen")]

    threads = [threading.Thread(target=examine, args=each, daemon=True) for each in checks.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    silent = Finding(f"no answer within {SECONDS:.0f} s", "problem", "whatever uses it will wait as well")
    return {subject: found.get(subject, [silent]) for subject in checks}


COMMAND: Final = Command(
    name="doctor",
    help=(
        "Say what is wrong with this machine, and with the model, the table's storage and the Ray cluster that are\n"
        "named, why it matters, and what to type. Exit status 1 where there is a problem."
    ),
    configure=configure,
    run=run,
    examples=(
        "moee doctor",
        "moee doctor --model allenai/OLMoE-1B-7B-0924 --table s3://bucket/lake/docs",
        "moee doctor --address http://head:8265",
    ),
)
