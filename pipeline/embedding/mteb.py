"""The encoder for MTEB: ``mteb.evaluate(MtebEncoder(encoder), tasks)`` reruns any published table.

Needs the extra ``mteb``; importing this module does not import it. Vectors are made exactly as everywhere else: by the
spec, and under the encoder's own calibration, one for all tasks (the authors' code scores each batch by its own mean
instead). For a task's own calibration call ``encoder.calibrate(texts)`` with that task's texts beforehand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.embedding.encoder import Encoder
from pipeline.errors import UsageError
from pipeline.spec import EmbeddingSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MtebEncoder"]

_QUERY: Final = "query"


class MtebEncoder:
    """An MTEB encoder (``mteb.models.EncoderProtocol``).

    Args:
        model_name: an encoder; or a spec or a model's name, of which one is made.
        revision: of a hub model given by its name.
        device: as for `Encoder`; None: ``auto``.
        fields: more fields of the spec, beside a model's name.

    Raises:
        UsageError: a finished encoder or spec leaves nothing to choose.
        ModelError, SpecError: as for `Encoder`.
    """

    def __init__(
        self,
        model_name: Encoder | EmbeddingSpec | str,
        revision: str | None = None,
        *,
        device: str | None = None,
        **fields: Any,
    ) -> None:
        if isinstance(model_name, str):
            spec = EmbeddingSpec(model=model_name, revision=revision, **fields)
        elif revision is not None or fields or (device is not None and isinstance(model_name, Encoder)):
            raise UsageError("MtebEncoder: revision, device and fields of the spec go with a model's name")
        else:
            spec = model_name
        self.encoder = spec if isinstance(spec, Encoder) else Encoder(spec, device or "auto")

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any = None,  # noqa: ARG002 — the spec has the prompt, whatever the task
        hf_split: str = "",  # noqa: ARG002
        hf_subset: str = "",  # noqa: ARG002
        prompt_type: Any = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> np.ndarray:
        """Vectors float32 [n, D] of all batches' texts, in their order; queries are asked with the query prompt.

        Args:
            inputs: batches, each with the list ``text``; how they are divided does not matter.
            task_metadata: not needed, nor are the task's split and subset.
            hf_split: as above.
            hf_subset: as above.
            prompt_type: ``query`` for queries; anything else for documents.
            kwargs: batch size and the like, which the encoder knows better.

        Raises:
            UsageError: the inputs hold no text.
        """
        texts = [text for batch in inputs for text in _texts(batch)]
        return self.encoder.encode_query(texts) if prompt_type == _QUERY else self.encoder.encode_document(texts)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """Scores float32 [n, m], as in a search; vectors may be arrays or tensors, also a single one [D]."""
        return self.encoder.similarity(_rows(embeddings1), _rows(embeddings2))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """Scores float32 [n] of each vector with its partner."""
        return np.einsum("nd,nd->n", _rows(embeddings1), _rows(embeddings2))

    @property
    def mteb_model_meta(self) -> Any:
        """What MTEB files results under: the model's name, the fingerprint, and every field that the spec sets."""
        from mteb.models.model_meta import ModelMeta, ScoringFunction

        spec = self.encoder.spec
        return ModelMeta.create_empty(
            {
                "name": _filed_as(spec.model),
                "revision": self.encoder.fingerprint,
                "max_tokens": spec.max_tokens,
                "embed_dim": self.encoder.dimension,
                "framework": ["PyTorch"],
                "similarity_fn_name": ScoringFunction.COSINE,
                "experiment_kwargs": spec.model_dump(mode="json", exclude={"model"}, exclude_none=True),
            }
        )


def _texts(batch: Mapping[str, Any]) -> list[str]:
    if "text" not in batch:
        raise UsageError(f"MTEB gives {', '.join(batch)}: this encoder reads text only")
    return list(batch["text"])


def _rows(vectors: Any) -> np.ndarray:
    plain = vectors.detach().float().cpu() if hasattr(vectors, "detach") else vectors
    return np.atleast_2d(np.asarray(plain, np.float32))


def _filed_as(model: str) -> str:
    """``organization/name``: the hub's, or the last two parts of a path."""
    parts = [part for part in model.split("/") if part not in {"", ".", ".."}]
    return "/".join(["moee", *parts][-2:])
