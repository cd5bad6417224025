"""OLMoE written out, for CPUs: the architecture of the built-in model and of OLMoE-1B-7B, without transformers.

Importing transformers takes 2 s, more than everything else that the first vector of the built-in model needs after
torch. Modules and parameters are named as in transformers, and every operation is theirs, in the same order and the
same dtypes, with the attention and the experts of `pipeline.replica.forward`: the results are the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from pipeline.replica.forward.attention import packed_attention
from pipeline.replica.forward.experts import grouped_forward

if TYPE_CHECKING:
    from pipeline.replica.forward.attention import Segments
    from pipeline.replica.olmoe_config import OlmoeConfig

__all__ = ["Olmoe"]


class RMSNorm(nn.Module):
    """Root mean square norm, in float32."""

    def __init__(self, width: int, eps: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, dtype=dtype))
        self.eps = eps

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[..., width] → the same shape and dtype."""
        wide = states.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(states.dtype)


class Projection(nn.Module):
    """A linear map without a bias; unlike torch's own it starts without numbers, since the checkpoint brings them."""

    def __init__(self, width: int, out: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, width, dtype=dtype))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[..., width] → [..., out]."""
        return functional.linear(states, self.weight)


class Attention(nn.Module):
    """Causal attention with rotary positions; queries and keys are normed before they are split into heads."""

    is_causal = True

    def __init__(self, config: OlmoeConfig, dtype: torch.dtype) -> None:
        super().__init__()
        hidden, self.head_dim = config.hidden_size, config.hidden_size // config.num_attention_heads
        width = config.num_key_value_heads * self.head_dim
        self.q_proj = Projection(hidden, hidden, dtype)
        self.k_proj = Projection(hidden, width, dtype)
        self.v_proj = Projection(hidden, width, dtype)
        self.o_proj = Projection(hidden, hidden, dtype)
        self.q_norm = RMSNorm(hidden, config.rms_norm_eps, dtype)
        self.k_norm = RMSNorm(width, config.rms_norm_eps, dtype)

    def forward(
        self,
        states: torch.Tensor,  # [B, L, H]
        rotation: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
        segments: Segments | None,
    ) -> torch.Tensor:  # [B, L, H]
        """Over packed sequences where there are `segments`, else over each row as far as `mask` lets it see."""
        heads = (*states.shape[:-1], -1, self.head_dim)
        query = _rotated(self.q_norm(self.q_proj(states)).view(heads).transpose(1, 2), *rotation)
        key = _rotated(self.k_norm(self.k_proj(states)).view(heads).transpose(1, 2), *rotation)
        value = self.v_proj(states).view(heads).transpose(1, 2)
        scale = self.head_dim**-0.5
        if segments is not None:
            mixed, _ = packed_attention(self, query, key, value, mask, scaling=scale, segments=segments)
        else:
            grouped = key.shape[1] != query.shape[1]
            mixed = functional.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=grouped
            ).transpose(1, 2)
        return self.o_proj(mixed.reshape(states.shape))


class Router(nn.Module):
    """Which experts each token goes through, and with which weights."""

    def __init__(self, config: OlmoeConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size, dtype=dtype))
        self.chosen, self.normalized = config.num_experts_per_tok, config.norm_topk_prob

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """States [T, H] → logits [T, experts], weights [T, K] and int64 [T, K], the experts that were chosen."""
        logits = functional.linear(states, self.weight)
        weights, experts = logits.softmax(dim=-1, dtype=torch.float32).topk(self.chosen, dim=-1)
        if self.normalized:
            weights /= weights.sum(dim=-1, keepdim=True)
        return logits, weights.to(logits.dtype), experts


class Experts(nn.Module):
    """A layer's experts, fused; the flags are those that `grouped_forward` reads from transformers' modules."""

    has_gate, has_bias, has_post_expert_norm, is_transposed = True, False, False, False

    def __init__(self, config: OlmoeConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.num_experts, hidden, inner = config.num_experts, config.hidden_size, config.intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(self.num_experts, 2 * inner, hidden, dtype=dtype))
        self.down_proj = nn.Parameter(torch.empty(self.num_experts, hidden, inner, dtype=dtype))

    def forward(self, states: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """See `grouped_forward`."""
        return grouped_forward(self, states, chosen, weights)

    def _apply_gate(self, gate_up: torch.Tensor) -> torch.Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        return functional.silu(gate) * up


class Block(nn.Module):
    """Router and experts of a layer."""

    def __init__(self, config: OlmoeConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.gate = Router(config, dtype)
        self.experts = Experts(config, dtype)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[B, L, H] → [B, L, H]."""
        flat = states.reshape(-1, states.shape[-1])
        _, weights, chosen = self.gate(flat)
        return self.experts(flat, chosen, weights).reshape(states.shape)


class Layer(nn.Module):
    """Attention and experts, each after a norm and beside a residual."""

    def __init__(self, config: OlmoeConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.self_attn = Attention(config, dtype)
        self.mlp = Block(config, dtype)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps, dtype)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps, dtype)

    def forward(self, states: torch.Tensor, *context: Any) -> torch.Tensor:
        """[B, L, H] → [B, L, H]; `context` is for the attention."""
        states = states + self.self_attn(self.input_layernorm(states), *context)
        return states + self.mlp(self.post_attention_layernorm(states))


class Output(NamedTuple):
    """What a forward gives."""

    last_hidden_state: torch.Tensor
    """[B, L, H], after the last norm."""


@dataclass(frozen=True, slots=True)
class _Recorder:
    """Where the router tap finds logits, in the form in which transformers declares it."""

    target_class: type[nn.Module]
    index: int
    layer_name: str | None = None


class Olmoe(nn.Module):
    """The headless model, with the attributes and methods of a transformers model that a replica uses."""

    _supports_sdpa = True
    _can_record_outputs: ClassVar = {"router_logits": _Recorder(Router, 0)}

    def __init__(self, config: OlmoeConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.config = config
        # The weight is given, because torch would draw random numbers for it.
        table = torch.empty(config.vocab_size, config.hidden_size, dtype=dtype)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, _weight=table)
        self.layers = nn.ModuleList([Layer(config, dtype) for _ in range(config.num_hidden_layers)])
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps, dtype)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are stored in."""
        return self.norm.weight.dtype

    def set_attn_implementation(self, name: str) -> None:
        """Nothing: the input tells whether sequences are packed."""

    def forward(
        self,
        input_ids: torch.Tensor,  # int64 [B, L]
        attention_mask: torch.Tensor | None = None,  # bool or int [B, L]
        position_ids: torch.Tensor | None = None,  # int64 [B, L]
        *,
        segments: Segments | None = None,
        use_cache: bool = False,  # noqa: ARG002 — there is none
    ) -> Output:
        """Packed sequences in one row with `segments` and positions, or one sequence a row, padded at its end."""
        length = input_ids.shape[1]
        positions = torch.arange(length, device=self.device)[None] if position_ids is None else position_ids
        states = self.embed_tokens(input_ids)
        context = self._rotation(positions), _visible(attention_mask, length), segments
        for layer in self.layers:
            states = layer(states, *context)
        return Output(self.norm(states))

    def _rotation(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines of rotary positions (RoFormer, arXiv 2104.09864), each [B, 1, L, D]."""
        width = self.config.hidden_size // self.config.num_attention_heads
        exponents = torch.arange(0, width, 2, dtype=torch.float32, device=self.device) / width
        angles = positions[..., None].float() * (1.0 / self.config.rotary.rope_theta**exponents)
        angles = torch.cat([angles, angles], dim=-1)[:, None]
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)


def _visible(mask: torch.Tensor | None, length: int) -> torch.Tensor | None:
    """Bool [B, 1, L, L], which tokens each token sees; None: itself and all before it."""
    if mask is None or bool(mask.all()):
        return None
    return mask.bool()[:, None, None, :] & torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()


def _rotated(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Queries or keys [B, heads, L, D] turned by their positions."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cosine + torch.cat([-second, first], dim=-1) * sine
