"""The encoder: texts in, MoEE vectors out. Prompt → tokens → batches → replica → calibration → combination.

A document's vector depends on the document, the spec and the calibration, and on nothing else: not on the batch, the
order, the device or the number of replicas (docs/design.md, promise 1).
"""

from __future__ import annotations

import copy
import logging
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self, overload

import numpy as np
import torch

from pipeline.embedding.batches import BatchCounts, plan_batches
from pipeline.embedding.bertopic_backend import BertopicBackend
from pipeline.embedding.calibration import Calibration, Halves
from pipeline.embedding.combine import combine, dimension, reweighted
from pipeline.embedding.reference_cache import encode_sample
from pipeline.embedding.tokens import Tokenizer, Tokens
from pipeline.embedding.vectors import RawVectors, Vectors
from pipeline.errors import FingerprintError, SpecError, UsageError
from pipeline.models import reference_texts, resolve_spec
from pipeline.replica.replica import Replica
from pipeline.spec import differing_fields, fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.replica.footprint import Footprint
    from pipeline.spec import EmbeddingSpec, Meaning

    Launched = tuple[np.ndarray, Callable[[], tuple[np.ndarray, np.ndarray]]]
    """Rows of a batch, and what waits for its results."""

__all__ = ["Encoder"]

logger = logging.getLogger(__name__)

TOKEN_BUDGET: Final = {"cpu": 8192, "cuda": 32768}
"""Tokens in a batch. On CPUs larger batches leave the caches; on GPUs larger groups for each expert are faster."""

TEXTS_AT_A_TIME: Final = 2048
"""Texts tokenized together; the next ones are tokenized while these are encoded."""


class Encoder(BertopicBackend):
    """A spec brought to life on one device.

    Args:
        spec: what the vectors mean; a model's name stands for a spec with its defaults. None: the built-in model.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        calibration: a table's; None: `calibrate` makes one, and `encode` falls back to the reference texts.
        token_budget: tokens computed in one batch; None: as suits the device.

    Attributes:
        batches: what was computed so far.

    Raises:
        ModelError: the model cannot be loaded, or failed its checks.
        SpecError: the spec does not fit the model.
    """

    def __init__(
        self,
        spec: EmbeddingSpec | str | None = None,
        device: str = "auto",
        *,
        calibration: Calibration | None = None,
        token_budget: int | None = None,
    ) -> None:
        self.spec, self.meaning, checkpoint = resolve_spec(spec)
        prompt = self.spec.prompt
        assert prompt is not None  # resolved
        self._tokenizer = Tokenizer(checkpoint.path, prompt, self.spec.max_tokens)
        self._query_tokenizer = self._tokenizer
        if self.spec.query_prompt not in {None, prompt}:
            self._query_tokenizer = Tokenizer(checkpoint.path, self.spec.query_prompt or prompt, self.spec.max_tokens)
        self._replica = Replica.load(
            checkpoint,
            dtype=self.spec.dtype,
            device=device,
            routing=self.spec.routing or "scores",
            routing_layers=self.spec.routing_layers,
            quantization=self.spec.quantization,
        )
        positions = self._replica.max_positions
        if positions is not None and self.spec.max_tokens > positions:
            raise SpecError(f"max_tokens={self.spec.max_tokens}: this model's positions end at {positions}")
        self._budget = token_budget or TOKEN_BUDGET.get(self._replica.device.type, TOKEN_BUDGET["cpu"])
        self._calibration = calibration
        self.batches = BatchCounts()

    @property
    def halves(self) -> tuple[int, int]:
        """(H, R): sizes of hidden state and routing weights."""
        return self._replica.halves

    @property
    def weights(self) -> tuple[Footprint, ...]:
        """What the model's weights take, kind by kind: as they are held, and as they would in the spec's dtype."""
        return self._replica.weights

    @property
    def dimension(self) -> int:
        """D, the length of a vector."""
        return dimension(self.spec.combine or "sum", *self.halves)

    @property
    def calibration(self) -> Calibration:
        """The calibration in use; where none was given, that of the reference texts, made on first use."""
        if self._calibration is None:
            logger.info("no calibration given: calibrating on the package's reference texts")
            self.calibrate(reference_texts())
        assert self._calibration is not None
        return self._calibration

    @property
    def fingerprint(self) -> str:
        """Vectors may be compared only if their fingerprints are equal."""
        return fingerprint_of(self.meaning, self.calibration.hash)

    def calibrated_by(self, calibration: Calibration) -> Self:
        """The same model with another table's calibration; both share one replica."""
        other = copy.copy(self)
        other._calibration = calibration  # noqa: SLF001  its own class
        return other

    def calibrate(self, texts: Sequence[str]) -> Calibration:
        """Make and use a calibration from a sample of the corpus (docs/design.md: 2,048 documents)."""
        self.calibrated(texts)
        return self.calibration

    def calibrated(self, texts: Sequence[str]) -> Vectors:
        """As `calibrate`; the vectors of the sample itself, in its order.

        What the package's reference texts give is kept on disk (`pipeline.embedding.reference_cache`).
        """
        texts = _listed(texts)
        if len(texts) < 2:
            raise UsageError("calibrate: at least two texts are needed to tell what is usual")
        raw = encode_sample(texts, self.meaning, self._replica.device.type, self.encode_raw)
        self._calibration = Calibration.fit(raw.hidden_state, raw.routing_weights)
        return self._vectors(raw)

    def refuse_other_meaning(self, stored: Meaning) -> None:
        """Raise FingerprintError, naming the fields, unless vectors of meaning `stored` compare with these."""
        differences = differing_fields(stored, self.meaning)
        if differences:
            raise FingerprintError("these vectors do not compare: " + "; ".join(differences))

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """The CPU's share of encoding documents; `vectors_of` is the replica's."""
        return self._tokenizer(texts)

    def encode_raw(self, texts: Sequence[str]) -> RawVectors:
        """Hidden states and routing weights of documents, before calibration."""
        return self._raw(texts, self._tokenizer)

    @overload
    def encode(self, texts: str) -> np.ndarray: ...
    @overload
    def encode(self, texts: Sequence[str]) -> np.ndarray: ...
    def encode(self, texts: str | Sequence[str]) -> np.ndarray:
        """Documents → vectors, float32 [n, D], unit length; a single string gives [D]."""
        return self._encode(texts, self._tokenizer)

    encode_document = encode

    def encode_query(self, texts: str | Sequence[str]) -> np.ndarray:
        """Queries → vectors as `encode`, asked with the spec's query prompt where it has one."""
        return self._encode(texts, self._query_tokenizer)

    def raw_of(self, tokens: Tokens) -> RawVectors:
        """Hidden states and routing weights of tokenized texts, before calibration."""
        hidden, routing = self._run(tokens)
        return RawVectors(hidden, routing, tokens.lengths.astype(np.int32), tokens.truncated)

    def vectors_of(self, tokens: Tokens) -> Vectors:
        """Tokenized documents → vectors with what a table stores beside them."""
        return self._vectors(self.raw_of(tokens))

    def similarity(self, a: np.ndarray, b: np.ndarray, alpha: float | None = None) -> np.ndarray:
        """Scores float32 [len(a), len(b)] between vectors of this encoder; `alpha` as in a search."""
        how, weight = self.spec.combine or "sum", self.spec.alpha
        a, b = np.atleast_2d(a), np.atleast_2d(b)
        if not a.size or not b.size:
            return np.zeros((a.size and len(a), b.size and len(b)), np.float32)
        left, right = (reweighted(each, how, self.halves[0], weight, alpha) for each in (a, b))
        return left @ right.T

    def _encode(self, texts: str | Sequence[str], tokenizer: Tokenizer) -> np.ndarray:
        single = isinstance(texts, str)
        raw = self._raw([texts] if single else texts, tokenizer)
        vectors = self._combined(self.calibration.apply(raw.hidden_state, raw.routing_weights))
        return vectors[0] if single else vectors

    def _vectors(self, raw: RawVectors) -> Vectors:
        halves = self.calibration.apply(raw.hidden_state, raw.routing_weights)
        return Vectors(
            vectors=self._combined(halves),
            hidden_norms=np.linalg.norm(halves.hidden, axis=1).astype(np.float32),
            routing_norms=np.linalg.norm(halves.routing, axis=1).astype(np.float32),
            n_tokens=raw.n_tokens,
            truncated=raw.truncated,
        )

    def _combined(self, halves: Halves) -> np.ndarray:
        return combine(halves, self.spec.combine or "sum", self.spec.alpha)

    def _raw(self, texts: Sequence[str], tokenizer: Tokenizer) -> RawVectors:
        texts = _listed(texts)
        parts = [self.raw_of(tokens) for tokens in _tokenized_ahead(texts, tokenizer)]
        return RawVectors.joined(parts) if parts else self.raw_of(tokenizer([]))

    def _run(self, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
        """Raw halves of tokenized texts, in their order; batches are computed while the next one is prepared."""
        hidden = np.empty((len(tokens), self.halves[0]), np.float32)
        routing = np.empty((len(tokens), self.halves[1]), np.float32)
        batches = plan_batches(tokens.lengths, self._budget, self._replica.layout, self._replica.parallel_batches)
        under_way: deque[Launched] = deque()

        def finish(left: int) -> None:
            while len(under_way) > left:
                rows, results = under_way.popleft()
                hidden[rows], routing[rows] = results()

        while batches:
            rows = batches.pop(0)
            try:
                under_way.append((rows, self._replica.launch(tokens.take(rows), self.spec.pooling or "last")))
                self.batches.count(int(tokens.lengths[rows].sum()), self._budget)
            except torch.OutOfMemoryError:
                if len(rows) == 1:
                    raise
                finish(0)
                left = np.concatenate([rows, *batches])
                batches = [left[batch] for batch in self._smaller_batches(tokens.lengths[left])]
            finish(self._replica.parallel_batches)
        finish(0)
        return hidden, routing

    def _smaller_batches(self, lengths: np.ndarray) -> list[np.ndarray]:
        """Answer to a lack of memory: half the budget from now on."""
        torch.cuda.empty_cache()
        self._budget = max(self._budget // 2, 1)
        logger.warning("out of memory: batches are now at most %d tokens", self._budget)
        return plan_batches(lengths, self._budget, self._replica.layout)


def _listed(texts: Any) -> list[str]:
    """The texts as a list, since a pandas series is indexed by label.

    Raises:
        UsageError: `texts` is a single string, is not iterable, or holds something else than strings.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise UsageError(f"texts: a list of strings is wanted, not {type(texts).__name__}")
    texts = list(texts)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise UsageError(f"encode: text {place} is {type(text).__name__}, not a string")
    return texts


def _tokenized_ahead(texts: Sequence[str], tokenizer: Tokenizer) -> Iterator[Tokens]:
    """Tokenize piece by piece; the next piece is tokenized while the current one is in use."""
    pieces = [texts[start : start + TEXTS_AT_A_TIME] for start in range(0, len(texts), TEXTS_AT_A_TIME)]
    if len(pieces) < 2:
        yield from map(tokenizer, pieces)
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenize") as pool:
        coming = pool.submit(tokenizer, pieces[0])
        for piece in pieces[1:]:
            tokens, coming = coming.result(), pool.submit(tokenizer, piece)
            yield tokens
        yield coming.result()
