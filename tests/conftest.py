"""What all tests share: quiet libraries, few threads, one loader, one Ray cluster, one tiny float32 encoder."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import os
import re
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent

_CACHE = tempfile.TemporaryDirectory(prefix="moee-cache-")
os.environ["MOEE_CACHE"] = _CACHE.name  # no test sees what other code has computed before

# How long an example takes says how busy the machine is.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


SCREENSHOTS = TESTS.parent / "build" / "screenshots"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where a test with a browser fails, what that shows is kept, and the report says where."""
    report = yield
    browser = getattr(item, "funcargs", {}).get("browser")
    if browser is not None and report.when == "call" and report.failed:
        with contextlib.suppress(AssertionError, OSError):  # there may be no browser any more
            picture = SCREENSHOTS / f"{re.sub('[^a-z0-9]+', '-', item.name.lower())}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(browser.png())
            report.sections.append(("screenshot", str(picture)))
    return report


@pytest.fixture(scope="session")
def load():
    """Load a file of this folder, by its path in it: test folders are not packages, so nothing in them can be imported.

    Each is loaded once, under a name of its own: ``flow/lab.py`` is ``flow_lab``.
    """

    def load(path):
        name = "_".join(Path(path).with_suffix("").parts)
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, TESTS / path)
            sys.modules[name] = module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return sys.modules[name]

    return load


@pytest.fixture(scope="session")
def lab(load):
    """What the tests of the job and of the commands share; those of the table have `table_lab`."""
    return load("flow/lab.py")


@pytest.fixture(scope="session")
def ray_cluster(lab):
    """The cluster of this session."""
    yield from lab.one_cluster()


@pytest.fixture(autouse=True)
def own_logging():
    """A command that is run inside a test sets up logging for a process of its own: undone for the next test."""
    loggers = [logging.getLogger(name) for name in (None, "pipeline", "jobs")]
    kept = [(logger, list(logger.handlers), logger.level) for logger in loggers]
    yield
    for logger, handlers, level in kept:
        logger.handlers[:] = handlers
        logger.setLevel(level)


@pytest.fixture(scope="session")
def endpoint():
    """URL of a real S3 API on this machine, one for all tests, which take buckets of their own."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def encoder():
    """The built-in model in float32 with the paper's prompt and pooling; float32 compares to rounding.

    In this setting one dimension deviates by 1e-4 of its mean, the others by 2e-3 and more: z-scored, a last bit of it
    is 1e-4 of a vector. For the tests it deviates by as much as the others.
    """
    from pipeline import EmbeddingSpec, Encoder

    made = Encoder(EmbeddingSpec(dtype="float32", prompt="prompteol", pooling="last", alpha=1.0), device="cpu")
    usual = made.calibration
    least = np.maximum(usual.hidden_deviation, 2e-3 * np.abs(usual.hidden_mean))
    return Encoder(made.spec, device="cpu", calibration=dataclasses.replace(usual, hidden_deviation=least))


@pytest.fixture(scope="session")
def texts():
    """Texts of every kind and length: words, sentences, quotes, underscores, other scripts, long ones."""
    from pipeline.models import reference_texts

    passages = reference_texts()[:40]
    odd = [
        "a",
        'She said "no".',
        "snake_case_name",
        "שלום עולם",
        "emoji 😀 text",
        "tabs\tand\nlines",
        " ".join(passages),
    ]
    return passages + odd
