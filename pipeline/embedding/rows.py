"""Documents and their tokens → rows of a table, and rejects for the documents that cannot be embedded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from pipeline.corpus.documents import REJECTS_SCHEMA
from pipeline.embedding.tokens import Tokens
from pipeline.embedding.vectors import Vectors
from pipeline.errors import MoeeError

if TYPE_CHECKING:
    from pipeline.embedding.encoder import Encoder

__all__ = ["embed_documents", "vector_array"]

logger = logging.getLogger(__name__)

NOT_FINITE: Final = "vector not finite"


def embed_documents(
    encoder: Encoder, documents: pa.Table, tokens: pa.Table, *, with_text: bool = True
) -> tuple[pa.Table, pa.Table]:
    """Embed checked documents.

    Args:
        encoder: calibrated.
        documents: id, text, source, slice, row, and metadata columns.
        tokens: of the same documents, `Tokens.to_arrow`.
        with_text: whether the rows keep their text.

    Returns:
        Rows for the table (the documents' columns with vector, hs_norm, rw_norm, n_tokens, truncated), and rejects at
        stage ``embed``. A document that makes the replica fail is found by embedding one by one.
    """
    prepared = Tokens.from_arrow(tokens)
    reasons = np.full(len(prepared), "", dtype=object)
    details = np.full(len(prepared), "", dtype=object)
    try:
        vectors = encoder.vectors_of(prepared)
    except MoeeError:
        raise
    except Exception as error:
        logger.warning("a batch of %d documents failed (%s): embedding them one by one", len(prepared), error)
        vectors = _one_by_one(encoder, prepared, reasons, details)
    broken = ~np.isfinite(vectors.vectors).all(axis=1) & (reasons == "")
    reasons[broken] = NOT_FINITE
    good = reasons == ""
    return _rows(documents, vectors, good, with_text=with_text), _rejects(documents, reasons, details)


def vector_array(vectors: np.ndarray) -> pa.Array:
    """Vectors [n, D] as the table stores them: fixed_size_list<float16>[D]."""
    flat = np.ascontiguousarray(vectors, dtype=np.float16).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.shape[1])


def _rows(documents: pa.Table, vectors: Vectors, good: np.ndarray, *, with_text: bool) -> pa.Table:
    mask = pa.array(good)
    columns = documents if with_text else documents.drop_columns(["text"])
    rows = columns.filter(mask)
    made = {
        "vector": vector_array(vectors.vectors[good]),
        "hs_norm": pa.array(vectors.hidden_norms[good]),
        "rw_norm": pa.array(vectors.routing_norms[good]),
        "n_tokens": pa.array(vectors.n_tokens[good]),
        "truncated": pa.array(vectors.truncated[good]),
    }
    for name, column in made.items():
        rows = rows.append_column(name, column)
    return rows


def _rejects(documents: pa.Table, reasons: np.ndarray, details: np.ndarray) -> pa.Table:
    bad = reasons != ""
    rows = documents.select(["id", "source", "slice", "row"]).filter(pa.array(bad))
    count = rows.num_rows
    return pa.table(
        {
            "id": rows.column("id"),
            "source": rows.column("source"),
            "slice": rows.column("slice"),
            "row": rows.column("row"),
            "stage": pa.repeat("embed", count),
            "reason": pa.array(reasons[bad], pa.string()),
            "detail": pa.array(details[bad], pa.string()),
            "slice_rows": pa.repeat(pa.scalar(0, pa.int32()), count),  # the committer counts the slice's rows itself
        },
        schema=REJECTS_SCHEMA,
    )


def _one_by_one(encoder: Encoder, tokens: Tokens, reasons: np.ndarray, details: np.ndarray) -> Vectors:
    """Embed each document alone; those that fail get a reason, and a vector of zeros that is thrown away."""
    count = len(tokens)
    vectors = np.zeros((count, encoder.dimension), np.float32)
    norms = np.zeros((2, count), np.float32)
    for row in range(count):
        batch = tokens.take(np.array([row]))
        alone = Tokens(batch.ids, batch.lengths, batch.starts, batch.stops, tokens.truncated[row : row + 1])
        try:
            made = encoder.vectors_of(alone)
        except MoeeError:
            raise
        except Exception as error:
            reasons[row], details[row] = f"{type(error).__name__} while embedding", str(error)[:500]
            continue
        vectors[row], norms[0, row], norms[1, row] = made.vectors[0], made.hidden_norms[0], made.routing_norms[0]
    return Vectors(vectors, norms[0], norms[1], tokens.lengths.astype(np.int32), tokens.truncated)
