"""``moee models``: which architectures are verified and which are refused; or what one checkpoint is."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from jobs.command import Command, Output, run_command

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

__all__ = ["COMMAND"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee models``."""
    parser.add_argument("model", nargs="?", metavar="NAME|DIR", help="describe this checkpoint instead of the list")
    parser.add_argument("--revision", help="of a hub model: branch, tag or commit")


def run(arguments: argparse.Namespace, output: Output) -> None:
    """List the architectures, or describe one checkpoint without loading its weights."""
    if arguments.model is None:
        listed = _listed()
        _show_list(output.people, listed)
        output.result(listed)
        return
    described = _described(arguments.model, arguments.revision)
    for name, value in described.items():
        output.people.print(f"{name:16} {_plain(value)}", markup=False)
    output.result(described)


def _listed() -> dict[str, Any]:
    from pipeline.models import MINI
    from pipeline.models.families import FAMILIES, REFUSED, UNVERIFIED

    families = [asdict(family) for family in FAMILIES.values()]
    refused = [{"model_type": kind, "reason": reason} for kind, reason in REFUSED.items()]
    return {"built_in": MINI, "families": families, "refused": refused, "unverified": [*UNVERIFIED]}


def _show_list(console: Console, listed: dict[str, Any]) -> None:
    console.print(f"{listed['built_in']}: built in, an olmoe, no download; any other model: a directory or a hub id")
    console.print(f"{'architecture':24} {'batches':8} {'scores':13} {'nf4, int8':10} notes")
    for family in listed["families"]:
        notes = [*(f"also in {kind}" for kind in family["within"]), *([family["note"]] if family["note"] else [])]
        scores = f"{family['scores']}{'*' if family['scores_field'] else ''}"
        quantizes = "yes" if family["fused"] else "no"
        console.print(
            f"{family['model_type']:24} {family['layout']:8} {scores:13} {quantizes:10} {'; '.join(notes)}".rstrip(),
            markup=False,
        )
    console.print("* unless the checkpoint's configuration names another function")
    console.print(f"{'untested':24} with routing='logits' only: {', '.join(listed['unverified'])}", markup=False)
    for refused in listed["refused"]:
        console.print(f"{refused['model_type']:24} refused: {refused['reason']}", markup=False)


def _described(model: str, revision: str | None) -> dict[str, Any]:
    from pipeline.models import locate
    from pipeline.replica.overview import overview

    return overview(locate(model, revision))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_plain(entry)}" for name, entry in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else "unknown" if value is None else str(value)


COMMAND: Final = Command(
    name="models",
    help="List the Mixture-of-Experts architectures that are verified, or describe one checkpoint.",
    configure=configure,
    run=run,
    examples=("moee models", "moee models mini", "moee models allenai/OLMoE-1B-7B-0924 --json"),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
