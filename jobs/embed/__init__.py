"""``moee embed``: documents → vectors in a table. Resumes by itself; what the table has is left alone."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any, Final

from jobs.command import Command, Output, printable, storage_argument, storage_options
from jobs.embed.plan import plan_arguments, show_plan

__all__ = ["COMMAND"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee embed``."""
    parser.add_argument(
        "source", nargs="+", help="path, directory, glob or URL of Parquet, JSONL, CSV, text, Lance, WARC or WebDataset"
    )
    parser.add_argument("--table", required=True, metavar="DIR/NAME", help="the table; made on first use")
    parser.add_argument("--text", metavar="COLUMN", help="text column (default: text, content, body or document)")
    parser.add_argument(
        "--id", metavar="COLUMN", help="id column (default: id; else, and for '', derived from file and row)"
    )
    parser.add_argument("--keep", nargs="+", default=[], metavar="COLUMN", help="metadata columns to keep")
    parser.add_argument("--delimiter", metavar="CHARACTER", help="of CSV and TSV files (default: found out)")
    parser.add_argument(
        "--quoting",
        choices=["double", "backslash", "none"],
        help="how quotation marks stand inside quoted cells of CSV and TSV files (default: found out)",
    )
    parser.add_argument("--encoding", help="of text without a byte order mark (default: utf-8)")
    parser.add_argument("--limit", type=_positive, metavar="N", help="stop after about N rows of input")
    parser.add_argument(
        "--chunk", metavar="WINDOW[:OVERLAP]", help="split long documents into chunks of so many tokens, a row each"
    )
    parser.add_argument(
        "--prune", action="store_true", help="remove what the table has of files below the sources that are gone"
    )
    parser.add_argument(
        "--retry-rejects", action="store_true", help="also try rejected documents again whose reason can pass"
    )
    parser.add_argument(
        "--max-rejects", metavar="N|P%", help="stop when more of the input than that is rejected (default: never)"
    )
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="wait for another run on this table to end (0)"
    )
    parser.add_argument(
        "--dedup",
        action="store_true",
        help="do not embed a text again that the table has; its row gets the same vector",
    )
    parser.add_argument(
        "--drop-duplicates", action="store_true", help="do not store a text again either: later copies are rejects"
    )
    parser.add_argument("--replicas", metavar="N|MIN:MAX", help="model replicas (default: one a GPU, or one on CPUs)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--engine",
        default="auto",
        choices=["auto", "ray", "local"],
        help="what executes: Ray, or processes of this machine; auto: Ray on a cluster and for several GPUs",
    )
    parser.add_argument(
        "--start-minutes", type=float, default=15.0, metavar="N", help="for which a cluster may take to make room (15)"
    )
    parser.add_argument(
        "--no-index",
        action="store_true",
        help="leave indexes as they are; moee index brings them up to date",
    )
    parser.add_argument("--no-text", action="store_true", help="do not store the texts in the table")
    storage_argument(parser)
    parser.add_argument(
        "--then",
        type=_steps,
        default=(),
        metavar="index,topics",
        help="when the embedding has committed: build all indexes; fit topics or, where enough is new, refresh them",
    )
    plan_arguments(parser)
    spec = parser.add_argument_group("what the vectors mean (fixed when the table is made)")
    spec.add_argument("--model", help="hub id, directory, or mini (built in; the default)")
    spec.add_argument("--revision", help="commit or branch of a hub model")
    spec.add_argument("--quantization", choices=["none", "nf4", "int8"], help="of the experts")
    spec.add_argument("--dtype", choices=["bfloat16", "float16", "float32"])
    spec.add_argument("--prompt", help="a named prompt of the paper, or a template with {text}")
    spec.add_argument("--query-prompt", help="the same for queries, where they are asked differently")
    spec.add_argument("--pooling", choices=["last", "mean"])
    spec.add_argument("--routing", choices=["scores", "logits"])
    spec.add_argument("--max-tokens", type=_positive, help="longest prompt with its text (512)")
    spec.add_argument("--combine", choices=["sum", "concat", "hs", "rw"])
    spec.add_argument("--alpha", type=float, help="weight of the routing half in sum")


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Embed, and say what was done in one line."""
    from pipeline.errors import RunError
    from pipeline.flow.embed import embed
    from pipeline.flow.progress import TerminalProgress

    options, spec = _options(arguments), _spec(arguments)
    if arguments.plan:
        show_plan(arguments, spec, options, output)
        return
    # Ray announces the death of a worker on the driver's stdout, which belongs to the result.
    with contextlib.redirect_stdout(sys.stderr), TerminalProgress(output.progress) as progress:
        report = embed(arguments.source, arguments.table, spec, listener=progress, **options)
    for line in [*report.notes(), report.summary(), report.bottleneck()]:
        if line:
            output.people.print(printable(line), markup=False)
    steps = () if report.failed else arguments.then
    output.result({**report.to_json(), **{step: _STEPS[step](arguments, output) for step in steps}})
    if report.failed:
        raise RunError(
            f"nothing of what was read could be stored in {report.table}; see why with: "
            f"moee inspect {report.table} --rejects"
        )


def _spec(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of the spec that were given."""
    from pipeline.spec import EmbeddingSpec

    return {name: value for name in EmbeddingSpec.model_fields if (value := getattr(arguments, name, None)) is not None}


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of `EmbedOptions` that have an argument: of the same name, but for those of another form."""
    from pipeline.flow.options import EmbedOptions

    given = {
        **vars(arguments),
        "with_text": not arguments.no_text,
        "index": not arguments.no_index,
        "storage_options": storage_options(arguments),
    }
    return {name: given[name] for name in EmbedOptions.model_fields if name in given}


def _then_topics(arguments: argparse.Namespace, output: Output) -> dict[str, Any]:
    from jobs.topics.then import topics_if_grown

    return topics_if_grown(arguments.table, output, storage_options=storage_options(arguments))


def _then_index(arguments: argparse.Namespace, output: Output) -> dict[str, Any]:
    from jobs.index import build_indexes
    from pipeline.table import VectorTable

    return build_indexes(VectorTable.open(arguments.table, storage_options(arguments)), output)


_STEPS: Final = {"index": _then_index, "topics": _then_topics}


def _steps(text: str) -> tuple[str, ...]:
    steps = tuple(text.split(","))
    if unknown := [step for step in steps if step not in _STEPS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(_STEPS)}")
    return tuple(dict.fromkeys(steps))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


COMMAND: Final = Command(
    name="embed",
    help="Embed documents into a table. Only new input is embedded; an interrupted run goes on where it was.",
    configure=configure,
    run=run,
    examples=(
        "moee embed docs/*.parquet --table lake/docs --keep author",
        "moee embed s3://bucket/crawl/ --table s3://bucket/lake/crawl --model allenai/OLMoE-1B-7B-0924",
    ),
)
