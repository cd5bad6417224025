"""The metrics of a real run on Ray, scraped twice from where Prometheus scrapes them."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass

import pytest

from pipeline import embed
from pipeline.flow import options, plan
from pipeline.flow.engines.base import Replicas
from pipeline.flow.progress import Quiet
from pipeline.flow.watching import ray_metrics
from pipeline.metrics import JOB, RAY_PREFIX

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NEVER = {"moee_worker_deaths_total"}
"""What a run without trouble does not count; Ray exports no counter that is zero."""


LATE = {name for name in JOB if "commit" in name or "reject" in name or "swap" in name or "documents" in name}
"""What may come with the last commit."""


@dataclass(frozen=True)
class Scraped:
    """A run, and the series of two scrapes."""

    report: object
    first: dict
    second: dict

    def of(self, name, scrape=None):
        """Labels and value of the run's series by that name."""
        found = [(json.loads(labels), value) for (each, labels), value in (scrape or self.second).items()
                 if each == f"{RAY_PREFIX}{name}"]  # fmt: skip
        return [(labels, value) for labels, value in found if labels["run"] == self.report.run]


@pytest.fixture(scope="module")
def promql(load):
    return load("promql.py")


def url():
    import ray

    (node,) = ray.nodes()
    return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


def scrape():
    with urllib.request.urlopen(url(), timeout=10) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def corpus(lab, tmp_path_factory):
    rows = [*lab.documents(80), {"id": "secret-id", "text": "", "theme": "none"}, lab.documents(1)[0]]
    return lab.write(tmp_path_factory.mktemp("metrics") / "secret-place.parquet", rows)


@pytest.fixture(scope="module")
def scraped(ray_cluster, lab, promql, stub, stub_model, corpus):
    """A run with a reject of a text, one of an id, and a commit that another writer wins."""
    from pipeline.flow.engines.ray_engine import RayEngine
    from pipeline.table.commit import committer

    real, lost = committer.swap, []

    def swap(*given):
        if not lost:
            lost.append(given)
            return False
        return real(*given)

    scrapes = []

    class Slow(Quiet):
        def advance(self, rows, tokens, rejects):
            time.sleep(0.4)
            scrapes.append(promql.series(scrape()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(committer, "swap", swap)
        patch.setattr(options, "SLICE_ROWS", 4)
        patch.setattr(plan, "MAX_ROWS", 4)
        patch.setattr(ray_metrics, "SHOW_SECONDS", 0.1)
        report = embed(
            str(corpus),
            str(corpus.parent / "lake" / "docs"),
            {"model": stub_model, "max_tokens": 24, "pooling": "last"},
            engine=stub.planted(RayEngine(Replicas(1, 1))),
            listener=Slow(),
            commit_seconds=1.0,
        )
    return Scraped(report, *two_scrapes(promql, scrapes, report))


def two_scrapes(promql, scrapes, report):
    """One while the run was under way, and one with all that it counted."""
    wanted = {(f"{RAY_PREFIX}moee_documents_total", report.documents), (f"{RAY_PREFIX}moee_uncommitted_rows", 0)}
    for _ in range(100):
        last = promql.series(scrape())
        if wanted <= {(name, value) for (name, labels), value in last.items() if report.run in labels}:
            break
        time.sleep(0.3)
    return next(each for each in reversed(scrapes) if any(report.run in labels for _, labels in each)), last


def test_every_metric_of_a_job_is_exported_with_its_labels_and_those_of_ray(scraped):
    for name, metric in JOB.items():
        for series in metric.series:
            found = scraped.of(series)
            assert found or name in NEVER, series
            for labels, _ in found:
                assert {*metric.labels, "run", "SessionName"} <= labels.keys(), series


def test_the_figures_are_those_of_the_run(scraped):
    def value(name):
        return sum(value for _, value in scraped.of(name))

    assert (value("moee_rows_read_total"), value("moee_documents_total")) == (82, 80)
    assert value("moee_tokens_total") == scraped.report.tokens
    assert value("moee_swap_retries_total") == 1
    assert value("moee_commit_duration_seconds_count") == value("moee_commits_total") > 1
    assert value("moee_uncommitted_rows") == 0
    reasons = {labels["reason"]: value for labels, value in scraped.of("moee_rejects_total")}
    assert reasons == {"empty": 1, "duplicate id": 1}
    assert 0 < sum(value for _, value in scraped.of("moee_rows_read_total", scraped.first)) <= 82


def test_no_label_tells_of_texts_ids_or_places(scraped):
    told = {label: value for name in JOB for labels, _ in scraped.of(name) for label, value in labels.items()}
    assert not any("secret" in value or "://" in value or "/" in value for value in told.values()), told


def test_every_selector_of_the_dashboard_matches_a_series_in_both_scrapes(scraped, promql):
    for expression in promql.JOB:
        for selector in promql.selectors(expression):
            name = selector.name.removeprefix(RAY_PREFIX)
            for scrape in [scraped.second] if name in LATE else [scraped.first, scraped.second]:
                found = [(name, json.loads(labels)) for name, labels in scrape]
                assert name in NEVER or any(selector.selects(series) for series in found), selector


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)")
@pytest.mark.slow
def test_prometheus_evaluates_every_panel(scraped, promql, tmp_path, lab, stub, stub_model, corpus):
    """It scrapes while another run is under way; every panel has data then, but for what only trouble brings."""
    from pipeline.flow.engines.ray_engine import RayEngine

    target = urllib.parse.urlsplit(url()).netloc
    job = {"job_name": "ray", "scrape_interval": "1s", "static_configs": [{"targets": [target]}]}
    (tmp_path / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))
    port = free_port()
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    server = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], cwd=tmp_path,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(options, "SLICE_ROWS", 4)
            patch.setattr(plan, "MAX_ROWS", 4)
            embed(
                str(corpus),
                str(tmp_path / "lake" / "docs"),
                {"model": stub_model, "max_tokens": 24, "pooling": "last"},
                engine=stub.planted(RayEngine(Replicas(1, 1)), 0.15),
                commit_seconds=1.0,
            )
        empty = [expression for expression in promql.JOB if not evaluated(port, promql.filled_in(expression))]
    finally:
        server.terminate()
        server.wait()
    assert all("deaths" in expression or "swap_retries" in expression for expression in empty), empty


def free_port():
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def evaluated(port, expression):
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=30) as answer:
        told = json.load(answer)
    assert told["status"] == "success", told
    return told["data"]["result"]
