"""The dashboard and the alert rules, made from the registry of metrics: `python -m jobs.dashboards.render`."""
