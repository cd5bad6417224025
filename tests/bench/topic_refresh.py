"""``make bench-refresh NEWSGROUPS=FILE``: do topics keep their identity when a table grows?

The 20 Newsgroups (Parquet of id, text, newsgroup), embedded by the built-in model. Topics are fitted on the groups of
alt, comp, misc, soc and talk, a tenth of each held out; then rec and sci, and the held-out documents, are added as new
files, and the topics are refreshed: without a refit, again with nothing new, and with a forced refit.

    kept        documents of the fit with the same topic after assigning and births; target: all
    outside     of the new groups' documents, those in no topic of the fit; target: 80 %, at most half of them in none
    rejected    held-out documents in no topic, against fitted ones by the same rule and by the fit itself; target: at
                most 5 percentage points more; beside it those in no topic of the fit, new topics included
    refit       fitted documents with the same topic after a forced refit, over the agreement of two seeds of the same
                fit, matched in the same way; target: 0.95

Writes ``tests/bench/results/topic_refresh-DATE.json``.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from common import machine, save  # the folder of a script is on its path
from rich.console import Console
from rich.table import Table

from pipeline import embed
from pipeline.columns import string_hashes
from pipeline.topics import fit_topics, load_topics
from pipeline.topics.operations.refresh import refresh_topics

NEW = ("rec", "sci")
HELD_OUT = 10
TABLES = ("topic_models", "topics", "topic_assignments", "topic_events")


def split(corpus: Path, folder: Path) -> dict[str, set[str]]:
    """Write the corpus as files of old, new and held-out documents; the ids of each that are not empty."""
    table = pq.read_table(corpus, columns=["id", "text", "newsgroup"])
    table = table.filter(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(table["text"])), 0))
    top = pc.list_element(pc.split_pattern(table["newsgroup"], "."), 0)
    is_new = pc.is_in(top, value_set=pa.array(NEW)).combine_chunks()
    is_held = pc.and_(pc.invert(is_new), pa.array(string_hashes(table["id"]) % HELD_OUT == 0))
    parts = {"new": is_new, "held": is_held, "old": pc.invert(pc.or_(is_new, is_held))}
    for name, mask in parts.items():
        pq.write_table(table.filter(mask), folder / f"{name}.parquet")
    return {name: set(table.filter(mask)["id"].to_pylist()) for name, mask in parts.items()}


def by_id(topics) -> dict[str, int]:
    rows = topics.assignments(["id", "topic"])
    return dict(zip(rows["id"].to_pylist(), rows["topic"].to_pylist(), strict=True))


def agreement(first: dict[str, int], second: dict[str, int], *, with_outliers: bool) -> float:
    """Share of documents with the same id in both; outliers of the first count if asked."""
    names = [name for name, topic in first.items() if with_outliers or topic >= 0]
    return float(np.mean([second.get(name) == first[name] for name in names]))


def states(table: str) -> list[int]:
    return [lance.dataset(f"{table}.{kind}.lance").version for kind in TABLES]


def share(names: set[str], topics: dict[str, int], choose) -> float:
    return float(np.mean([choose(topics[name]) for name in names if name in topics]))


def agreement_of_seeds(table: str, folder: Path, seed: int) -> dict[str, float]:
    """Of the fit with another seed, on a copy."""
    shutil.copytree(Path(table).parent, folder)
    first = by_id(load_topics(str(folder / "news")))
    again = by_id(fit_topics(str(folder / "news"), seed=seed + 1))
    return {
        "in_a_topic": agreement(first, again, with_outliers=False),
        "with_outliers": agreement(first, again, with_outliers=True),
    }


def run(given: argparse.Namespace, folder: Path) -> dict[str, object]:
    lake, table = folder / "lake", str(folder / "lake" / "news")
    names = split(given.corpus, folder)
    began = time.perf_counter()
    if given.lake and given.lake.exists():
        shutil.copytree(given.lake, lake)
    else:
        embed(str(folder / "old.parquet"), table, {"model": "mini"}, keep=("newsgroup",))
        if given.lake:
            shutil.copytree(lake, given.lake)
    embedded = time.perf_counter()
    fitted = fit_topics(table, seed=given.seed)
    seconds = {"embed": embedded - began, "fit": time.perf_counter() - embedded}
    first, floor = by_id(fitted), fitted.geometry()
    rows = fitted.assignments(["nearest", "score"])
    by_rule = float(np.mean(floor.decide(rows["nearest"].to_numpy(), rows["score"].to_numpy()) < 0))
    seeds = agreement_of_seeds(table, folder / "seeds", given.seed)

    embed([str(folder / "new.parquet"), str(folder / "held.parquet")], table, {"model": "mini"}, keep=("newsgroup",))
    proposed = refresh_topics(table, dry_run=True)
    before = time.perf_counter()
    refresh = refresh_topics(table, refit=False)
    seconds["refresh"] = time.perf_counter() - before
    after, known = by_id(refresh.topics), fitted.model.unused
    state = states(table)
    idle = refresh_topics(table, refit=False)
    unchanged = states(table) == state and not idle.made

    before = time.perf_counter()
    refit = refresh_topics(table, refit=True)
    seconds["refit"] = time.perf_counter() - before
    last = by_id(refit.topics)
    outside = share(names["new"], after, lambda topic: topic < 0 or topic >= known)
    return {
        "documents": {name: len(ids & after.keys()) for name, ids in names.items()},
        "topics": fitted.model.topics,
        "outliers_at_fit": fitted.model.outliers / fitted.model.documents,
        "rejected_at_fit_by_rule": by_rule,
        "drift": {**proposed.drift.to_json(), "shifts": None},
        "proposed": [proposed.decisions[0].action, *proposed.decisions[0].reasons],
        "made": [model.kind for model in refresh.made],
        "born": refresh.topics.model.unused - known,
        "kept": agreement(first, after, with_outliers=True),
        "outside": outside,
        "none_of_outside": share(names["new"], after, lambda topic: topic < 0) / outside,
        "rejected_when_assigned": share(names["held"], by_id_of(table, refresh), lambda topic: topic < 0),
        "held_in_none": share(names["held"], after, lambda topic: topic < 0),
        "held_outside": share(names["held"], after, lambda topic: topic < 0 or topic >= known),
        "second_refresh_changes_nothing": unchanged,
        "refit": {
            "in_a_topic": agreement(first, last, with_outliers=False),
            "with_outliers": agreement(first, last, with_outliers=True),
        },
        "two_seeds": seeds,
        "events": pc.value_counts(refit.topics.events()["event"]).to_pylist(),
        "seconds": seconds,
    }


def by_id_of(table: str, refresh) -> dict[str, int]:
    """As the documents were assigned, before births."""
    return by_id(load_topics(table, version=refresh.made[0].version))


def show(results: dict) -> None:
    view = Table(box=None)
    for column in ("", "measured", "target"):
        view.add_column(column, justify="right" if column else "left")
    rule, refit, seeds = results["rejected_at_fit_by_rule"], results["refit"], results["two_seeds"]
    view.add_row("fitted documents that keep their topic", f"{results['kept']:.1%}", "100 %")
    view.add_row("new groups outside the old topics", f"{results['outside']:.1%}", "≥ 80 %")
    view.add_row("… of these in none", f"{results['none_of_outside']:.1%}", "≤ 50 %")
    view.add_row("fitted in none, by the fit", f"{results['outliers_at_fit']:.1%}", "")
    view.add_row("fitted in none, by the rule", f"{rule:.1%}", "")
    for name, what in (
        ("rejected_when_assigned", "held-out in none when assigned"),
        ("held_in_none", "held-out in none after births"),
        ("held_outside", "held-out outside the old topics"),
    ):
        view.add_row(what, f"{results[name]:.1%}", f"≤ {rule + 0.05:.1%}")
    for name, what in (("in_a_topic", ""), ("with_outliers", ", outliers too")):
        view.add_row(f"kept by two seeds{what}", f"{seeds[name]:.1%}", "")
        ratio = refit[name] / seeds[name]
        view.add_row(f"kept by a refit{what}", f"{refit[name]:.1%}", f"≥ {0.95 * seeds[name]:.1%} ({ratio:.2f})")
    view.add_row("second refresh changes nothing", str(results["second_refresh_changes_nothing"]), "True")
    console = Console()
    console.print(view)
    console.print(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="Parquet of id, text, newsgroup")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lake", type=Path, help="keep the embedded old groups here, for other seeds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = run(given, Path(folder))
    show(results)
    target = save("topic_refresh", {"machine": machine(), "seed": given.seed, "results": results})
    Console().print(f"kept in {target}")


if __name__ == "__main__":
    main()
