"""Mutations of valid files of every format, through the real readers: ``make fuzz``, or

python tests/soak/fuzz.py [--minutes N] [--seed N] [--keep DIRECTORY]

Nothing may crash or hang, and nothing may be raised but what a reader is allowed to raise. Of delimited text and JSON
lines, documents and rejects together must be as many as there are records. What fails is kept, with its seed.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import multiprocessing as mp
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import lance
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

TESTS = Path(__file__).parents[1]
SECONDS = 60.0
"""For one small file; what takes longer hangs."""

SIGNS = [b'"', b'""', b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\\", b"\0", b"{", b"}", b"[", b"\xff", b"\xc3", b" "]


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


FILES = module(TESTS / "corpus" / "formats" / "test_every_format.py")
ACCOUNTING = module(TESTS / "corpus" / "accounting.py")


def table(rng):
    """Some documents whose texts hold what files are made of."""
    signs = [*'",;\t\n\r\\{}[]: é“”台', "word", "C++", "\u2028", "\x0b", "\x85"]
    texts = ["".join(rng.choice(signs) for _ in range(rng.randrange(1, 30))) for _ in range(rng.randrange(1, 20))]
    ids = [f"d{number}" for number in range(len(texts))]
    return pa.table({"id": ids, "text": texts, "url": [f"https://example.org/{rng.random()}" for _ in texts]})


def valid(rng, folder):
    """Write a valid file of any format; its path."""
    kind = rng.choice([*FILES.STREAMS, "csv", "csv", "tsv", "jsonl", "json", "txt", "parquet", "parquet", "lance"])
    made = table(rng)
    if kind == "lance":
        lance.write_dataset(made, folder / "a.lance")
        return folder / "a.lance"
    if kind == "parquet":
        how = rng.choice(["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
        out = io.BytesIO()
        pq.write_table(made, out, compression=how, row_group_size=4, use_dictionary=rng.random() < 0.5)
        (folder / "a.parquet").write_bytes(out.getvalue())
        return folder / "a.parquet"
    data = made["text"][0].as_py().encode() if kind == "txt" else FILES.STREAMS[kind](made)
    compression = rng.choice(["", "", "", *FILES.COMPRESS])
    (folder / f"a.{kind}{compression}").write_bytes(FILES.in_members(data, FILES.COMPRESS[compression]))
    return folder / f"a.{kind}{compression}"


def mutate(data, rng):
    """Some random damage."""
    for _ in range(rng.randrange(5)):
        at, size = rng.randrange(len(data) + 1), rng.randrange(1, 20)
        data = rng.choice(
            [
                data[:at] + bytes(rng.randrange(256) for _ in range(size)) + data[at + size :],
                data[:at] + rng.choice(SIGNS) + data[at:],
                data[:at] + data[at + size :],
                data[:at] + data[at : at + size * 5] + data[at:],
                data[: max(at, 1)],
                data[:at] + rng.choice(SIGNS) + data[at + 1 :],
            ]
        )
    return data


def read(path):
    """Everything from listing to check: documents, rejects, and the dialect of delimited text."""
    from pipeline.corpus import ReaderOptions, keep_schema, list_sources, plan, read_unit, resolve_columns
    from pipeline.corpus.dialect import dialect_of
    from pipeline.errors import MoeeError

    try:
        files = list_sources([str(path)])
        options = resolve_columns(files, ReaderOptions(text="text", keep=("url",), slice_rows=7))
        keep = keep_schema(files, options)
    except MoeeError:
        return None
    batches = [batch for unit in plan(files, options) for batch in read_unit(unit, options, keep=keep)]
    documents = sum(batch.documents.num_rows for batch in batches)
    rejects = [row for batch in batches for row in batch.rejects.select(["row", "reason"]).to_pylist()]
    return documents, len(rejects), any(row["row"] < 0 for row in rejects), dialect_of(files[0])


def reader(connection):
    """Read what is asked for, until nobody asks."""
    sys.stderr = io.StringIO()
    while True:
        try:
            path = connection.recv()
        except EOFError:
            return
        try:
            connection.send(("read", read(path)))
        except Exception as error:
            import traceback

            connection.send(("raised", f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))


def miscounted(path, outcome):
    """What is wrong with the number of documents and rejects, or None."""
    if outcome is None or path.suffix not in {".csv", ".tsv", ".jsonl"}:
        return None
    documents, rejects, is_cut, dialect = outcome
    text = path.read_bytes().decode(dialect.encoding, "replace").removeprefix("\ufeff")
    if is_cut or dialect.encoding != "utf-8":
        return None
    if path.suffix == ".jsonl":
        expected = sum(1 for line in path.read_bytes().split(b"\n") if line and not line.isspace())
    else:
        expected = ACCOUNTING.count_records(
            text, dialect.delimiter, dialect.quoting, skips_spaces=dialect.skips_spaces
        ) - 1  # fmt: skip
    return None if documents + rejects == max(expected, 0) else f"{documents} + {rejects}, not {expected} ({dialect})"


class Reader:
    """A process that reads, and that may die."""

    def __init__(self):
        self.context = mp.get_context("spawn")
        self.process = None

    def read(self, path):
        if self.process is None:
            self.connection, theirs = self.context.Pipe()
            self.process = self.context.Process(target=reader, args=(theirs,), daemon=True)
            self.process.start()
            theirs.close()
        self.connection.send(path)
        try:
            if self.connection.poll(SECONDS):
                return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code, self.process = self.process.exitcode, None
            return "died", f"exit code {code}"
        self.process.kill()
        self.process = None
        return "hung", f"{SECONDS:.0f} s"


def main():
    """Mutate and read until the time is over; the exit status tells whether anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, default=Path("fuzz-finds"))
    given = parser.parse_args()
    console, child, found, counts = Console(), Reader(), 0, Counter()
    until, said, number = time.monotonic() + 60 * given.minutes, time.monotonic(), 0
    console.print(f"seed {given.seed}")
    while time.monotonic() < until:
        rng = random.Random(f"{given.seed}-{number}")
        number += 1
        with tempfile.TemporaryDirectory() as name:
            path = valid(rng, Path(name))
            victim = rng.choice([file for file in path.rglob("*") if file.is_file()]) if path.is_dir() else path
            victim.write_bytes(mutate(victim.read_bytes(), rng))
            what, detail = child.read(path)
            counts[path.name.partition(".")[2]] += 1
            problem = miscounted(path, detail) if what == "read" else f"{what}: {detail}"
            if problem:
                found += 1
                kept = given.keep / f"{given.seed}-{number}-{path.name}"
                given.keep.mkdir(exist_ok=True)
                (shutil.copytree if path.is_dir() else shutil.copy)(path, kept)
                console.print(f"{kept}: {problem}", markup=False)
        if time.monotonic() - said > 30:
            said = time.monotonic()
            console.print(f"{number:,} files, {found} finds")
    console.print(f"{number:,} files ({', '.join(f'{n} {kind}' for kind, n in counts.most_common())}): {found} finds")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
