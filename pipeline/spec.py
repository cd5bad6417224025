"""What a vector means: the embedding spec, and the fingerprint that keeps meanings apart.

An `EmbeddingSpec` is small, frozen and serializable: it travels, and the live encoder is built from it where it
runs. Fields left at None take the model's own default (`pipeline.models`), else the paper's.

The *meaning* of a vector is the resolved spec with names replaced by content: the checkpoint's identity, the
tokenizer's hash, the prompt's text. Meaning and calibration together hash to the *fingerprint*; two vectors may be
compared only if their fingerprints are equal. Fields that are at the library's default are left out of the
meaning, so that a field added later leaves old fingerprints alone.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import SpecError
from pipeline.prompts import prompt_template

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Combine", "EmbeddingSpec", "Meaning", "differing_fields", "fingerprint_of"]

Quantization = Literal["none", "nf4", "int8"]
Dtype = Literal["bfloat16", "float16", "float32"]
Pooling = Literal["last", "mean"]
Routing = Literal["scores", "logits"]
Combine = Literal["sum", "concat", "hs", "rw"]
Meaning = dict[str, Any]

SEMANTICS_VERSION: Final = 1
"""Raised when the same spec would give other vectors than before; part of every meaning."""

PAPER_DEFAULTS: Final[Mapping[str, Any]] = {
    "prompt": "prompteol",
    "pooling": "last",
    "routing": "scores",
    "combine": "sum",
    "alpha": 1.0,
}


def _known_prompt(prompt: str) -> str:
    try:
        prompt_template(prompt)
    except SpecError as error:
        raise ValueError(str(error)) from error
    return prompt


Prompt = Annotated[str, AfterValidator(_known_prompt)]


class EmbeddingSpec(BaseModel):
    """Everything that decides what a vector means, except the calibration.

    Raises:
        SpecError: a value is out of range, of the wrong type, or its field is unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = Field("mini", min_length=1)
    """Hub id or directory of a Mixture-of-Experts checkpoint; ``mini`` is the built-in one."""
    revision: str | None = None
    quantization: Quantization = "none"
    """How the experts are stored; attention, routers, norms and embeddings stay in `dtype`."""
    dtype: Dtype = "bfloat16"
    prompt: Prompt | None = None
    """A named prompt of the paper, or a template that holds ``{text}``."""
    query_prompt: Prompt | None = None
    """For queries that are asked differently; None: as `prompt`."""
    pooling: Pooling | None = None
    """``last``: the last token of the prompt; ``mean``: the mean over the text's own tokens."""
    routing: Routing | None = None
    """``scores``: the router's own score function over all experts; ``logits``: what goes into it."""
    routing_layers: tuple[int, ...] | None = None
    """Which MoE layers' routers count, by their order in the model; None: all."""
    max_tokens: int = Field(512, ge=1)
    """Longest prompt with its text, in tokens; the text is cut, never the prompt around it."""
    combine: Combine | None = None
    alpha: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Weight of the routing half in ``sum``."""

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "spec"
            if first["type"] == "extra_forbidden":
                known = ", ".join(type(self).model_fields)
                raise SpecError(f"{field}: a spec has no such field; there are: {known}") from error
            raise SpecError(f"{field}={first['input']!r}: {first['msg'].removeprefix('Value error, ')}") from error

    def resolve(self, defaults: Mapping[str, Any]) -> Self:
        """Fill what was left open: first from the model's `defaults`, then from the paper's."""
        if self.routing_layers is not None and len(set(self.routing_layers)) < len(self.routing_layers):
            raise SpecError(f"routing_layers={self.routing_layers}: each layer once")
        filled = {**PAPER_DEFAULTS, **defaults}
        open_fields = {name: value for name, value in filled.items() if getattr(self, name) is None}
        combine = self.combine or open_fields.get("combine")
        if combine != "sum":
            if self.alpha is not None:
                raise SpecError(f"alpha={self.alpha}: only combine='sum' has a weight; combine is {combine!r}")
            open_fields.pop("alpha", None)
        resolved = {**self.model_dump(), **open_fields}
        if resolved["query_prompt"] == resolved["prompt"]:
            resolved["query_prompt"] = None
        return type(self)(**resolved)

    def meaning(self, checkpoint: str, tokenizer: str) -> Meaning:
        """The resolved spec as content: what two comparable vectors must share, calibration apart.

        Args:
            checkpoint: identity of the weights, `pipeline.models.Checkpoint.identity`.
            tokenizer: hash of the tokenizer's files.
        """
        open_fields = [name for name in PAPER_DEFAULTS if name != "alpha" and getattr(self, name) is None]
        if open_fields:
            raise SpecError(f"{open_fields[0]} is still open: resolve the spec with its model's defaults first")
        defaults = type(self)()
        fields = {
            name: value
            for name, value in self.model_dump(mode="json", exclude={"model", "revision"}).items()
            if value is not None and (name in {"dtype", "max_tokens"} or value != getattr(defaults, name))
        }
        for name in ("prompt", "query_prompt"):
            if name in fields:
                template = prompt_template(fields[name])
                fields[name] = {"template": template.text, "rewrites": template.rewrites}
        return {"semantics": SEMANTICS_VERSION, "checkpoint": checkpoint, "tokenizer": tokenizer, **fields}


def fingerprint_of(meaning: Meaning, calibration: str) -> str:
    """Hash of a meaning and of a calibration's hash: 32 hexadecimal digits."""
    canonical = json.dumps({**meaning, "calibration": calibration}, sort_keys=True, separators=(",", ":"))
    return blake2b(canonical.encode(), digest_size=16).hexdigest()


def differing_fields(stored: Meaning, offered: Meaning) -> list[str]:
    """One phrase for each field in which two meanings differ, in the order of the field's name."""
    names = sorted(stored.keys() | offered.keys())
    return [_difference(name, stored, offered) for name in names if stored.get(name) != offered.get(name)]


def _difference(name: str, stored: Meaning, offered: Meaning) -> str:
    if name in {"checkpoint", "tokenizer"}:
        return f"{name}: the files of the model are not those that the table was made with"
    return f"{name}: the table has {stored.get(name, 'the default')!r}, this is {offered.get(name, 'the default')!r}"
