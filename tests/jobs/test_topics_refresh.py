from __future__ import annotations

import shutil
from pathlib import Path

import lance
import pyarrow as pa
import pytest
from rich.console import Console

from jobs.command import Output
from jobs.topics import then
from jobs.topics.then import enough_new

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning"),  # umap says so at its first import
]


@pytest.fixture(scope="module")
def followed(news, tmp_path_factory):
    """A copy of the table with topics, fitted because ``--then topics`` was asked for."""
    from pipeline.topics import fit_topics

    folder = tmp_path_factory.mktemp("followed")
    shutil.copytree(Path(news.table).parent, folder / "lake")
    fit_topics(str(folder / "lake" / "news"), min_cluster_size=8)
    return folder / "lake"


@pytest.fixture
def table(followed, tmp_path):
    shutil.copytree(followed, tmp_path / "lake")
    return str(tmp_path / "lake" / "news")


def grow(table, count):
    """Rows of the table again, as other documents."""
    rows = lance.dataset(f"{table}.lance").to_table(limit=count)
    names = pa.array([f"more-{number}" for number in range(count)])
    lance.write_dataset(
        rows.set_column(rows.schema.get_field_index("id"), "id", names), f"{table}.lance", mode="append"
    )


def test_topics_follow_their_table(moee, news, table):
    idle = moee("embed", news.source, "--table", table, "--then", "topics", "--json")
    assert "0 documents are new since version 1, a refresh begins at 1" in idle.json["topics"]["skipped"]
    assert "topics: left as they are: 0 documents" in idle.err
    grow(table, 20)
    grown = moee("embed", news.source, "--table", table, "--then", "topics", "--json").json["topics"]
    assert (grown["pending"], [made["kind"] for made in grown["made"]]) == (20, ["assign"])


def test_first_topics_are_fitted_when_there_are_documents_enough(news, tmp_path, monkeypatch):
    shutil.copytree(Path(news.table).parent, tmp_path / "lake")
    table, silent = str(tmp_path / "lake" / "news"), Console(quiet=True)
    monkeypatch.setattr(then, "fit_and_show", lambda *_, **__: {"count": 3})
    output = Output(people=silent, progress=silent, json=False)
    assert then.topics_if_grown(table, output) == {"count": 3}
    lance.dataset(f"{table}.lance").delete("row >= 29")
    assert then.topics_if_grown(table, output) == {"skipped": "29 documents are too few, topics need 30"}


def test_what_is_worth_a_refresh():
    assert [enough_new(documents) for documents in (0, 90, 10_000, 10**7)] == [1, 1, 100, 1000]


def test_a_refresh_says_what_was_measured_decided_and_done(moee, table):
    grow(table, 30)
    dry = moee("topics", "refresh", table, "--dry-run")
    assert dry.status == 0, dry.err
    assert "30 new or changed documents to assign" in dry.out
    assert "topics stay as they are: no threshold is passed" in dry.out
    assert "nothing was written" in dry.out
    wet = moee("topics", "refresh", table)
    assert "30 new or changed documents assigned" in wet.out
    assert "30 (+33%)" in wet.out
    assert "version 2: new documents assigned" in wet.out
    idle = moee("topics", "refresh", table, "--json").json
    assert (idle["version"], idle["pending"], idle["made"]) == (2, 0, [])
    assert idle["decisions"] == [{"action": "nothing", "reasons": ["no threshold is passed"]}]
    refit = moee("topics", "refresh", table, "--growth", 0.3, "--no-keywords", "--json").json
    assert [made["kind"] for made in refit["made"]] == ["refit"]
    assert refit["decisions"][-1]["reasons"] == ["the table's growth since the fit is 0.33, above 0.3"]


def test_a_job_for_a_version_of_the_table_is_done_once(moee, table):
    version = lance.dataset(f"{table}.lance").version
    job = ("topics", "refresh", table, "--refit", "--no-keywords", "--json", "--at-version")
    early = moee(*job, version + 1)
    assert (early.status, f"it has not reached {version + 1} yet" in early.error) == (1, True)
    grow(table, 5)
    assert [made["kind"] for made in moee(*job, version + 1).json["made"]] == ["assign", "refit"]
    assert moee(*job, version + 1).json["made"] == []


def test_topics_are_changed_by_hand(moee, table):
    labelled = moee("topics", "label", table, 0, "Rockets and moons")
    assert labelled.out == "topic 0 is called for good: Rockets and moons\n"
    count = moee("topics", "show", table, "--json").json["count"]
    merged = moee("topics", "merge", table, 0, 1)
    assert merged.out.startswith("1 → 0: Rockets and moons (")
    assert moee("topics", "merge", table, 0, 1, "--json").status == 1
    assert moee("topics", "label", table, 0, "--unlock", "--json").json["label"] != "Rockets and moons"
    if count > 2:
        assert moee("topics", "reduce", table, 1, "--json").json["count"] == 1


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("label", 0), "give a label or --unlock"),
        (("label", 0, "x", "--unlock"), "give a label or --unlock"),
        (("label", 0, "x", "--llm", "--llm-model", "m", "--llm-url", "http://localhost:1/v1"), "it takes no topic"),
        (("merge", 0), "two topics or more"),
        (("reduce", 50), "reduce them to 1 or more"),
        (("refresh", "--refit", "--no-refit"), "not allowed with"),
        (("refresh", "--births", "few"), "invalid int value"),
    ],
)
def test_wrong_calls_are_told_in_one_line(moee, table, arguments, what):
    action, *rest = arguments
    outcome = moee("topics", action, table, *rest)
    assert (outcome.status, what in outcome.error) == (2, True), outcome.err
