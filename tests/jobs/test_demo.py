from __future__ import annotations

from functools import partial

import lancedb
import pyarrow.parquet as pq
import pytest

# umap says so at its first import
pytestmark = pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")

DOCUMENTS = 300


@pytest.fixture
def short_documents(monkeypatch):
    """The demo as it is, but for the length at which documents are cut: calibration on long ones takes most of it.

    On the engine of a machine without a cluster, whatever other tests have started here.
    """
    from pipeline.flow import embed as module

    monkeypatch.setattr(
        module, "embed", partial(module.embed, spec={"max_tokens": 24, "pooling": "last"}, engine="local")
    )


def test_the_demo_embeds_searches_and_finds_topics(moee, short_documents, tmp_path):
    outcome = moee("demo", "--directory", tmp_path / "demo", "--documents", DOCUMENTS)
    assert outcome.status == 0, outcome.err
    assert pq.read_metadata(tmp_path / "demo" / "docstrings.parquet").num_rows == DOCUMENTS
    assert lancedb.connect(tmp_path / "demo").open_table("docstrings").count_rows() == DOCUMENTS
    for part in ("1. Documents", "2. Embedding", "3. Search", "4. Topics", '"encrypt a message with a secret key"'):
        assert part in outcome.out
    assert f"over {DOCUMENTS} documents" in outcome.out
    (like,) = (line for line in outcome.out.splitlines() if "--like" in line)
    again = moee(*like.split()[1:], "--json")
    assert again.status == 0
    assert again.json["hits"]
