"""``moee demo``: the whole pipeline, offline, on text that every machine has."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobs.command import Command, Output, run_command
from jobs.search import show_hits
from jobs.topics import fit_and_show

if TYPE_CHECKING:
    import argparse

__all__ = ["COMMAND"]

QUERIES: Final = (
    "open a file and read it line by line",
    "statistical distribution of random numbers",
    "encrypt a message with a secret key",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee demo``."""
    parser.add_argument("--directory", default="demo", help="where everything goes (demo)")
    parser.add_argument("--documents", type=int, default=5000, help="how many docstrings to collect at most (5,000)")


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Collect, embed, search, find topics, and say what to try next."""
    from pipeline.flow.embed import embed
    from pipeline.flow.progress import TerminalProgress
    from pipeline.table import VectorTable

    started = time.monotonic()
    people = output.people
    directory = Path(arguments.directory)
    corpus, name = directory / "docstrings.parquet", f"{directory}/docstrings"
    _step(output, 1, "Documents: docstrings of the standard library and of the installed packages")
    people.print(f"  {_collect(corpus, arguments.documents):,} documents in {corpus}", markup=False)

    _step(output, 2, "Embedding with the built-in model 'mini'")
    with TerminalProgress(output.progress) as progress:
        report = embed(str(corpus), name, listener=progress, keep=("package",))
    people.print(f"  {report.summary()}", markup=False)

    _step(output, 3, "Search")
    table = VectorTable.open(name)
    with output.following("indexing"):
        table.index()  # also words, which the page of the service searches, too
    searches = {}
    for query in QUERIES:
        hits = table.search(query, k=3, columns=["id", "package", "text"])
        people.print(f'  "{query}"', style="bold")
        show_hits(people, hits, indent="  ")
        searches[query] = hits

    _step(output, 4, "Topics")
    topics = fit_and_show(name, output, limit=12)

    seconds = time.monotonic() - started
    people.print(
        f"\nDone in {seconds:.0f} s. Everything is in {directory.resolve()}: try next", style="bold", markup=False
    )
    for line in (
        f'moee search {name} "parse a date" -k 5',
        f"moee search {name} --like {searches[QUERIES[0]].column('id')[0]}",
        f"moee topics show {name} 0",
        f"moee inspect {name}",
        f"moee serve {name}",
        "moee embed YOUR_FILES --table lake/mine",
    ):
        people.print(f"  {line}", markup=False)
    output.result({"seconds": seconds, "embed": report.to_json(), "searches": searches, "topics": topics})


def _step(output: Output, number: int, title: str) -> None:
    output.people.print(f"\n{number}. {title}", style="bold cyan", markup=False)


def _collect(target: Path, limit: int) -> int:
    """Collect the documents once; a second demo goes on with the same ones."""
    import pyarrow.parquet as pq

    from jobs.docstrings import collect_docstrings

    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_suffix(".partial")
        pq.write_table(collect_docstrings(limit), scratch)
        scratch.replace(target)
    return pq.read_metadata(target).num_rows


COMMAND: Final = Command(
    name="demo",
    help="The whole pipeline, offline, on text found on this machine: documents, vectors, search, topics.",
    configure=configure,
    run=run,
    examples=("moee demo", "moee demo --directory /tmp/demo --documents 1000"),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
