"""What the dashboard shows: its panels, each with its expressions.

Counters restart with every driver, so they are always shown as rates or increases, summed over what Ray adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["JOB_PANELS", "SERVICE_PANELS", "Panel"]

TABLE: Final = '{table=~"$table"}'


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel."""

    title: str
    says: str
    """What one learns from it."""
    expressions: tuple[tuple[str, str], ...]
    """Pairs of PromQL and legend."""
    unit: str = "short"
    """Of Grafana."""
    stacked: bool = False


def _rate(name: str, by: str = "run", more: str = "") -> str:
    return f"sum by ({by}) (rate(ray_{name}{_selected(more)}[$__rate_interval]))"


def _increase(name: str) -> str:
    return f"sum by (run) (increase(ray_{name}{_selected()}[$__rate_interval]))"


def _gauge(name: str, by: str = "run") -> str:
    return f"max by ({by}) (ray_{name}{_selected()})"


def _quotient(part: str, whole: str) -> str:
    return f"{_rate(part)} / {_rate(whole)}"


def _selected(more: str = "") -> str:
    return f'{{SessionName=~"$SessionName", run=~"$run"{more}}}'


def _service_rate(name: str, by: str = "") -> str:
    return f"sum by ({by}) (rate({name}[$__rate_interval]))"


def _mean(name: str, by: str = "") -> str:
    return f"{_service_rate(f'{name}_sum', by)} / {_service_rate(f'{name}_count', by)}"


_STARVED: Final = _rate("moee_replica_waiting_seconds_total", more=', waits_for="input"')
_BUSY: Final = _rate("moee_stage_seconds_total", more=', stage="replicas"')

JOB_PANELS: Final = (
    Panel(
        "Documents and rows",
        "Rows that are read, and documents that are committed. Commits come in steps.",
        ((_rate("moee_rows_read_total"), "read {{run}}"), (_rate("moee_documents_total"), "committed {{run}}")),
        "ops",
    ),
    Panel(
        "Tokens",
        "Tokens that are embedded: the rate that replicas bound.",
        ((_rate("moee_tokens_total"), "{{run}}"),),
        "ops",
    ),
    Panel(
        "Done",
        "Share of the planned rows that have been read; no data where the plan has streams, whose rows are not known.",
        ((f"{_gauge('moee_rows_read_total')} / ({_gauge('moee_rows_planned')} > 0)", "{{run}}"),),
        "percentunit",
    ),
    Panel(
        "What is waited for",
        "Share of the time for which a stage's workers are at work. The highest one bounds the rate.",
        ((_gauge("moee_stage_load", "run, stage"), "{{stage}} {{run}}"),),
        "percentunit",
    ),
    Panel(
        "Seconds by stage",
        "Workers at work in each stage, on average.",
        ((_rate("moee_stage_seconds_total", "run, stage"), "{{stage}} {{run}}"),),
        stacked=True,
    ),
    Panel(
        "Replicas",
        "Replicas that are busy, that wait for input, that wait until their output is taken; how many there can be.",
        (
            (_BUSY, "busy {{run}}"),
            (_rate("moee_replica_waiting_seconds_total", "run, waits_for"), "waits for {{waits_for}} {{run}}"),
            (_gauge("moee_replicas"), "at most {{run}}"),
        ),
    ),
    Panel(
        "Starved replicas",
        "Share of their time for which replicas wait for input. Above a half, read and tokenize with more CPUs.",
        ((f"{_STARVED} / ({_STARVED} + {_BUSY})", "{{run}}"),),
        "percentunit",
    ),
    Panel(
        "Fill of batches",
        "Tokens in a batch, of those for which it had room.",
        ((_quotient("moee_batch_tokens_total", "moee_batch_room_tokens_total"), "{{run}}"),),
        "percentunit",
    ),
    Panel("Batches", "Batches that replicas compute.", ((_rate("moee_batches_total"), "{{run}}"),), "ops"),
    Panel(
        "Rejects",
        "Rejected documents, by reason.",
        ((_rate("moee_rejects_total", "run, reason"), "{{reason}} {{run}}"),),
        "ops",
        stacked=True,
    ),
    Panel(
        "Commits",
        "How long commits take: the 95th percentile, and the mean.",
        (
            (
                f"histogram_quantile(0.95, {_rate('moee_commit_duration_seconds_bucket', 'run, le')})",
                "95 % {{run}}",
            ),
            (_quotient("moee_commit_seconds_total", "moee_commits_total"), "mean {{run}}"),
        ),
        "s",
    ),
    Panel(
        "Ledger",
        "Rows that wait for a commit, and for how long the oldest one has.",
        (
            (_gauge("moee_uncommitted_rows"), "rows {{run}}"),
            (_gauge("moee_ledger_lag_seconds"), "seconds {{run}}"),
        ),
    ),
    Panel("Staged bytes", "Data files that are written.", ((_rate("moee_staged_bytes_total"), "{{run}}"),), "Bps"),
    Panel(
        "Trouble",
        "Commits that other writers won, and deaths of workers.",
        (
            (_increase("moee_swap_retries_total"), "commits tried again {{run}}"),
            (_increase("moee_worker_deaths_total"), "deaths {{run}}"),
        ),
    ),
    Panel("Start-up", "Seconds until the first replica began.", ((_gauge("moee_startup_seconds"), "{{run}}"),), "s"),
)

SERVICE_PANELS: Final = (
    Panel(
        "Requests",
        "Requests by route and status.",
        ((_service_rate("moee_requests_total", "route, status"), "{{route}} {{status}}"),),
        "reqps",
    ),
    Panel(
        "Time of a request",
        "The 95th percentile and the mean.",
        (
            (
                f"histogram_quantile(0.95, {_service_rate('moee_request_seconds_bucket', 'route, le')})",
                "95 % {{route}}",
            ),
            (_mean("moee_request_seconds", "route"), "mean {{route}}"),
        ),
        "s",
    ),
    Panel("Being answered", "Requests that are being answered.", (("sum(moee_requests_active)", "requests"),)),
    Panel(
        "Queries encoded together",
        "Mean size of a batch of queries.",
        ((_mean("moee_query_batch_size"), "queries"),),
    ),
    Panel("Rows", "Rows of a table's newest version.", ((f"max by (table) (moee_table_rows{TABLE})", "{{table}}"),)),
    Panel("Versions", "A table's newest version.", ((f"max by (table) (moee_table_version{TABLE})", "{{table}}"),)),
    Panel(
        "Topics",
        "Documents in a topic, in none, and waiting for the next refresh.",
        ((f"max by (table, state) (moee_topic_documents{TABLE})", "{{table}} {{state}}"),),
        stacked=True,
    ),
)
