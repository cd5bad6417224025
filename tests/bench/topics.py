"""``make bench-topics NEWSGROUPS=FILE``: topics on real text, and how fast a large table is assigned and counted.

    newsgroups   the 20 Newsgroups (Parquet of id, text, newsgroup), embedded by the built-in model, through the exact
                 recipe: seconds after embedding, topics, share of outliers, agreement with the 20 groups; beside it
                 the same recipe on TF-IDF reduced to 100 dimensions by SVD
    assign       1,000,000 vectors of 1024 dimensions against 500 topics, out of a real table into a real table
    counts       the words of 1,000,000 documents of 40 words, counted by topic on the same way

Every part runs in a process of its own. Floors: 360 s; 25,000 documents/s and memory that does not grow with the table;
4 GB. Writes ``tests/bench/results/topics-DATE.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
from common import machine, save  # the folder of a script is on its path
from rich.console import Console
from rich.table import Table

from pipeline.mapper import available_cores
from pipeline.topics import load_topics
from pipeline.topics.clustering.geometry import Geometry, unit_rows
from pipeline.topics.operations.assign import assign_documents
from pipeline.topics.versions.next_version import NextVersion, topic_lease
from pipeline.topics.versions.tables import TopicTables
from pipeline.topics.words.counts import Vocabulary

DIMENSIONS, TOPICS = 1024, 500
WORDS, TEXT_WORDS = 200_000, 40
CHUNK = 50_000
QUALITY = ("outlier_rate", "ami", "v_measure", "ami_all")


class Memory:
    """The resident memory of this process over time, every 50 ms."""

    def __init__(self) -> None:
        import psutil

        self.seen: list[int] = []
        self._process = psutil.Process()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.seen.append(self._process.memory_info().rss)
            time.sleep(0.05)

    def figures(self) -> dict[str, float]:
        """The peak, and the growth of the second half's peak over the first half's."""
        half = len(self.seen) // 2
        return {"peak_bytes": max(self.seen), "grown": max(self.seen[half:]) / max(self.seen[:half]) - 1}


def write(place: str, count: int, dimensions: int, with_texts: bool) -> Geometry:  # noqa: FBT001
    """A table of `count` unit vectors around `TOPICS` centroids, with texts of words of Zipf's frequencies."""
    random = np.random.default_rng(0)
    centroids = unit_rows(random.standard_normal((TOPICS, dimensions), dtype=np.float32))
    words = np.array([f"w{number:x}" for number in range(WORDS)])

    def chunk(start: int) -> pa.RecordBatch:
        rows = min(CHUNK, count - start)
        vectors = centroids[random.integers(0, TOPICS, rows)]
        vectors = vectors + 0.03 * random.standard_normal((rows, dimensions), dtype=np.float32)
        column = pa.array(unit_rows(vectors).astype(np.float16).ravel())
        columns = {
            "id": [f"document-{row}" for row in range(start, start + rows)],
            "vector": pa.FixedSizeListArray.from_arrays(column, dimensions),
            "slice": pa.array(np.arange(start, start + rows) // 10_000),
        }
        if with_texts:
            drawn = np.minimum(random.zipf(1.3, (rows, TEXT_WORDS)) - 1, WORDS - 1)
            columns["text"] = [" ".join(row) for row in words[drawn]]
        return pa.RecordBatch.from_pydict(columns)

    first = chunk(0)
    batches = (first if start == 0 else chunk(start) for start in range(0, count, CHUNK))
    lance.write_dataset(pa.RecordBatchReader.from_batches(first.schema, batches), place, max_rows_per_file=1 << 17)
    figures = np.full(TOPICS, 0.7, dtype=np.float32), np.full(TOPICS, 0.02, dtype=np.float32)
    return Geometry(np.arange(TOPICS), centroids, *figures)


def assigned(folder: Path, geometry: Geometry, vocabulary: Vocabulary | None, mapper: str) -> dict[str, float]:
    """Assign all documents of the table in `folder`."""
    how = {}
    if mapper == "ray":
        from pipeline.flow.engines.base import EngineMapper
        from pipeline.flow.engines.ray_engine import RayEngine

        how = {"mapper": EngineMapper(RayEngine())}
    tables = TopicTables.of(folder / "docs")
    memory = Memory()
    with topic_lease(tables) as lease:
        step = NextVersion.begin(tables, lease, "fit", params={"mapper": mapper})
        began = time.perf_counter()
        counts = assign_documents(step, geometry, vocabulary=vocabulary, **how)
        seconds = time.perf_counter() - began
        rows = step.written(["id"]).num_rows
    figures = {"documents": rows, "seconds": seconds, "documents_per_second": rows / seconds, **memory.figures()}
    return figures if counts is None else {**figures, "words": int(counts.matrix.sum())}


def assign_part(folder: Path, given: argparse.Namespace) -> dict[str, object]:
    geometry = given_or_written(folder, given, DIMENSIONS, with_texts=False)
    return assigned(folder, geometry, None, given.mapper)


def counts_part(folder: Path, given: argparse.Namespace) -> dict[str, object]:
    geometry = given_or_written(folder, given, 16, with_texts=True)
    vocabulary = Vocabulary(tuple(sorted(f"w{number:x}" for number in range(WORDS))), "english")
    return assigned(folder, geometry, vocabulary, given.mapper)


def given_or_written(folder: Path, given: argparse.Namespace, dimensions: int, *, with_texts: bool) -> Geometry:
    """The table is written by another process, so that its memory is not measured."""
    if given.write:
        geometry = write(str(folder / "docs.lance"), given.documents, dimensions, with_texts)
        np.save(folder / "centroids.npy", geometry.centroids)
        sys.exit()
    subprocess.run([sys.executable, *sys.argv, "--write"], check=True)
    centroids = np.load(folder / "centroids.npy")
    floor = np.full(TOPICS, 0.7, dtype=np.float32), np.full(TOPICS, 0.02, dtype=np.float32)
    return Geometry(np.arange(TOPICS), centroids, *floor)


def newsgroups_part(folder: Path, given: argparse.Namespace) -> dict[str, object]:
    """Both in one process, embedding aside; the table is kept if `--table` names one."""
    from pipeline import VectorTable, embed
    from pipeline.topics import fit_topics

    name = given.table or str(folder / "news")
    embed(given.newsgroups, name, keep=("newsgroup",))
    table = VectorTable.open(name)
    began = time.perf_counter()
    topics = fit_topics(table, encoder=table.encoder, truth="newsgroup")
    seconds = time.perf_counter() - began
    model = load_topics(table).model
    ours = {"seconds": seconds, "topics": topics.model.topics, "documents": model.documents, **model.metrics}
    return {"moee": ours, "tfidf_svd": baseline(table.dataset())}


def baseline(dataset: lance.LanceDataset) -> dict[str, object]:
    """TF-IDF and SVD, then the same recipe."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    from pipeline.topics.clustering.documents import read_sample
    from pipeline.topics.clustering.metrics import agreement, outlier_rate
    from pipeline.topics.clustering.recipe import Recipe, cluster

    documents = read_sample(dataset, 100_000, "newsgroup")
    began = time.perf_counter()
    weights = TfidfVectorizer(stop_words="english", sublinear_tf=True, min_df=3).fit_transform(documents.texts)
    vectors = unit_rows(TruncatedSVD(100, random_state=0).fit_transform(weights).astype(np.float32))
    vectorized = time.perf_counter() - began
    labels = cluster(vectors, Recipe())
    return {
        "vectorizing_seconds": vectorized,
        "seconds": time.perf_counter() - began - vectorized,
        "topics": int(labels.max()) + 1,
        "documents": len(labels),
        "outlier_rate": outlier_rate(labels),
        **agreement(labels, documents.extra),
    }


PARTS = {"newsgroups": newsgroups_part, "assign": assign_part, "counts": counts_part}


def in_a_process(part: str, given: argparse.Namespace, mapper: str) -> dict[str, object]:
    command = [sys.executable, __file__, "--only", part, "--documents", str(given.documents), "--mapper", mapper]
    command += [f"--{name}={value}" for name in ("newsgroups", "table") if (value := getattr(given, name))]
    folder = tempfile.mkdtemp(dir=given.scratch)
    try:
        done = subprocess.run(
            [*command, "--folder", folder], stdout=subprocess.PIPE, check=True, env={**os.environ, "NO_COLOR": "1"}
        )
    finally:
        shutil.rmtree(folder)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--newsgroups", metavar="FILE", help="Parquet of id, text and newsgroup")
    parser.add_argument("--table", metavar="DIR/NAME", help="keep the embedded newsgroups here, and find them again")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--mappers", nargs="+", choices=["process", "ray"], default=["process", "ray"])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--scratch", help="where the tables are written (the system's folder of temporary files)")
    for hidden in ("--only", "--folder", "--mapper"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(PARTS[given.only](Path(given.folder), given)))  # noqa: T201 — the parent reads it
        return
    results: dict[str, object] = {}
    for part in given.parts:
        if part == "newsgroups" and not given.newsgroups:
            Console().print("newsgroups: left out; say where they are (--newsgroups FILE)")
        elif part == "newsgroups":
            results[part] = in_a_process(part, given, "process")
        else:
            results |= {f"{part} ({mapper})": in_a_process(part, given, mapper) for mapper in given.mappers}
    show(results)
    settings = {name: getattr(given, name) for name in ("documents",)}
    target = save("topics", {"machine": machine(), "cores": available_cores(), **settings, "results": results})
    Console().print(f"kept in {target}")


def show(results: dict[str, dict]) -> None:
    view = Table(box=None)
    for column in ("part", "seconds", "documents/s", "peak MB", "grown", "topics", "outliers", "AMI", "V", "AMI all"):
        view.add_column(column, justify="right")
    for part, each in results.items():
        for name, row in each.items() if part == "newsgroups" else [("", each)]:
            speed = row.get("documents_per_second", row["documents"] / row["seconds"])
            memory = [f"{row['peak_bytes'] / 1e6:,.0f}", f"{row['grown']:+.0%}"] if "peak_bytes" in row else ["", ""]
            quality = [
                f"{row[key]:.3f}" if key in row else "" for key in ("outlier_rate", "ami", "v_measure", "ami_all")
            ]
            figures = [f"{row['seconds']:,.1f}", f"{speed:,.0f}", *memory, str(row.get("topics", "")), *quality]
            view.add_row(f"{part} {name}".strip(), *figures)
    Console(width=120).print(view)


if __name__ == "__main__":
    main()
