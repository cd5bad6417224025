"""Where checkpoints come from, what identifies their content, and which defaults they bring.

`locate` turns a spec's model name into a `Checkpoint` on this machine's disk: ``mini`` is the built-in model, which
ships in the folder of that name (its ``CARD.md`` says what it was trained on, how good it is and what it is not); a
directory is taken as it is, anything else is a hub id. Only configuration, tokenizer and safetensors files are
ever fetched. Loading the weights is `pipeline.replica`.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import ModelError, SpecError
from pipeline.models.content import content_hash
from pipeline.spec import EmbeddingSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.spec import Meaning

__all__ = ["HUB_FILES", "MINI", "Checkpoint", "local_directory", "locate", "reference_texts", "resolve_spec"]

MINI: Final = "mini"
"""The built-in model; `jobs.train_mini` is its recipe."""

HUB_PREFIX: Final = "hub:"
"""Begins the identity of a checkpoint from the hub; the commit follows."""

DEFAULTS_FILE: Final = "moee.json"
"""A checkpoint may carry this file: spec fields that hold where the user left them open."""

HUB_FILES: Final = ("*.json", "*.safetensors", "*.model", "tokenizer*", "merges.txt", "vocab.*")
WEIGHT_FILES: Final = ("*.safetensors", "*.safetensors.index.json", "config.json")
TOKENIZER_FILES: Final = ("tokenizer*", "special_tokens_map.json", "*.model", "merges.txt", "vocab.*")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A Mixture-of-Experts checkpoint on disk."""

    name: str
    """The model's name as the user gave it."""
    path: Path
    """Its directory."""
    identity: str
    """Stands for the content of its weights: the hub's commit, or a hash of the files."""
    tokenizer: str
    """Hash of its tokenizer's files."""
    defaults: Mapping[str, Any]
    """Spec fields that it sets where the user did not."""

    @property
    def config(self) -> dict[str, Any]:
        """The parsed ``config.json``."""
        return json.loads((self.path / "config.json").read_text(encoding="utf-8"))

    @property
    def weight_bytes(self) -> int:
        """Size of the weight files."""
        return sum(file.stat().st_size for file in self.path.glob("*.safetensors"))


def locate(model: str, revision: str | None = None) -> Checkpoint:
    """Find a model's files, downloading them from the hub where they are not on disk yet.

    Raises:
        ModelError: there is no such model, the hub cannot be reached, or the directory holds no checkpoint.
    """
    local = local_directory(model)
    path = local or _download(model, revision)
    if not (path / "config.json").is_file():
        raise ModelError(f"model {model!r}: {path} holds no config.json, so it is not a checkpoint directory")
    if not any(path.glob("*.safetensors")):
        raise ModelError(f"model {model!r}: {path} holds no *.safetensors file; other weight formats are not loaded")
    return Checkpoint(
        name=model,
        path=path,
        identity=f"files:{content_hash(path, WEIGHT_FILES)}" if local else f"{HUB_PREFIX}{path.name}",
        tokenizer=content_hash(path, TOKENIZER_FILES),
        defaults=_defaults(path),
    )


def local_directory(model: str) -> Path | None:
    """The directory of a model that is on this machine by its name; None: `model` is a hub id.

    Raises:
        ModelError: it is neither.
    """
    if model == MINI:
        return Path(str(resources.files("pipeline.models").joinpath(MINI)))
    if Path(model).expanduser().is_dir():
        return Path(model).expanduser().resolve()
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(f"model {model!r}: no such directory, and not a hub id like 'allenai/OLMoE-1B-7B-0924'")
    return None


def resolve_spec(spec: EmbeddingSpec | str | None) -> tuple[EmbeddingSpec, Meaning, Checkpoint]:
    """The resolved spec, its meaning and its checkpoint, without loading weights.

    A hub model's revision becomes the commit that was found, so that a branch that moves changes nothing later.

    Raises:
        ModelError: the model is nowhere, or cannot be loaded as the spec asks.
        SpecError: the spec contradicts itself.
    """
    wanted = EmbeddingSpec(model=spec) if isinstance(spec, str) else spec or EmbeddingSpec()
    checkpoint = locate(wanted.model, wanted.revision)
    resolved = wanted.resolve(checkpoint.defaults)
    if checkpoint.identity.startswith(HUB_PREFIX):
        resolved = resolved.model_copy(update={"revision": checkpoint.identity.removeprefix(HUB_PREFIX)})
    return resolved, resolved.meaning(checkpoint.identity, checkpoint.tokenizer), checkpoint


def reference_texts() -> list[str]:
    """2,048 short English passages over many fields (``reference.NOTICE``), to calibrate where a corpus is small."""
    packed = resources.files("pipeline.models").joinpath("reference.txt.gz").read_bytes()
    return gzip.decompress(packed).decode("utf-8").splitlines()


def _defaults(path: Path) -> Mapping[str, Any]:
    file = path / DEFAULTS_FILE
    if not file.is_file():
        return MappingProxyType({})
    try:
        defaults = json.loads(file.read_text(encoding="utf-8"))
        EmbeddingSpec(**defaults)
    except (OSError, ValueError, TypeError, SpecError) as error:
        raise ModelError(f"{file} does not hold fields of a spec: {error}") from error
    return MappingProxyType(defaults)


def _download(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        at = f" at revision {revision!r}" if revision else ""
        raise ModelError(
            f"model {model!r}{at} is neither a directory nor to be had from the hub ({type(error).__name__}); "
            "check its name and the network, or give a local directory"
        ) from error
