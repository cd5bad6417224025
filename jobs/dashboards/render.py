"""``python -m jobs.dashboards.render DIRECTORY``: write the dashboard and the alert rules below a directory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from jobs.dashboards.alerts import rule_file
from jobs.dashboards.dashboard import dashboard

__all__ = ["rendered"]


def rendered() -> dict[str, str]:
    """Path below ``infra/`` → text."""
    rules = yaml.safe_dump(rule_file(), sort_keys=False, width=120, allow_unicode=True)
    return {
        "grafana/moee.json": json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n",
        "prometheus/alerts.yaml": f"# Made by `make dashboards`; change jobs/dashboards/alerts.py instead.\n{rules}",
    }


def main() -> None:
    """Write them below the directory that is given."""
    for path, text in rendered().items():
        target = Path(sys.argv[1], path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
