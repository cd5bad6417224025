from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning"),  # umap says so at its first import
]


@pytest.fixture
def table(news, tmp_path):
    shutil.copytree(Path(news.table).parent, tmp_path / "lake")
    return str(tmp_path / "lake" / "news")


def test_topics_are_fitted_shown_and_inspected(moee, lab, table):
    fitted = moee("topics", "fit", table, "--no-keywords", "--min-size", 8, "--json")
    assert fitted.status == 0, fitted.err
    figures = fitted.json
    assert figures["documents"] == 90
    assert figures["count"] == len(figures["topics"]) >= 2
    assert sum(topic["size"] for topic in figures["topics"]) + figures["outliers"] == 90
    vocabulary = set(" ".join(lab.THEMES.values()).split())
    for topic in figures["topics"]:
        words = {entry["word"] for entry in topic["words"]}
        assert len(words & vocabulary) >= 5
        assert topic["examples"]

    assert moee("topics", "show", table, "--json").json == figures
    shown = moee("topics", "show", table)
    assert f"{figures['count']} topics over 90 documents" in shown.out
    one = moee("topics", "show", table, 0)
    assert one.out.startswith(f"topic 0: {figures['topics'][0]['label']}\n")
    assert moee("topics", "show", table, 0, "--json").json["size"] == figures["topics"][0]["size"]
    missing = moee("topics", "show", table, 99)
    assert missing.status == 1
    assert "has no topic 99" in missing.error
    topics = moee("inspect", table, "--json").json["topics"]
    assert (topics["topics"], topics["documents"]) == (figures["count"], 90)


def test_wrong_calls_of_a_fit_leave_no_topics(moee, news, table):
    for arguments, what in (
        (["--recipe", "kmeans"], "there are exact, pca, evoc"),
        (["--truth", "colour"], "has no column 'colour'; it has id"),
        (["--min-size", 1], "a topic needs at least 2 documents"),
    ):
        outcome = moee("topics", "fit", table, "--no-keywords", *arguments)
        assert (outcome.status, what in outcome.error) == (2, True), outcome.err
    assert moee("topics", "show", table).status == 1


def test_topics_before_they_are_fitted(moee, news):
    outcome = moee("topics", "show", news.table, "--json")
    assert (outcome.status, outcome.out) == (1, "")
    assert "fit them first (moee topics fit)" in outcome.error
