"""Tables: schema, ledger and commits, rejects, indexes, search. Knows Lance and LanceDB; knows no Ray and no model."""

from __future__ import annotations

from pipeline.table.commit.committer import Committer
from pipeline.table.fragments.staging import Staged, stage
from pipeline.table.known.ledger import Ledger
from pipeline.table.location import TableLocation
from pipeline.table.vector_table import VectorTable

__all__ = ["Committer", "Ledger", "Staged", "TableLocation", "VectorTable", "stage"]
