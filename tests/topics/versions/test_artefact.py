from __future__ import annotations

import numpy as np
import pytest

from pipeline.table.location import TableLocation
from pipeline.topics.clustering.geometry import Geometry
from pipeline.topics.tensors import (
    read_tensors,
    remove_tensors,
    tensor_names,
    write_tensors,
)
from pipeline.topics.versions.artefact import Artefact
from pipeline.topics.words.counts import Vocabulary
from pipeline.topics.words.splitting import SPLITTING


def artefact():
    vocabulary = Vocabulary(("haus", "wörter", "猫"))
    ids = np.array([4, 9])
    geometry = Geometry(ids, np.eye(2, 3, dtype=np.float32), *np.ones((2, 2), dtype=np.float32))
    counts = vocabulary.count(["Haus haus", "Wörter"], np.array([4, -1]), np.array([-1, 4, 9]))
    return Artefact(np.arange(3, dtype=np.uint64), np.array([4, 9, -1]), geometry, vocabulary, counts)


@pytest.fixture(params=["disk", "memory"])
def location(request, tmp_path):
    if request.param == "disk":
        return TableLocation.parse(tmp_path / "docs")
    return TableLocation(f"memory://{tmp_path.name}", "docs")


def test_an_artefact_comes_back(location):
    assert read_tensors(location, "token") is None
    assert tensor_names(location) == []
    ours = artefact()
    write_tensors(location, "token", ours.tensors())
    write_tensors(location, "token", ours.tensors())
    write_tensors(location, "token.0", {"empty": np.empty((0, 2), np.float16)})
    found = Artefact.of(read_tensors(location, "token"))
    assert tensor_names(location) == ["token", "token.0"]
    assert (found.vocabulary, found.counts.vocabulary) == (ours.vocabulary, ours.vocabulary)
    assert (found.counts.matrix != ours.counts.matrix).nnz == 0
    for name, tensor in ours.tensors().items():
        assert np.array_equal(found.tensors()[name], tensor)
    remove_tensors(location, "token")
    remove_tensors(location, "token")
    assert tensor_names(location) == ["token.0"]


def test_what_is_not_there_yet_stays_out(location):
    write_tensors(location, "a", {**artefact().tensors()})
    bare = {name: value for name, value in artefact().tensors().items() if name[:6] != "counts"}
    found = Artefact.of(bare)
    assert found.counts is None


def test_words_without_a_mark_were_split_by_the_first_rule():
    unmarked = {name: value for name, value in artefact().tensors().items() if name != "splitting"}
    assert Artefact.of(unmarked).vocabulary.splitting == 1
    assert Artefact.of(artefact().tensors()).vocabulary.splitting == SPLITTING
