from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import TableError
from pipeline.table.location import TableLocation
from pipeline.topics.tensors import read_tensors, texts_of_tensors, texts_to_tensors, write_tensors


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=9))
def test_texts_come_back(texts):
    assert texts_of_tensors("name", texts_to_tensors("name", texts)) == texts


def test_a_damaged_file_is_named(tmp_path):
    location = TableLocation.parse(tmp_path / "docs")
    write_tensors(location, "token", {"numbers": np.arange(3)})
    (tmp_path / "docs.topic_artefacts" / "token.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(TableError, match=r"cannot read .*token\.safetensors"):
        read_tensors(location, "token")
