"""Near-duplicates of a table of clusters: recall of planted pairs, time, memory.

python tests/bench/duplicates.py [--rows 1000000] [--dim 1024] [--score 0.98] [--engine local|ray]

Rows lie in 1,000 clusters of rank 64 with noise around them. A planted pair is a row and one moved away from it: in any
direction (noise), within its cluster's subspace, or towards another row of the cluster. Recall is that of the pairs
whose stored vectors score enough. Floor: .95 at 1,000,000 rows and a score of .98.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))
from common import machine, save

from pipeline.embedding.combine import unit
from pipeline.mapper import in_this_process
from pipeline.spec import EmbeddingSpec
from pipeline.table import VectorTable

CLUSTERS, RANK, SPREAD, NOISE = 1000, 64, 0.8, 0.35
PLANTED_SHARE = 50
KINDS = ("noise", "subspace", "towards another")


def cluster(number, rows, dim):
    """Vectors of a cluster, then for each kind pairs of its rows and vectors that are moved away from them."""
    random = np.random.default_rng(number)
    basis = np.linalg.qr(random.standard_normal((dim, RANK), dtype=np.float32))[0]

    def normal(*shape):
        return random.standard_normal(shape, dtype=np.float32)

    inside = normal(rows, RANK) @ basis.T * (SPREAD / np.sqrt(RANK))
    vectors = unit(unit(normal(1, dim)) + inside + normal(rows, dim) * (NOISE / np.sqrt(dim)))
    planted = []
    for kind in KINDS:
        of = random.choice(rows, max(rows // PLANTED_SHARE // len(KINDS), 1), replace=False)
        others = vectors[(of + 1 + random.integers(0, rows - 1, len(of))) % rows]
        towards = {"noise": normal(len(of), dim), "subspace": normal(len(of), RANK) @ basis.T}.get(kind, others)
        planted.append((of, towards))
    return vectors, planted


def moved(vectors, towards, cosine):
    """`vectors` moved so that they have this cosine with what they were."""
    across = unit(towards - (towards * vectors).sum(axis=1, keepdims=True) * vectors)
    return unit(cosine * vectors + np.sqrt(1 - cosine**2) * across)


def make(uri, rows, dim, score):
    """The table, and for each kind the pairs of ids that score enough."""
    spec = EmbeddingSpec(model="generated")
    table = VectorTable.create(uri, spec=spec, dim=dim, with_text=False)
    pairs = {kind: [] for kind in KINDS}
    waiting, names = [], []
    for number in range(CLUSTERS):
        vectors, planted = cluster(number, rows // CLUSTERS, dim)
        waiting.append(vectors)
        names += [f"{number}-{row}" for row in range(len(vectors))]
        for kind, (of, towards) in zip(KINDS, planted, strict=True):
            near = moved(vectors[of], towards, score + 0.001)
            ends = [f"{number}-{row}-{kind}" for row in of]
            stored = [unit(each.astype(np.float16).astype(np.float32)) for each in (vectors[of], near)]
            enough = (stored[0] * stored[1]).sum(axis=1) >= score
            pairs[kind] += [(f"{number}-{row}", end) for row, end, at in zip(of, ends, enough, strict=True) if at]
            waiting.append(near)
            names += ends
        if len(names) > 100_000 or number == CLUSTERS - 1:
            table.add(names, np.concatenate(waiting))
            waiting, names = [], []
    return table, pairs


def mapper_of(engine):
    if engine is None:
        return in_this_process
    from pipeline.flow.engines.base import EngineMapper
    from pipeline.flow.engines.choice import choose_engine
    from pipeline.flow.options import EmbedOptions

    return EngineMapper(choose_engine(EmbedOptions(device="cpu", engine=engine)).engine)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--score", type=float, default=0.98)
    parser.add_argument("--engine", choices=["local", "ray"])
    settings, say = parser.parse_args(), Console(soft_wrap=True).out
    with tempfile.TemporaryDirectory() as folder:
        table, planted = make(f"{folder}/t", settings.rows, settings.dim, settings.score)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        phases, began = {}, time.perf_counter()

        def phase(name):
            phases[name] = round(time.perf_counter() - began, 1)
            say(f"{phases[name]:7.1f} s  {name}")

        found = table.duplicates(settings.score, mapper=mapper_of(settings.engine), phase=phase)
        seconds = time.perf_counter() - began
        keys = pc.binary_join_element_wise(found["a"], found["b"], "|")
        recall = {}
        for kind, pairs in planted.items():
            wanted = pa.array(["|".join(sorted(pair)) for pair in pairs])
            recall[kind] = float(np.mean(pc.is_in(wanted, value_set=keys.combine_chunks()).to_numpy(False)))
        result = {
            "recall": recall,
            "planted": {kind: len(pairs) for kind, pairs in planted.items()},
            "pairs": found.num_rows,
            "seconds": round(seconds, 1),
            "begins": phases,
            "rows": table.count_rows(),
            "megabytes": {
                "before": before // 1024,
                "at most": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "of a process": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
            },
        }
        say(str(result))
        say(str(save("duplicates", {"machine": machine(), "settings": vars(settings), "result": result})))


if __name__ == "__main__":
    main()
