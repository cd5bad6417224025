"""Experts in four or eight bits: how their matrices are stored, and how a forward reads them.

A layer's fused experts become one `QuantizedWeight` for each projection, which hands out one expert's matrix at a
time in the replica's dtype. Forwards that go through the experts one by one ask it as they asked the parameter that
it replaced (``experts.gate_up_proj[3]``); those that want all experts at once get a buffer that every layer shares
and that a hook fills before the layer runs.

``nf4``
    bitsandbytes' NF4 in blocks of 64: 4.5 bits an element, error 9 % (of the norm of normally distributed weights).
    Its CPU kernel dequantizes 5 to 6 G elements/s by one thread in bfloat16.
``int8``
    The row-wise format of LLM.int8: 8 bits and one float32 scale for each row of a matrix, error 0.8 %; torch itself
    dequantizes 2.5 G elements/s. bitsandbytes' blockwise 8-bit codes err by 0.6 (linear) to 1.1 % (dynamic), take
    more room, and are four times slower on CPUs.
"""

from __future__ import annotations

import logging
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["FORMATS", "ExpertFormat", "Int8Weight", "Nf4Weight", "QuantizedWeight", "is_expert_matrix", "quantized"]

ExpertFormat = Literal["nf4", "int8"]

NF4_BLOCK: Final = 64
"""Elements that share a scale in NF4."""

ELEMENTS_PER_PIECE: Final = 1 << 22
"""Elements quantized at a time: bitsandbytes takes 20 bytes of scratch for each on CPUs."""

MAX_ELEMENTS_PER_CALL: Final = 1 << 30
"""Elements dequantized in one call; bitsandbytes' CUDA kernels count in 32 bits."""

EXPERT_MATRIX: Final = re.compile(r"(?:.*\.)?experts\.(?:gate_up_proj|gate_proj|up_proj|down_proj|mlp\.(?:w1|v1|w2))")
"""Parameters in which transformers fuses a layer's experts; `mlp` is DBRX's, two-dimensional."""


class QuantizedWeight(torch.nn.Module):
    """The matrices of a layer's experts for one projection, quantized: ``weight[e]`` is expert `e`'s, dense.

    Args:
        shape: (experts, rows, columns) of what is stored, rows and columns as the model's parameter has them.
        dtype: the dtype of dense matrices.
        device: where the weight lies.
    """

    packed: torch.Tensor
    scale: torch.Tensor

    def __init__(self, shape: tuple[int, int, int], *, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.shape, self.dtype = shape, dtype
        packed, scale = self._layout(device)
        self.register_buffer("packed", packed)
        self.register_buffer("scale", scale)

    @property
    def elements(self) -> int:
        """Number of weights, over all experts."""
        experts, rows, columns = self.shape
        return experts * rows * columns

    @property
    def stored_bytes(self) -> int:
        """Bytes that they take, scales included."""
        return sum(buffer.numel() * buffer.element_size() for buffer in (self.packed, self.scale))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, expert: int | torch.Tensor) -> torch.Tensor:
        """Expert's dense matrix [rows, columns]: new memory, which the caller may keep."""
        raise NotImplementedError

    def write(self, out: torch.Tensor) -> None:
        """Put all dense matrices into `out` [experts, rows, columns]."""
        raise NotImplementedError

    def store(self, expert: int, matrix: torch.Tensor) -> None:
        """Quantize one expert's matrix [rows, columns], of any float type.

        Raises:
            ModelError: the matrix is of another shape than the other experts'.
        """
        if tuple(matrix.shape) != self.shape[1:]:
            raise ModelError(f"the matrix of expert {expert} is {list(matrix.shape)}, not {list(self.shape[1:])}")
        self._quantize(expert, matrix)

    def _quantize(self, expert: int, matrix: torch.Tensor) -> None:
        raise NotImplementedError

    def _layout(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Uninitialised (packed, scale)."""
        raise NotImplementedError


class Nf4Weight(QuantizedWeight):
    """bitsandbytes' NF4: two elements a byte, a float32 scale for each `NF4_BLOCK` of an expert's flattened matrix."""

    def __getitem__(self, expert: int | torch.Tensor) -> torch.Tensor:
        """As in `QuantizedWeight`."""
        index = int(expert)
        _, rows, columns = self.shape
        width = columns if columns % NF4_BLOCK == 0 else NF4_BLOCK  # rows are what the CPU kernel shares among threads
        blocks = self.scale.shape[1]
        dense = _bitsandbytes().dequantize_4bit(
            self.packed[index],
            _bitsandbytes().QuantState(
                absmax=self.scale[index],
                shape=(blocks * NF4_BLOCK // width, width),
                dtype=self.dtype,
                blocksize=NF4_BLOCK,
                quant_type="nf4",
            ),
        )
        return dense.view(-1)[: rows * columns].view(rows, columns)

    def write(self, out: torch.Tensor) -> None:
        """As in `QuantizedWeight`; on GPUs without a copy between."""
        experts, rows, columns = self.shape
        if out.device.type == "cpu" or rows * columns % NF4_BLOCK:
            for expert in range(experts):
                out[expert].copy_(self[expert])
            return
        step = max(1, MAX_ELEMENTS_PER_CALL // (rows * columns))
        for start in range(0, experts, step):
            part = slice(start, start + step)
            _bitsandbytes().dequantize_4bit(
                self.packed[part].reshape(-1, 1),
                absmax=self.scale[part].reshape(-1),
                out=out[part],
                blocksize=NF4_BLOCK,
                quant_type="nf4",
            )

    def _quantize(self, expert: int, matrix: torch.Tensor) -> None:
        flat = matrix.reshape(-1)
        for start in range(0, len(flat), ELEMENTS_PER_PIECE):
            piece = flat[start : start + ELEMENTS_PER_PIECE]
            piece = torch.nn.functional.pad(piece, (0, -len(piece) % NF4_BLOCK))
            packed, state = _bitsandbytes().quantize_4bit(piece, blocksize=NF4_BLOCK, quant_type="nf4")
            half, blocks = start // 2, start // NF4_BLOCK
            self.packed[expert, half : half + packed.numel()] = packed.view(-1)
            self.scale[expert, blocks : blocks + state.absmax.numel()] = state.absmax

    def _layout(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        experts, rows, columns = self.shape
        blocks = -(rows * columns // -NF4_BLOCK)
        packed = torch.empty(experts, blocks * NF4_BLOCK // 2, dtype=torch.uint8, device=device)
        return packed, torch.empty(experts, blocks, dtype=torch.float32, device=device)


class Int8Weight(QuantizedWeight):
    """LLM.int8's row-wise format: an element is ``packed × scale``, one scale a row, the largest element ±127."""

    def __getitem__(self, expert: int | torch.Tensor) -> torch.Tensor:
        """As in `QuantizedWeight`."""
        index = int(expert)
        out = torch.empty(self.shape[1:], dtype=self.dtype, device=self.packed.device)
        return torch.mul(self.packed[index], self.scale[index], out=out)

    def write(self, out: torch.Tensor) -> None:
        """As in `QuantizedWeight`; on GPUs in one kernel, on CPUs expert by expert, which stays in the cache."""
        if out.device.type == "cpu":
            for expert in range(len(self)):
                torch.mul(self.packed[expert], self.scale[expert], out=out[expert])
        else:
            torch.mul(self.packed, self.scale, out=out)

    def _quantize(self, expert: int, matrix: torch.Tensor) -> None:
        step = max(1, ELEMENTS_PER_PIECE // matrix.shape[1])
        for start in range(0, len(matrix), step):
            rows = matrix[start : start + step].float()
            scale = rows.abs().amax(dim=1, keepdim=True) / 127
            part = slice(start, start + len(rows))
            self.packed[expert, part] = (rows / scale.clamp_min(torch.finfo(torch.float32).tiny)).round_()
            self.scale[expert, part] = scale

    def _layout(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        experts, rows, _ = self.shape
        packed = torch.empty(self.shape, dtype=torch.int8, device=device)
        return packed, torch.empty(experts, rows, 1, dtype=torch.float32, device=device)


FORMATS: Final[dict[ExpertFormat, type[QuantizedWeight]]] = {"nf4": Nf4Weight, "int8": Int8Weight}


def is_expert_matrix(name: str) -> bool:
    """Whether this parameter of a loaded model holds the matrices of a layer's experts."""
    return EXPERT_MATRIX.fullmatch(name) is not None


def quantized(weight: torch.Tensor, how: ExpertFormat, *, dtype: torch.dtype, device: torch.device) -> QuantizedWeight:
    """Quantize the experts' matrices [experts, rows, columns] one by one, on `device`."""
    experts, rows, columns = weight.shape
    stored = FORMATS[how]((experts, rows, columns), dtype=dtype, device=device)
    for expert in range(experts):
        stored.store(expert, weight[expert].to(device))
    return stored


def _bitsandbytes() -> Any:
    """The functions of bitsandbytes; the first call imports it, which takes seconds."""
    module = sys.modules.get("bitsandbytes.functional")
    if module is None:
        with _quietly():
            import bitsandbytes.functional as module
    return module


@contextmanager
def _quietly() -> Generator[None]:
    """While bitsandbytes is imported it finds no ``kernels`` package.

    With it, it would ask the hub for a CPU kernel; without, it warns that it could not.
    """
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    level, kernels = logger.level, sys.modules.get("kernels")
    logger.setLevel(logging.ERROR)
    sys.modules["kernels"] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        yield
    finally:
        logger.setLevel(level)
        del sys.modules["kernels"]
        if kernels is not None:
            sys.modules["kernels"] = kernels
