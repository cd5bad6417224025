"""The replica: one model, its router tap, and a forward that pools while it runs.

At load it probes itself: packed sequences must give what each sequence gives alone. If they do not, the replica falls
back to padded batches; if those differ too, it refuses to work (docs/design.md, promise 5).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from pipeline.errors import ModelError, first_line
from pipeline.models.families import family_of
from pipeline.replica.batch import TokenBatch
from pipeline.replica.footprint import footprint_of, refuse_unquantized
from pipeline.replica.forward.attention import PACKED_ATTENTION
from pipeline.replica.forward.last_block import LastBlock
from pipeline.replica.forward.norms import norms_in_pieces
from pipeline.replica.forward.packing import Layout, lay_out
from pipeline.replica.load import load_model, resolve_device
from pipeline.replica.malloc import keep_freed_memory
from pipeline.replica.tap import SCORE_FUNCTIONS, RouterTap, score_function
from pipeline.replica.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from pipeline.models import Checkpoint
    from pipeline.models.families import ScoreFunction
    from pipeline.spec import Dtype, Pooling, Quantization, Routing

__all__ = ["Replica"]

logger = logging.getLogger(__name__)

PROBE_LENGTHS: Final = (9, 23, 150, 14)
"""Tokens of the probe's sequences: short ones, and one that attention computes in tiles."""
PROBE_COSINE: Final = {"float32": 1 - 1e-5, "bfloat16": 0.97, "float16": 0.99}
"""Least cosine between a sequence's hidden state alone and in a batch.

A random 8-layer OLMoE in bf16 is at .995 and above; attention that leaks into the neighbour is below .9.
"""

FORWARD_FAILURES: Final = (
    *(NotImplementedError, AssertionError, AttributeError, IndexError, KeyError),
    *(RuntimeError, TypeError, ValueError),
)
"""What a model raises on inputs that it was not made for."""


class Replica:
    """A Mixture-of-Experts model that turns token batches into hidden states and router outputs.

    Args:
        model: headless, in evaluation mode, on its device.
        routing: what to read off the routers: ``scores`` or ``logits``.
        routing_layers: which MoE layers count, by their order; None: all.

    Raises:
        ModelError: the model has no readable routers, or a batch changes what a sequence gives.
    """

    def __init__(
        self, model: PreTrainedModel, *, routing: Routing = "scores", routing_layers: tuple[int, ...] | None = None
    ) -> None:
        self._model = model
        self._tap = RouterTap(model)
        self._last_block = LastBlock(model, self._tap.names[-1])
        self._workers = Workers() if model.device.type == "cpu" and torch.get_num_threads() > 1 else None
        if model.device.type == "cpu":
            norms_in_pieces(model)
            keep_freed_memory()
        self._layers = self._chosen_layers(routing_layers)
        self._score: ScoreFunction = score_function(model) if routing == "scores" else "identity"
        self.weights = footprint_of(model, self._tap.names)
        self.layout: Layout = "packed"
        self.halves = self._probe(routing)

    @classmethod
    def load(
        cls,
        checkpoint: Checkpoint,
        *,
        dtype: Dtype,
        device: str,
        routing: Routing,
        routing_layers: tuple[int, ...] | None,
        quantization: Quantization = "none",
    ) -> Replica:
        """Load a checkpoint onto a device and check it."""
        model = load_model(checkpoint, dtype=dtype, device=resolve_device(device), quantization=quantization)
        replica = cls(model, routing=routing, routing_layers=routing_layers)
        refuse_unquantized(model, replica.weights, quantization)
        return replica

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self._model.device

    @property
    def max_positions(self) -> int | None:
        """Longest sequence that the model's positions allow, in tokens; None: it does not say.

        Rotary frequencies that change with a batch's longest sequence end where they begin to change.
        """
        config = self._model.config.get_text_config()
        rotary = getattr(config, "rope_parameters", None) or {}
        if rotary.get("rope_type") in {"dynamic", "longrope"} and "original_max_position_embeddings" in rotary:
            return rotary["original_max_position_embeddings"]
        return getattr(config, "max_position_embeddings", None)

    def forward(self, batch: TokenBatch, pooling: Pooling) -> tuple[np.ndarray, np.ndarray]:
        """Pooled hidden states float32 [n, H] and router outputs float32 [n, R] of the batch's sequences."""
        return self.launch(batch, pooling)()

    @property
    def parallel_batches(self) -> int:
        """How many batches are computed at a time."""
        return 1 if self._workers is None else self._workers.count

    def launch(self, batch: TokenBatch, pooling: Pooling) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        """Start a forward; the function returned waits for its results, as `forward` gives them.

        The caller can prepare and queue the next batch in between. On several cores `parallel_batches` of them are
        computed at a time. Threads may share a replica.
        """
        if self._workers is None:
            return self._begin(batch, pooling)

        def work() -> tuple[np.ndarray, np.ndarray]:
            return self._begin(batch, pooling)()

        return self._workers.submit(work)

    @torch.inference_mode()
    def _begin(self, batch: TokenBatch, pooling: Pooling) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        inputs = lay_out(batch.ids, batch.lengths, layout=self.layout, pad=self._pad_token, device=self.device)
        reduce, wanted = _pool(batch, inputs.rows, pooling, self.device)
        narrow = self._last_block.only(wanted if self.layout == "packed" else None)

        def read(logits: torch.Tensor) -> torch.Tensor:
            scores = self._scores(logits)
            return scores[: len(batch.lengths)] if self._last_block.running else reduce(scores)

        with narrow, self._tap.reading(read) as routed:
            output = self._model(**inputs.kwargs)
        states = output.last_hidden_state
        hidden = reduce(states.reshape(-1, states.shape[-1]))
        if len(routed) != len(self._tap):
            raise ModelError(f"only {len(routed)} of {len(self._tap)} routers were seen in a forward")
        routing = torch.cat([routed[layer] for layer in self._layers], dim=1)
        return _fetched(hidden.float(), routing.float())

    @property
    def _pad_token(self) -> int:
        pad = self._model.config.get_text_config().pad_token_id
        return pad if isinstance(pad, int) and pad >= 0 else 0

    def _chosen_layers(self, chosen: tuple[int, ...] | None) -> tuple[int, ...]:
        layers = len(self._tap)
        if chosen is None:
            return tuple(range(layers))
        if not chosen or any(not 0 <= layer < layers for layer in chosen):
            raise ModelError(f"routing_layers={chosen}: this model has the MoE layers 0 to {layers - 1}")
        return chosen

    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        return SCORE_FUNCTIONS[self._score](logits.float())

    def _probe(self, routing: Routing) -> tuple[int, int]:
        """Choose the layout that leaves sequences alone; the sizes (H, R) of the two halves."""
        batch = _probe_batch(self._model.config.get_text_config().vocab_size, self.max_positions)
        alone = self._alone(batch, routing)
        hidden = np.concatenate([pair[0] for pair in alone])
        family = family_of(self._model.config.get_text_config().model_type)
        worst: dict[Layout, float] = {"packed": -1.0, "padded": -1.0}
        layouts: tuple[Layout, ...] = ("packed", "padded") if family and family.layout == "packed" else ("padded",)
        for layout in layouts:
            worst[layout] = self._worst_cosine(layout, batch, hidden)
            if worst[layout] >= PROBE_COSINE[str(self._model.dtype).removeprefix("torch.")]:
                logger.debug("%s batches agree with single sequences to cosine %.6f", layout, worst[layout])
                return hidden.shape[1], alone[0][1].shape[1]
            logger.info("%s: %s batches change what a sequence gives", self._model.config.model_type, layout)
        raise ModelError(
            f"{self._model.config.model_type}: a sequence gives another vector in a batch than alone, packed "
            f"(cosine {worst['packed']:.3f}) and padded ({worst['padded']:.3f}) alike; its vectors would not be "
            "batch-independent"
        )

    def _alone(self, batch: TokenBatch, routing: Routing) -> list[tuple[np.ndarray, np.ndarray]]:
        """What each sequence of the batch gives by itself: the reference for all layouts."""
        kind = self._model.config.model_type
        try:
            self._refuse_probabilities(batch, routing)
            self._use("padded")
            alone = [self.forward(single, "last") for single in _singly(batch)]
        except FORWARD_FAILURES as error:
            raise ModelError(
                f"{kind}: its forward fails on a single sequence ({type(error).__name__}: {first_line(error)})"
            ) from error
        if not all(np.isfinite(values).all() for pair in alone for values in pair):
            raise ModelError(f"{kind}: its forward gives numbers that are not finite; the weights may be damaged")
        return alone

    def _worst_cosine(self, layout: Layout, batch: TokenBatch, alone: np.ndarray) -> float:
        self._use(layout)
        try:
            together, _ = self.forward(batch, "last")
        except FORWARD_FAILURES as error:
            logger.info("%s: no %s batches: %s", self._model.config.model_type, layout, error)
            return -1.0
        lengths = np.linalg.norm(together, axis=1) * np.linalg.norm(alone, axis=1)
        return float(np.min(np.einsum("nh,nh->n", together, alone) / np.maximum(lengths, 1e-12)))

    def _use(self, layout: Layout) -> None:
        self.layout = layout
        padded = "sdpa" if getattr(self._model, "_supports_sdpa", False) else "eager"
        self._model.set_attn_implementation(PACKED_ATTENTION if layout == "packed" else padded)

    def _refuse_probabilities(self, batch: TokenBatch, routing: Routing) -> None:
        """A router whose declared logits sum to 1 hands out probabilities: scores as they are, and no logits."""
        self._use("padded")
        sums: list[torch.Tensor] = []

        def check(logits: torch.Tensor) -> torch.Tensor:
            sums.append((logits.float().sum(dim=-1) - 1).abs().max())
            return logits

        inputs = lay_out(batch.ids, batch.lengths, layout="padded", pad=self._pad_token, device=self.device)
        with torch.inference_mode(), self._tap.reading(check):
            self._model(**inputs.kwargs)
        if torch.stack(sums).max() > 1e-2:
            return
        if routing == "logits":
            raise ModelError(f"{self._model.config.model_type}: its routers hand out scores only; use routing='scores'")
        self._score = "identity"


def _fetched(*results: torch.Tensor) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """Start copying results to the host; the function returned waits for them."""
    if not results[0].is_cuda:
        return lambda: (results[0].numpy(), results[1].numpy())
    copies = [torch.empty(result.shape, dtype=result.dtype, pin_memory=True) for result in results]
    for copy, result in zip(copies, results, strict=True):
        copy.copy_(result, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()

    def wait() -> tuple[np.ndarray, np.ndarray]:
        arrived.synchronize()
        return copies[0].numpy(), copies[1].numpy()

    return wait


def _pool(
    batch: TokenBatch, rows: np.ndarray, pooling: Pooling, device: torch.device
) -> tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor | None]:
    """A function from [rows, width] to [n, width]: the last token's row, or the mean over the text's own.

    With it, where only some rows are read, which: int64 [n].
    """
    ends = np.cumsum(batch.lengths)
    if pooling == "last":
        wanted = torch.from_numpy(rows[ends - 1]).to(device, non_blocking=True)
        return lambda values: values.index_select(0, wanted), wanted
    counts = batch.stops - batch.starts
    first = ends - batch.lengths + batch.starts
    own = np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    wanted = torch.from_numpy(rows[own]).to(device)
    owner = torch.from_numpy(np.repeat(np.arange(len(counts)), counts)).to(device)
    divisor = torch.from_numpy(counts).to(device, torch.float32)[:, None]

    def mean(values: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(len(counts), values.shape[1], device=device)
        return sums.index_add_(0, owner, values.index_select(0, wanted).float()) / divisor

    return mean, None


def _probe_batch(vocabulary: int, positions: int | None) -> TokenBatch:
    lengths = np.minimum(np.array(PROBE_LENGTHS, dtype=np.int64), positions or max(PROBE_LENGTHS))
    ids = np.random.default_rng(0).integers(min(16, vocabulary - 1), vocabulary, lengths.sum(), dtype=np.int32)
    return TokenBatch(ids, lengths, np.zeros_like(lengths), lengths)


def _singly(batch: TokenBatch) -> list[TokenBatch]:
    pieces = np.split(batch.ids, np.cumsum(batch.lengths)[:-1])
    return [
        TokenBatch(ids, batch.lengths[n : n + 1], batch.starts[n : n + 1], batch.stops[n : n + 1])
        for n, ids in enumerate(pieces)
    ]
