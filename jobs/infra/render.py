"""All files of an installation, made from values: which there are, what each is for, and their text."""

from __future__ import annotations

import json
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any, Final

import yaml

from jobs.dashboards.alerts import rule_file
from jobs.dashboards.dashboard import dashboard
from jobs.infra import kuberay, kubernetes, machines
from jobs.infra.values import VERSION, documented

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobs.infra.values import Values

__all__ = ["FILES", "render", "write"]

_CPU_TORCH: Final = "https://download.pytorch.org/whl/cpu"
"""Builds of torch without CUDA. Those of the usual index bring CUDA's libraries with them."""


def render(values: Values) -> dict[str, str]:
    """Path → text of every file.

    Raises:
        UsageError: a command that would stand in them is none.
    """
    rendered = {path: make(values) for path, make in FILES.items()}
    return {path: text for path, text in rendered.items() if text is not None}


def write(files: dict[str, str], folder: Path) -> list[str]:
    """Write `files` below `folder`, remove those of an earlier rendering that are none now; the paths that changed."""
    changed: list[str] = []
    for path in FILES:
        file, text = folder / path, files.get(path)
        if text == (file.read_text(encoding="utf-8") if file.is_file() else None):
            continue
        changed.append(path)
        if text is None:
            file.unlink()
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    return changed


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: texts of several lines as blocks, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _manifest(about: str, make: Callable[[Values], Any]) -> Callable[[Values], str | None]:
    """A file of the resources that `make` gives: one, several, or None for no file."""

    def text(values: Values) -> str | None:
        made = make(values)
        if made is None:
            return None
        documents = made if isinstance(made, list) else [made]
        return _headed(about) + yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)

    return text


def _file(name: str, about: str, **fields: str) -> Callable[[Values], str]:
    """A file of `files/` with ``@@name`` replaced."""

    def text(values: Values) -> str:
        template = _Marked(resources.files("jobs.infra").joinpath("files", name).read_text(encoding="utf-8"))
        return template.substitute(
            about=_headed(about).rstrip(),
            version=VERSION,
            namespace=values.namespace,
            ray_token_secret=values.ray_token_secret,
            environment_secret=values.environment_secret or "",
            serve_secret=values.serve.secret,
            **fields,
        )

    return text


class _Marked(Template):
    delimiter = "@@"


def _headed(about: str) -> str:
    return f"# {about}\n# Made by `moee infra render`: change the values, not this file.\n"


FILES: Final[dict[str, Callable[[Values], str | None]]] = {
    "values.yaml": documented,
    "images/cpu.Containerfile": _file(
        "Containerfile", "The image of heads, of CPU workers and of the service.", torch_index=_CPU_TORCH
    ),
    "images/cuda.Containerfile": _file("Containerfile", "The image of GPU workers.", torch_index=""),
    "kubernetes/namespace.yaml": _manifest("The namespace, with pod security.", kubernetes.namespace),
    "kubernetes/secrets.sh": _file("secrets.sh", "Makes the secrets that are not there yet, in the namespace."),
    "kubernetes/network.yaml": _manifest("Who reaches the pods: nobody else does.", kubernetes.network_policies),
    "kubernetes/models.yaml": _manifest("Fetches the model onto the shared claim.", kubernetes.fetch_model),
    "kubernetes/cluster.yaml": _manifest("The standing cluster, for `moee submit`.", kuberay.standing_cluster),
    "kubernetes/embed.yaml": _manifest("Embeds, on a cluster that comes and goes with it.", kuberay.embed_job),
    "kubernetes/index.yaml": _manifest("Builds the indexes.", kuberay.index_job),
    "kubernetes/topics.yaml": _manifest("Refreshes the topics once.", kuberay.refresh_job),
    "kubernetes/refresh.yaml": _manifest("Refreshes the topics by the clock.", kubernetes.timed_refresh),
    "kubernetes/serve.yaml": _manifest("The HTTP service and its page.", kuberay.service),
    "kubernetes/metrics.yaml": _manifest("Tells Prometheus where the metrics are.", kubernetes.pod_monitor),
    "prometheus/alerts.yaml": _manifest("Alert rules for Prometheus.", lambda _: rule_file()),
    "grafana/moee.json": lambda _: json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n",
    "machines/aws.yaml": _manifest("A cluster of machines of AWS: ray up.", machines.aws),
    "machines/gcp.yaml": _manifest("A cluster of machines of GCP: ray up.", machines.gcp),
}
"""In the order in which one installs them."""
