"""The dashboard and the alert rules, made from the registry of metrics: `moee infra render` writes them."""
