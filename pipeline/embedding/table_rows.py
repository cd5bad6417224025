"""Documents and their tokens → rows of a table, and rejects for the documents that cannot be embedded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.embedding.reuse import COMPUTED_COLUMNS, share
from pipeline.embedding.tokens import Tokens
from pipeline.embedding.vectors import Vectors
from pipeline.errors import MoeeError
from pipeline.rejects import NOT_FINITE, rejects

if TYPE_CHECKING:
    from pipeline.embedding.encoder import Encoder
    from pipeline.embedding.reuse import Known

__all__ = ["embed_documents", "made_table", "vector_array"]

logger = logging.getLogger(__name__)


def embed_documents(
    encoder: Encoder, documents: pa.Table, tokens: pa.Table, *, with_text: bool = True, known: Known | None = None
) -> tuple[pa.Table, pa.Table]:
    """Embed checked documents, equal texts once.

    Args:
        encoder: calibrated.
        documents: id, text, source, slice, row, and metadata columns.
        tokens: of the same documents, `Tokens.to_arrow`.
        with_text: whether the rows keep their text.
        known: vectors of the same meaning, taken over where a text has one.

    Returns:
        Rows for the table (the documents' columns with vector, hs_norm, rw_norm, n_tokens, truncated), and rejects at
        stage ``embed``. A document that makes the replica fail is found by embedding one by one; where it is a chunk,
        the other chunks of its document go too.
    """
    shared = share(documents.column("text"), known)
    made, reasons, details = _make(encoder, Tokens.from_arrow(tokens).some(shared.first))
    made = pa.concat_tables([made, shared.found.cast(made.schema)]) if shared.found.num_rows else made
    none = np.full(shared.found.num_rows, "", dtype=object)
    reasons, details = (np.concatenate([part, none])[shared.place] for part in (reasons, details))
    good = _whole(documents, reasons == "")
    made = made.take(pa.array(shared.place[good]))
    return _rows(documents, made, good, with_text=with_text), _rejects(documents, reasons, details)


def vector_array(vectors: np.ndarray) -> pa.Array:
    """Vectors [n, D] as the table stores them: fixed_size_list<float16>[D]."""
    flat = np.ascontiguousarray(vectors, dtype=np.float16).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.shape[1])


def made_table(vectors: Vectors) -> pa.Table:
    """The columns `COMPUTED_COLUMNS` of n texts."""
    columns = (
        vector_array(vectors.vectors),
        vectors.hidden_norms,
        vectors.routing_norms,
        vectors.n_tokens,
        vectors.truncated,
    )
    return pa.table(dict(zip(COMPUTED_COLUMNS, columns, strict=True)))


def _make(encoder: Encoder, tokens: Tokens) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """The columns `COMPUTED_COLUMNS`, and for each row why it is none and a detail; empty where all is well."""
    reasons = np.full(len(tokens), "", dtype=object)
    details = np.full(len(tokens), "", dtype=object)
    try:
        vectors = encoder.vectors_of(tokens)
    except MoeeError:
        raise
    except Exception as error:
        logger.warning("a batch of %d documents failed (%s): embedding them one by one", len(tokens), error)
        vectors = _one_by_one(encoder, tokens, reasons, details)
    broken = ~np.isfinite(vectors.vectors).all(axis=1) & (reasons == "")
    reasons[broken] = NOT_FINITE
    return made_table(vectors), reasons, details


def _rows(documents: pa.Table, made: pa.Table, good: np.ndarray, *, with_text: bool) -> pa.Table:
    """The rows of `documents` where `good` is true, of each of which `made` has one row."""
    columns = documents if with_text else documents.drop_columns(["text"])
    rows = columns.filter(pa.array(good))
    for name in COMPUTED_COLUMNS:
        rows = rows.append_column(name, made.column(name))
    return rows


def _whole(documents: pa.Table, good: np.ndarray) -> np.ndarray:
    """`good` (bool [n]) without the rows that come from the same place as one that is not."""
    if good.all():
        return good
    place = np.stack([documents.column(name).to_numpy() for name in ("slice", "row")], axis=1)
    _, document = np.unique(place, axis=0, return_inverse=True)
    return ~np.isin(document, document[~good])


def _rejects(documents: pa.Table, reasons: np.ndarray, details: np.ndarray) -> pa.Table:
    bad = reasons != ""
    return rejects(
        documents.filter(pa.array(bad)),
        stage="embed",
        reason=pa.array(reasons[bad], pa.string()),
        detail=pa.array(details[bad], pa.string()),
    )


def _one_by_one(encoder: Encoder, tokens: Tokens, reasons: np.ndarray, details: np.ndarray) -> Vectors:
    """Embed each document alone; those that fail get a reason, and a vector of zeros that is thrown away."""
    count = len(tokens)
    vectors = np.zeros((count, encoder.dimension), np.float32)
    norms = np.zeros((2, count), np.float32)
    for row in range(count):
        try:
            made = encoder.vectors_of(tokens.some(np.array([row])))
        except MoeeError:
            raise
        except Exception as error:
            reasons[row], details[row] = f"{type(error).__name__} while embedding", str(error)
            continue
        vectors[row], norms[0, row], norms[1, row] = made.vectors[0], made.hidden_norms[0], made.routing_norms[0]
    return Vectors(vectors, norms[0], norms[1], tokens.lengths.astype(np.int32), tokens.truncated)
