"""The Grafana dashboard, as JSON that Grafana 9 and later import: a row for jobs, a row for the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jobs.dashboards.panels import JOB_PANELS, SERVICE_PANELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobs.dashboards.panels import Panel

__all__ = ["dashboard"]

SCHEMA_VERSION: Final = 39
WIDTH: Final = 8
HEIGHT: Final = 7
"""Of a panel, in Grafana's grid, which is 24 wide."""

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    panels: list[dict[str, Any]] = []
    for title, shown in (("Jobs on Ray", JOB_PANELS), ("Service", SERVICE_PANELS)):
        top = max((panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels), default=0)
        panels += _row(title, shown, top)
    for number, panel in enumerate(panels, start=1):
        panel["id"] = number
    return {
        "uid": "moee",
        "title": "MoEE: embedding jobs and service",
        "tags": ["moee"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": list(_variables())},
        "panels": panels,
    }


def _row(title: str, shown: Sequence[Panel], top: int) -> list[dict[str, Any]]:
    header = {"type": "row", "title": title, "collapsed": False, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}}
    per_line = 24 // WIDTH
    places = [(WIDTH * (at % per_line), top + 1 + HEIGHT * (at // per_line)) for at in range(len(shown))]
    return [header, *(_panel(panel, x, y) for panel, (x, y) in zip(shown, places, strict=True))]


def _panel(panel: Panel, x: int, y: int) -> dict[str, Any]:
    stacking = {"mode": "normal" if panel.stacked else "none"}
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.says,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": {"fillOpacity": 20 if panel.stacked else 0, "stacking": stacking},
            },
            "overrides": [],
        },
        "options": {"tooltip": {"mode": "multi"}, "legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for at, (expression, legend) in enumerate(panel.expressions)
        ],
    }


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    yield _choice("SessionName", "Ray session", "label_values(ray_moee_rows_read_total, SessionName)")
    yield _choice("run", "Run", 'label_values(ray_moee_rows_read_total{SessionName=~"$SessionName"}, run)')
    yield _choice("table", "Table", "label_values(moee_table_rows, table)")


def _choice(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }
