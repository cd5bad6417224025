"""What tests of metrics and of the dashboard ask: the selectors of a PromQL expression, the series of a scrape."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

from jobs.dashboards.alerts import ALERTS
from jobs.dashboards.panels import JOB_PANELS, SERVICE_PANELS

CHILDREN = ("expr", "lhs", "rhs", "param", "vector_selector")


@dataclass(frozen=True)
class Selector:
    """A series that an expression asks for: its name, and label → pattern."""

    name: str
    labels: tuple[tuple[str, str], ...]

    def selects(self, series):
        name, labels = series
        return name == self.name and all(re.fullmatch(pattern, labels.get(label, "")) for label, pattern in self.labels)


def filled_in(expression):
    """Grafana's variables as Grafana fills them in when everything is chosen."""
    return re.sub(r"\$(SessionName|run|table)\b", ".*", expression.replace("$__rate_interval", "1m"))


def parsed(expression):
    return promql_parser.parse(filled_in(expression))


def walk(node):
    yield node
    for child in [*(getattr(node, name, None) for name in CHILDREN), *getattr(node, "args", [])]:
        if child is not None:
            yield from walk(child)


def selectors(expression):
    nodes = [node for node in walk(parsed(expression)) if isinstance(node, promql_parser.VectorSelector)]
    return [Selector(node.name, tuple((each.name, each.value) for each in node.matchers.matchers)) for node in nodes]


def grouped_by(expression):
    """The labels by which aggregates of an expression group."""
    nodes = [node for node in walk(parsed(expression)) if isinstance(node, promql_parser.AggregateExpr)]
    return {label for node in nodes if node.modifier is not None for label in node.modifier.labels}


def expressions(panels):
    return [expression for panel in panels for expression, _ in panel.expressions]


JOB = expressions(JOB_PANELS)
ALL = [*JOB, *expressions(SERVICE_PANELS), *(alert.expression for alert in ALERTS)]


def series(text):
    """A scrape as (name, labels) → value."""
    return {
        (sample.name, json.dumps(sample.labels, sort_keys=True)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
