"""When somebody should look: alert rules for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["ALERTS", "Alert", "rule_file"]


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule."""

    name: str
    expression: str
    lasting: str
    """For how long it must hold."""
    severity: Literal["critical", "warning", "info"]
    summary: str
    what_to_do: str


def _increase(name: str, labels: str = "") -> str:
    return f"sum by (SessionName, run) (increase(ray_{name}{labels}[15m]))"


_STARVED: Final = _increase("moee_replica_waiting_seconds_total", '{waits_for="input"}')
_BUSY: Final = _increase("moee_stage_seconds_total", '{stage="replicas"}')

ALERTS: Final = (
    Alert(
        "MoeeRunStalled",
        f"{_increase('moee_rows_read_total')} == 0",
        "15m",
        "critical",
        "Run {{ $labels.run }} has read nothing for half an hour",
        "See what it is at: moee inspect TABLE --watch. Stopping it and running the same command again loses nothing.",
    ),
    Alert(
        "MoeeWorkersDie",
        f"{_increase('moee_worker_deaths_total')} > 3",
        "0m",
        "warning",
        "Workers of run {{ $labels.run }} die",
        "Too little memory, or documents that kill: moee inspect TABLE --rejects names those in quarantine.",
    ),
    Alert(
        "MoeeManyRejects",
        f"{_increase('moee_rejects_total')} / {_increase('moee_rows_read_total')} > 0.1",
        "15m",
        "warning",
        "Run {{ $labels.run }} rejects more than a tenth of its input",
        "moee inspect TABLE --rejects says why; --max-rejects stops such a run.",
    ),
    Alert(
        "MoeeLedgerBehind",
        "max by (SessionName, run) (ray_moee_ledger_lag_seconds) > 600",
        "5m",
        "warning",
        "What run {{ $labels.run }} has made waits for its commit for more than ten minutes",
        "The storage is slow or refuses: look at the seconds of commits, and at the run's log.",
    ),
    Alert(
        "MoeeCommitsContended",
        f"{_increase('moee_swap_retries_total')} > 20",
        "0m",
        "warning",
        "Commits of run {{ $labels.run }} meet those of others",
        "Another program writes into the table. Nothing is lost, but commits take longer.",
    ),
    Alert(
        "MoeeReplicasStarve",
        f"{_STARVED} / ({_STARVED} + {_BUSY}) > 0.5",
        "30m",
        "info",
        "Replicas of run {{ $labels.run }} wait for input half of their time",
        "Read and tokenize with more CPUs, or take fewer replicas.",
    ),
    Alert(
        "MoeeServiceFails",
        'sum(rate(moee_requests_total{status=~"5.."}[5m])) / sum(rate(moee_requests_total[5m])) > 0.05',
        "5m",
        "critical",
        "More than one in twenty requests fails",
        "The service's log says why; /readyz tells whether its tables can be opened.",
    ),
    Alert(
        "MoeeServiceSlow",
        "histogram_quantile(0.95, sum by (route, le) (rate(moee_request_seconds_bucket[5m]))) > 5",
        "10m",
        "warning",
        "One in twenty requests of {{ $labels.route }} takes more than five seconds",
        "moee index TABLE joins small fragments and brings indexes up to date; then more replicas of the service.",
    ),
    Alert(
        "MoeeTopicsBehind",
        'max by (table) (moee_topic_documents{state="waiting"}) / sum by (table) (moee_topic_documents) > 0.2',
        "1d",
        "info",
        "A fifth of the documents of {{ $labels.table }} waits for its topics",
        "moee topics refresh TABLE, or moee embed … --then topics.",
    ),
)


def rule_file() -> dict[str, Any]:
    """All of them, as a file of Prometheus's rules."""
    rules = [
        {
            "alert": alert.name,
            "expr": alert.expression,
            "for": alert.lasting,
            "labels": {"severity": alert.severity},
            "annotations": {"summary": alert.summary, "description": alert.what_to_do},
        }
        for alert in ALERTS
    ]
    return {"groups": [{"name": "moee", "rules": rules}]}
