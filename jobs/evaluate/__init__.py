"""``moee evaluate``: how good a model's vectors are, every way to make them side by side, against baselines."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from jobs.command import (
    Command,
    Output,
    parse_pairs,
    printable,
    storage_argument,
    storage_options,
)
from pipeline.errors import UsageError
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import pyarrow as pa

    from pipeline.spec import EmbeddingSpec

__all__ = ["COMMAND"]

PROMPTS: Final = ("none", "prompteol")
POOLINGS: Final = ("last", "mean")
ROUTINGS: Final = ("scores", "logits")

HEADERS: Final = {"precision@10": "P@10", "v_measure": "V"}

Row = dict[str, Any]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee evaluate``."""
    parser.add_argument("source", nargs="*", help="labelled documents: path, directory or glob, as for embed")
    parser.add_argument("--label", metavar="COLUMN", help="the column with the labels")
    parser.add_argument("--table", metavar="DIR/NAME", help="measure the halves that a table stores, without its model")
    parser.add_argument("--truth", metavar="COLUMN", help="with --table: its column with the labels")
    parser.add_argument("--picture", metavar="FILE", help="with --table: draw precision by alpha, as PNG, SVG or PDF")
    storage_argument(parser)
    parser.add_argument("--text", metavar="COLUMN", help="text column (default: found by name)")
    parser.add_argument("--where", action="append", default=[], metavar="FIELD=VALUE", help="documents to measure on")
    parser.add_argument(
        "--fit-where", action="append", default=[], metavar="FIELD=VALUE", help="documents to fit TF-IDF on (all)"
    )
    parser.add_argument("--sts", nargs="+", default=[], type=Path, metavar="FILE", help="SemEval similarity files")
    parser.add_argument("--model", default="mini", help="hub id, directory, or mini")
    parser.add_argument("--limit", type=int, metavar="N", help="a random N of the documents")
    parser.add_argument("--wide", action="store_true", help="all prompts, poolings and routings, not the default alone")
    parser.add_argument("--no-baselines", action="store_true", help="leave TF-IDF and random weights out")
    parser.add_argument("--device", default="auto")


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Measure, and show one table."""
    if arguments.table is not None:
        from jobs.evaluate.table import evaluate_table

        evaluate_table(arguments, output, storage_options(arguments))
        return
    if bool(arguments.source) != bool(arguments.label):
        raise UsageError("evaluate: labelled documents need --label COLUMN, and the other way round")
    if not arguments.source and not arguments.sts:
        raise UsageError("evaluate: give labelled documents with --label, or --sts FILE")
    rows: list[Row] = []
    if arguments.source:
        rows += _on_labels(arguments, output)
    for path in arguments.sts:
        rows += _on_sts(path, arguments, output)
    _show(rows, output)
    output.result({"model": arguments.model, "results": rows})


def _on_labels(arguments: argparse.Namespace, output: Output) -> list[Row]:
    import numpy as np

    from pipeline.embedding.evaluation import label_scores, tfidf_vectors

    where, fit_where = parse_pairs(arguments.where, "--where"), parse_pairs(arguments.fit_where, "--fit-where")
    with output.following("reading the documents"):
        documents, notes = _documents(arguments, (arguments.label, *where, *fit_where))
    for note in notes:
        output.progress.print(printable(note), markup=False)
    measured = _selected(documents, arguments, where)
    texts, labels = measured["text"], np.array(measured[arguments.label])
    output.progress.print(f"{len(texts):,} documents, {len(set(labels.tolist()))} labels")
    rows: list[Row] = []
    for way, vectors in _ways(arguments, texts, output):
        rows.append({**way, **_as_row(label_scores(vectors, labels))})
    if not arguments.no_baselines:
        with output.following("TF-IDF"):
            fitting = _selected(documents, arguments, fit_where)["text"]
            scores = label_scores(tfidf_vectors(fitting, texts), labels)
        rows.append({"model": "TF-IDF + SVD 256", **_as_row(scores)})
    return rows


def _on_sts(path: Path, arguments: argparse.Namespace, output: Output) -> list[Row]:
    from pipeline.embedding.evaluation import read_sts, spearman

    if not path.is_file():
        raise UsageError(f"--sts {path}: no such file")
    gold, first, second = read_sts(path)
    return [
        {**way, "sts": path.name, "spearman": round(spearman(vectors[: len(gold)], vectors[len(gold) :], gold), 4)}
        for way, vectors in _ways(arguments, first + second, output)
    ]


def _ways(arguments: argparse.Namespace, texts: Sequence[str], output: Output) -> Iterator[tuple[Row, np.ndarray]]:
    """Every way to make vectors of these texts: how, and the vectors."""
    from pipeline.embedding.evaluation import write_random_checkpoint
    from pipeline.models import resolve_spec
    from pipeline.spec import EmbeddingSpec

    default, _, checkpoint = resolve_spec(arguments.model)
    yield from _ways_of(_specs(default, wide=arguments.wide), arguments.model, arguments.device, texts, output)
    if not arguments.no_baselines:
        with TemporaryDirectory() as folder:
            write_random_checkpoint(checkpoint, Path(folder))
            twin = EmbeddingSpec(**{**default.model_dump(), "model": folder, "revision": None})
            yield from _ways_of([twin], "random weights", arguments.device, texts, output)


def _specs(default: EmbeddingSpec, *, wide: bool) -> list[EmbeddingSpec]:
    if not wide:
        return [default]
    return [
        default.model_copy(update={"prompt": prompt, "pooling": pooling, "routing": routing})
        for prompt, pooling, routing in product(PROMPTS, POOLINGS, ROUTINGS)
    ]


def _ways_of(
    specs: Sequence[EmbeddingSpec], name: str, device: str, texts: Sequence[str], output: Output
) -> Iterator[tuple[Row, np.ndarray]]:
    from pipeline.embedding.encoder import Encoder
    from pipeline.embedding.evaluation import calibrated_halves, combinations

    for spec in specs:
        with output.following(f"{name}: {spec.prompt}, {spec.pooling}, {spec.routing}"):
            halves = calibrated_halves(Encoder(spec, device), texts)
        way = {"model": name, "prompt": spec.prompt, "pooling": spec.pooling, "routing": spec.routing}
        for combination, vectors in combinations(halves):
            is_default = combination == (f"sum {spec.alpha:g}" if spec.combine == "sum" else spec.combine)
            yield {**way, "combine": combination, "default": is_default}, vectors


def _documents(arguments: argparse.Namespace, columns: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """The checked documents with these metadata columns, and lines that say what is not among them."""
    import pyarrow as pa

    from pipeline.corpus import ReaderOptions, keep_schema, plan, read_unit, resolve_columns
    from pipeline.corpus.dialect import UNSAID
    from pipeline.corpus.dialects import settle_dialects
    from pipeline.corpus.passed_over import by_reason, described
    from pipeline.corpus.sources import look_through

    storage: dict[str, Any] = {"storage_options": storage_options(arguments)}
    listing = look_through(arguments.source, **storage)
    files = settle_dialects(list(listing.files), UNSAID, **storage)
    options = resolve_columns(files, ReaderOptions(text=arguments.text, keep=tuple(columns)), **storage)
    keep = keep_schema(files, options, **storage)
    units = plan(files, options, **storage)
    batches = [batch for unit in units for batch in read_unit(unit, options, keep=keep, **storage)]
    reasons = Counter(reason for batch in batches for reason in batch.rejects.column("reason").to_pylist())
    notes = [f"not read: {described(by_reason(listing.passed_over))}"] if listing.passed_over else []
    if reasons:
        told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        notes.append(f"{counted(reasons.total(), 'reject')} ({told})")
    return pa.concat_tables([batch.documents for batch in batches]), notes


def _selected(table: pa.Table, arguments: argparse.Namespace, where: Mapping[str, str]) -> dict[str, list[Any]]:
    """The labelled documents that `where` selects, as many as are wanted: text, label."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, value in where.items():
        table = table.filter(pc.equal(table.column(name).cast(pa.string()), value))
    table = table.filter(pc.is_valid(table.column(arguments.label)))
    if arguments.limit is not None:
        table = table.take(np.random.default_rng(0).permutation(table.num_rows)[: arguments.limit])
    if not table.num_rows:
        raise UsageError(f"no document is left for {dict(where)}")
    return table.select(["text", arguments.label]).to_pydict()


def _as_row(scores: Any) -> Row:
    return {"precision@10": round(scores.precision, 4), "v_measure": round(scores.v_measure, 4)}


def _show(rows: Sequence[Row], output: Output) -> None:
    names = [
        name
        for name in ("model", "prompt", "pooling", "routing", "combine", "precision@10", "v_measure", "sts", "spearman")
        if any(name in row for row in rows)
    ]
    view = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        view.add_column(HEADERS.get(name, name), no_wrap=True)
    for row in rows:
        cells = (f"{value:.3f}" if isinstance(value := row.get(name, ""), float) else str(value) for name in names)
        view.add_row(*cells, style="bold" if row.get("default") else None)
    output.people.print(view, soft_wrap=False)


COMMAND: Final = Command(
    name="evaluate",
    help="Measure a model's vectors on labelled documents or similarity files, against TF-IDF and random weights.",
    configure=configure,
    run=run,
    examples=(
        "moee evaluate posts.parquet --label newsgroup --where split=test --fit-where split=train",
        "moee evaluate --table lake/docs --truth newsgroup --picture alpha.png",
        "moee evaluate --sts STS2016.input.txt --model allenai/OLMoE-1B-7B-0924 --wide",
    ),
)
