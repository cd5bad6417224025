"""A small corpus with known groups: five subjects, each with its own words and its own direction in the space."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import lance
import numpy as np
import pyarrow as pa
import pytest

from pipeline.topics import fit_topics

DIMENSION = 24
SUBJECTS = {
    "space": "orbit rocket moon shuttle launch satellite nasa planet lunar telescope",
    "motors": "engine car brake tyre gear wheel oil driver road clutch",
    "faith": "church god prayer bible priest gospel saint heaven psalm soul",
    "chips": "keyboard disk driver memory windows scsi printer monitor cable mouse",
    "health": "doctor patient drug vitamin disease clinic nurse fever therapy blood",
    "garden": "tulip soil compost seed shovel rose greenhouse bulb hedge mulch",
}
SIZES = {"space": 110, "motors": 95, "faith": 80, "chips": 70, "health": 60}


def pytest_collection_modifyitems(items):
    # umap announces that it does without Tensorflow, at its first import.
    quiet = pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")
    for item in items:
        if "topics" in item.path.parts:
            item.add_marker(quiet)


def corpus(sizes, *, seed=0, prefix=""):
    """Documents of each subject; the same seed and prefix give the same documents."""
    directions = np.random.default_rng(99).normal(size=(len(SUBJECTS), DIMENSION))
    ids, texts, vectors = [], [], []
    for subject, size in sizes.items():
        rng = np.random.default_rng([seed, *subject.encode()])
        rows = directions[list(SUBJECTS).index(subject)] + rng.normal(scale=0.25, size=(size, DIMENSION))
        vectors.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        texts += [" ".join(["the", *rng.choice(SUBJECTS[subject].split(), 8)]) for _ in range(size)]
        ids += [f"{prefix}{subject}-{row}" for row in range(size)]
    return table_of(ids, texts, np.concatenate(vectors))


def table_of(ids, texts, vectors):
    vectors = np.asarray(vectors, dtype=np.float16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    slices = pa.array(np.zeros(len(ids), dtype=np.int64))
    columns = {"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string()), "vector": column}
    return pa.table({**columns, "slice": slices}).replace_schema_metadata({"moee.fingerprint": "f1"})


def write(directory, table, mode="create"):
    lance.write_dataset(table, str(directory / "docs.lance"), mode=mode)
    return str(directory / "docs")


def subject_of(ids):
    return np.array([name.rsplit("-", 1)[0] for name in ids])


class WordEncoder:
    """Embeds by hashing words; remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        rows = [np.random.default_rng(list(text.encode())).normal(size=DIMENSION) for text in texts]
        return np.asarray(rows, dtype=np.float32)


@dataclass
class Fitted:
    uri: str
    topics: object
    encoder: WordEncoder
    asked: list[str]


@pytest.fixture(scope="session")
def fitted(tmp_path_factory):
    """A first model on a table that no test changes."""
    uri = write(tmp_path_factory.mktemp("lake"), corpus(SIZES))
    encoder = WordEncoder()
    topics = fit_topics(uri, encoder=encoder)
    return Fitted(uri, topics, encoder, list(encoder.asked))


@pytest.fixture(scope="session")
def helpers():
    """The functions and figures above, for tests that cannot import this file."""
    names = ("DIMENSION", "SIZES", "SUBJECTS", "corpus", "subject_of", "table_of", "write")
    return SimpleNamespace(**{name: globals()[name] for name in names})
