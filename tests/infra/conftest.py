from __future__ import annotations

import pytest
import yaml

from jobs.infra.render import render
from jobs.infra.values import Values

VARIANTS = {
    "defaults": {},
    "eks": {"provider": "eks", "environment_secret": None, "service_account": "lake-writer"},
    "karpenter": {"provider": "karpenter", "embed": {"market": "gpu", "retries": 0}, "serve": {"replica_gpus": 1}},
    "aks": {"provider": "aks", "model_cache": {"claim": "models"}, "revision": "main", "model": "org/a-model"},
    "own": {
        "name": "a" * 30,
        "namespace": "own",
        "table": "gs://lake/docs",
        "cpu": {"node_selector": {"pool": "cpus"}},
        "spot": {"gpus": 8, "node_selector": {"accelerator": "h100"}},
        "embed": {"sources": ["gs://a/*.parquet", "hf://datasets/b"], "arguments": ["--keep", "the year", "--dedup"]},
        "network": {"clients": [], "submitters": ["notebooks"]},
        "aws": {"image": "ami-0", "instance_profile": "arn:aws:iam::1:instance-profile/lake"},
        "gcp": {"service_account": "lake@example-project.iam.gserviceaccount.com"},
    },
}


@pytest.fixture(scope="session", params=VARIANTS)
def values(request):
    """Values of different installations."""
    return Values.model_validate(VARIANTS[request.param])


@pytest.fixture(scope="session")
def files(values):
    """Path → text of everything that is rendered from `values`."""
    return render(values)


@pytest.fixture(scope="session")
def manifests(files):
    """All of Kubernetes' and KubeRay's resources; no test changes them."""
    texts = [text for path, text in files.items() if path.startswith("kubernetes/") and path.endswith(".yaml")]
    return [document for text in texts for document in yaml.load_all(text, yaml.CSafeLoader)]


@pytest.fixture(scope="session")
def default_files():
    return render(Values())
