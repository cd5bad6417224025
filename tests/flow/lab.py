"""What the tests of the job and of the commands share: small corpora, one Ray cluster, clean environments."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import secrets
import warnings
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.table import TableLocation
from pipeline.table.store import open_dataset

ROOT = Path(__file__).parents[2]

SPEC = {"max_tokens": 24, "pooling": "last"}
"""Short prompts, so that runs and calibrations are quick; a pooling that does not depend on the model's default."""

THEMES = {
    "space": "orbit rocket moon shuttle launch satellite planet lunar telescope astronaut",
    "motors": "engine car brake tyre gear wheel oil driver road clutch",
    "faith": "church god prayer bible priest gospel saint heaven psalm soul",
}


def sentence(theme, number):
    """Eight words of one theme; another sentence for every number."""
    words = np.random.default_rng([number, *theme.encode()]).choice(THEMES[theme].split(), 8)
    return f"{' '.join(words)} {number}"


def documents(count, prefix="d", start=0):
    """Rows of id, text and theme, the themes in turn."""
    themes = [list(THEMES)[number % len(THEMES)] for number in range(start, start + count)]
    return [
        {"id": f"{prefix}-{number}", "text": sentence(theme, number), "theme": theme}
        for number, theme in enumerate(themes, start)
    ]


def write(path, rows):
    """Rows as a file of the format that the name of `path` asks for; rows of JSONL may also be bare lines (bytes)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(text.getvalue(), encoding="utf-8")
        return path
    data = b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)
    pack = {".gz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(data))
    return path


def stored(table, columns=None):
    """All rows of a table by id, read with plain lance."""
    rows = lance.dataset(f"{table}.lance").to_table(columns=columns).to_pylist()
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(rows), "ids are not distinct"
    return by_id


def rows_in(table):
    """How many rows a table has that a run may be about to make: its folder is there before its first version."""
    dataset = open_dataset(TableLocation.parse(table))
    return 0 if dataset is None else dataset.count_rows()


def vectors(rows):
    """The vectors of rows (as from `stored`) as float32 [n, D]."""
    return np.array([row["vector"] for row in rows], np.float32)


def name_of(uri):
    """The last part of a canonical URI."""
    return uri.rpartition("/")[2]


def old_orphans(table):
    """Data files of a local table, older than its last run, that no version names, nor the journal: must be none."""
    data = Path(f"{table}.lance", "data")
    newest = lance.dataset(f"{table}.lance")
    versions = [newest.checkout_version(each["version"]) for each in newest.versions()]
    named = {file.path for version in versions for part in version.get_fragments() for file in part.data_files()}
    if Path(f"{table}.journal.lance").exists():
        waiting = lance.dataset(f"{table}.journal.lance").to_table(columns=["fragments"])["fragments"].to_pylist()
        named |= {file["path"] for texts in waiting for text in texts for file in json.loads(text)["files"]}
    runs = lance.dataset(f"{table}.runs.lance").to_table(columns=["started"])["started"].to_pylist()
    began = max(runs).timestamp()
    return {path.name for path in data.iterdir() if path.name not in named and path.stat().st_mtime < began}


def cache():
    """The user's cache of the package, for processes with a home of their own."""
    from pipeline.models.content import cache_directory

    return str(cache_directory())


def environment(home, **more):
    """For a process that must not see, nor touch, what this user's or this session's Ray left: a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ours = {"HOME": str(home), "MOEE_CACHE": cache(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    return {**kept, **ours, "RAY_USAGE_STATS_ENABLED": "0", "NO_COLOR": "1", **more}


def one_cluster():
    """Run the cluster of a test session, as `embed` itself would start it."""
    import ray
    from ray.data import DataContext

    from pipeline.flow.engines.cluster import cluster

    before = dict(os.environ)
    # A token of our own: Ray would write one into the user's home.
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Instead of ten seconds, which a test would wait for. Ray's settings are written so.
    os.environ["RAY_metrics_report_interval_ms"] = "1000"  # noqa: SIM112
    os.environ.pop("RAY_ADDRESS", None)
    try:
        with cluster():
            with warnings.catch_warnings():
                # Ray Data's settings warn of their own defaults when a process first asks for them.
                warnings.filterwarnings("ignore", r"`use_\w+` is deprecated", DeprecationWarning)
                DataContext.get_current()
            node = ray._private.worker._global_node
            started = [info.process for infos in node.all_processes.values() for info in infos]
            yield
        # Ray drops its processes unreaped, and each would warn of that in whatever test the collector runs next.
        for process in started:
            process.wait(timeout=30)
    finally:
        os.environ.clear()
        os.environ.update(before)
