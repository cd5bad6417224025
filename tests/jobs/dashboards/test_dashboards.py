from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from jobs.dashboards.alerts import rule_file
from jobs.dashboards.dashboard import dashboard
from jobs.dashboards.panels import JOB_PANELS, SERVICE_PANELS
from pipeline.metrics import JOB, RAY_PREFIX, SERVICE

ROOT = Path(__file__).parents[3]
OF_RAY = {"SessionName", "run"}
"""Labels that every metric of a job has besides its own."""


@pytest.fixture(scope="session")
def promql(load):
    return load("promql.py")


def exported():
    """Name of a series → the labels that it has."""
    job = {f"{RAY_PREFIX}{name}": {*metric.labels, *OF_RAY} for metric in JOB.values() for name in metric.series}
    service = {name: set(metric.labels) for metric in SERVICE.values() for name in metric.series}
    return {
        name: {*labels, "le"} if name.endswith("_bucket") else labels for name, labels in {**job, **service}.items()
    }


def test_every_expression_asks_for_series_that_are_exported_with_labels_that_they_have(promql):
    there = exported()
    for expression in promql.ALL:
        found = promql.selectors(expression)
        assert found, expression
        for selector in found:
            assert selector.name in there, expression
            assert {label for label, _ in selector.labels} <= there[selector.name], expression
        labels = set.union(*(there[selector.name] for selector in found))
        assert promql.grouped_by(expression) <= labels, expression


def test_every_metric_is_shown(promql):
    shown = {selector.name for panels in (JOB_PANELS, SERVICE_PANELS) for expression in promql.expressions(panels)
             for selector in promql.selectors(expression)}  # fmt: skip
    names = {f"{RAY_PREFIX}{name}": metric for name, metric in JOB.items()} | SERVICE
    assert {name for name, metric in names.items() if not any(part.startswith(name) for part in shown)} == set()


def test_a_legend_names_labels_that_the_expression_keeps(promql):
    for panel in (*JOB_PANELS, *SERVICE_PANELS):
        for expression, legend in panel.expressions:
            assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= promql.grouped_by(expression), panel.title


def test_a_name_that_nobody_exports_would_be_found(promql):
    (selector,) = promql.selectors('rate(ray_moee_row_read_total{run=~"$run"}[$__rate_interval])')
    assert selector.name not in exported()
    with pytest.raises(ValueError, match="expected type"):
        promql.parsed("rate(ray_moee_rows_read_total)")


def test_panels_do_not_overlap_and_no_datasource_is_fixed():
    panels = dashboard()["panels"]
    cells = [cell for panel in panels for cell in cells_of(**panel["gridPos"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    text = json.dumps(dashboard())
    assert text.count('"type": "prometheus"') == text.count('"uid": "${datasource}"')


def cells_of(x, y, w, h):
    return [(column, row) for column in range(x, x + w) for row in range(y, y + h)]


RULES_TEST = {
    "rule_files": ["alerts.yaml"],
    "evaluation_interval": "1m",
    "tests": [
        {
            "interval": "1m",
            "input_series": [
                {"series": 'ray_moee_rows_read_total{SessionName="s", run="stuck", WorkerId="w"}', "values": "7+0x60"},
                {"series": 'ray_moee_rows_read_total{SessionName="s", run="well", WorkerId="v"}', "values": "0+9x60"},
                {"series": 'ray_moee_rejects_total{SessionName="s", run="well", reason="empty"}', "values": "0+3x60"},
                {"series": 'ray_moee_ledger_lag_seconds{SessionName="s", run="well"}', "values": "1x60"},
            ],
            "alert_rule_test": [
                {
                    "eval_time": "50m",
                    "alertname": name,
                    "exp_alerts": [{"exp_labels": {"severity": how, "SessionName": "s", "run": run}} for run in runs],
                }
                for name, how, runs in (
                    ("MoeeRunStalled", "critical", ["stuck"]),
                    ("MoeeManyRejects", "warning", ["well"]),
                    ("MoeeLedgerBehind", "warning", []),
                )
            ],
        }
    ],
}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_takes_the_rules_and_they_fire_when_they_should(tmp_path):
    rules = rule_file()
    for rule in rules["groups"][0]["rules"]:
        rule.pop("annotations")  # promtool would compare the texts
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rules))
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(RULES_TEST))
    for command in (["check", "rules", str(ROOT / "infra/prometheus/alerts.yaml")], ["test", "rules", "test.yaml"]):
        done = subprocess.run(["promtool", *command], check=False, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
