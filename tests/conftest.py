"""What all tests share: quiet libraries, few threads, one tiny float32 encoder."""

from __future__ import annotations

import logging
import os

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import pytest


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
def encoder():
    """The built-in model in float32 with the paper's prompt and pooling; float32 compares to rounding."""
    from pipeline import EmbeddingSpec, Encoder

    return Encoder(EmbeddingSpec(dtype="float32", prompt="prompteol", pooling="last", alpha=1.0), device="cpu")


@pytest.fixture(scope="session")
def assert_same_vectors():
    """Two lists of vectors are the same to float32's rounding.

    One dimension of `encoder` varies by 1e-4 of its mean, so that calibration makes 1e-4 of a last bit: single
    elements may differ by that much, cosines by its square.
    """

    def check(made, expected):
        made, expected = np.atleast_2d(made), np.atleast_2d(expected)
        assert made.shape == expected.shape
        assert (np.einsum("nd,nd->n", made, expected) > 1 - 1e-6).all()

    return check


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
