"""The last Mixture-of-Experts block, computed for the wanted tokens only.

After the last attention no token looks at another one. Where only the last token of each sequence is read, the last
block's router and experts compute those tokens only. The result is exact, and most of a layer's experts are saved.

The rows are filled up to a multiple of `ROW_STEP`. Products of one or two rows use other kernels than products of many
rows, and their float32 results differ in the last bits; a vector must not depend on the number of texts in its batch.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Generator

    from transformers import PreTrainedModel

__all__ = ["LastBlock"]

ROW_STEP: Final = 64
"""Rows that the last block computes are a multiple of this."""


class _Forward(threading.local):
    """The narrowing of the forward that the present thread is in."""

    running = False
    rows: torch.Tensor | None = None
    total = 0


class LastBlock:
    """Hooks on the module that holds the last router and its experts, if that is the last thing the model does.

    Args:
        model: headless.
        router: name of the model's last router module.
    """

    def __init__(self, model: PreTrainedModel, router: str) -> None:
        self._forward = _Forward()
        block = _block_of(model, router)
        if block is not None:
            block.register_forward_pre_hook(self._narrow)
            block.register_forward_hook(self._widen)

    @property
    def running(self) -> bool:
        """Whether this thread computes the block for the wanted tokens; they are its first rows then."""
        return self._forward.running

    @contextmanager
    def only(self, rows: torch.Tensor | None) -> Generator[None]:
        """While the context lasts, a single row of tokens is narrowed to those at `rows`, int64 [n]; None: to all."""
        if rows is not None:
            self._forward.rows = functional.pad(rows, (0, -len(rows) % ROW_STEP), value=0)
        try:
            yield
        finally:
            self._forward.rows, self._forward.running = None, False

    def _narrow(self, _block: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        rows = self._forward.rows
        if rows is None or len(args) != 1 or args[0].dim() != 3 or args[0].shape[0] != 1:
            return None
        self._forward.running, self._forward.total = True, args[0].shape[1]
        return (args[0].index_select(1, rows),)

    def _widen(self, _block: torch.nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        rows = self._forward.rows
        if rows is None or not self._forward.running:
            return output
        self._forward.running = False
        states = output if isinstance(output, torch.Tensor) else output[0]
        narrow = states.reshape(-1, states.shape[-1])
        whole = narrow.new_zeros(1, self._forward.total, narrow.shape[1]).index_copy_(1, rows, narrow[None])
        return whole if isinstance(output, torch.Tensor) else (whole, *output[1:])


def _block_of(model: PreTrainedModel, router: str) -> torch.nn.Module | None:
    """The router's parent, where it lies inside the last of the model's layers and holds the experts too."""
    parent = router.rpartition(".")[0]
    inside = re.fullmatch(r"(.*\blayers)\.(\d+)\..+", parent)
    if inside is None:
        return None
    layers = model.get_submodule(inside[1])
    last = isinstance(layers, torch.nn.ModuleList) and int(inside[2]) == len(layers) - 1
    block = model.get_submodule(parent)
    return block if last and any(name == "experts" for name, _ in block.named_children()) else None
