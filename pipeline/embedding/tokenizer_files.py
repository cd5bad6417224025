"""A checkpoint's own tokenizer, as the `tokenizers` library runs it.

Importing transformers costs a reader 4 s. A tokenizer that its ``tokenizer.json`` describes completely is therefore
read from that file; transformers builds all others, because it knows what a tokenizer's class adds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import ModelError, first_line

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["load_backend"]

_HARMLESS_FIELDS: Final = frozenset(
    {"tokenizer_class", "model_max_length", "padding_side", "truncation_side", "clean_up_tokenization_spaces"}
    | {"model_input_names", "bos_token", "eos_token", "unk_token", "pad_token"}
)
"""Fields of a tokenizer_config.json that change nothing about the tokenizer in ``tokenizer.json``."""

_FURTHER_FILES: Final = ("added_tokens.json", "special_tokens_map.json")

_TOKENS_FOR_NO_TEXT: Final = ("eos_token", "bos_token", "pad_token")


def load_backend(directory: str | Path) -> tuple[Tokenizer, int]:
    """The tokenizer in `directory`, and the id of the token that stands for an empty text.

    Raises:
        ModelError: there is none, it cannot be read, or it cannot tell which characters a token stands for.
    """
    backend, nothing = _from_file(Path(directory)) or _from_transformers(directory)
    backend.no_padding()
    backend.no_truncation()
    return backend, nothing


def _from_file(directory: Path) -> tuple[Tokenizer, int] | None:
    """The tokenizer, if ``tokenizer.json`` describes it completely."""
    if any((directory / name).exists() for name in _FURTHER_FILES):
        return None
    try:
        config: dict[str, Any] = json.loads((directory / "tokenizer_config.json").read_text("utf-8"))
        written = (directory / "tokenizer.json").read_text("utf-8")
        whole: dict[str, Any] = json.loads(written)
    except (OSError, ValueError):
        return None
    # transformers puts the special tokens into the post-processor; where there is neither, there is nothing to put.
    if config.get("tokenizer_class") != "PreTrainedTokenizerFast" or whole.get("post_processor") is not None:
        return None
    specials = {name: token for name, token in config.items() if name.endswith("_token")}
    if not set(config) <= _HARMLESS_FIELDS or not all(isinstance(token, str) for token in specials.values()):
        return None
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(written)
    numbers = {name: number for name, token in specials.items() if (number := backend.token_to_id(token)) is not None}
    if len(numbers) < len(specials):
        return None
    return backend, next((numbers[name] for name in _TOKENS_FOR_NO_TEXT if name in numbers), 0)


def _from_transformers(directory: str | Path) -> tuple[Tokenizer, int]:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(f"no tokenizer can be read from {directory}: {first_line(error)}") from error
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(f"the tokenizer in {directory} has no fast form (tokenizer.json), which tells where texts lie")
    ends = (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id, 0)
    return backend, next(token for token in ends if token is not None)
