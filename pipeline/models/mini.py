"""The built-in model ``mini``: its files, shipped with the package or made on first use.

Until a trained one ships, ``mini`` is an OLMoE with random weights and a real byte-level BPE tokenizer, made
deterministically into the user's cache: every code path of the real model runs, but its vectors carry little
meaning. `is_trained` says which of the two it is, and every command that uses ``mini`` says so as well.
"""

from __future__ import annotations

import gzip
import logging
import os
import shutil
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.models.content import cache_directory
from pipeline.models.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import OlmoeConfig

__all__ = ["directory", "is_trained", "make_random"]

logger = logging.getLogger(__name__)

RECIPE: Final = "random-1"
"""Names the recipe below; raised with it, so that an older copy in the cache is not taken for the new one."""

VOCABULARY: Final = 4096
SEED: Final = 20241014
SPECIALS: Final = ("<|endoftext|>", "<|padding|>")


def is_trained() -> bool:
    """Whether the package carries trained weights for ``mini``."""
    return _shipped().is_dir()


def directory() -> Path:
    """The folder of ``mini``'s checkpoint; made on first use where none ships."""
    if is_trained():
        return _shipped()
    made = cache_directory() / f"mini-{RECIPE}"
    if not (made / "config.json").is_file():
        logger.warning("making the built-in model 'mini' in %s: random weights, so its vectors mean little", made)
        scratch = made.with_name(f"{made.name}.{os.getpid()}")
        make_random(scratch)
        try:
            scratch.replace(made)
        except OSError:  # another process was first; its content is the same
            shutil.rmtree(scratch, ignore_errors=True)
    return made


def make_random(target: Path) -> None:
    """Write an OLMoE checkpoint with random weights and a byte-level BPE tokenizer; the same one on every machine."""
    import torch
    from transformers import OlmoeForCausalLM

    target.mkdir(parents=True, exist_ok=True)
    _tokenizer().save_pretrained(target)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = OlmoeForCausalLM(_config())
    with quiet_transformers():
        model.bfloat16().save_pretrained(target)


def _shipped() -> Path:
    return Path(str(resources.files("pipeline.models").joinpath("mini")))


def _config() -> OlmoeConfig:
    from transformers import OlmoeConfig

    return OlmoeConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_experts=16,
        num_experts_per_tok=2,
        max_position_embeddings=2048,
        pad_token_id=1,
        bos_token_id=None,
        eos_token_id=0,
        initializer_range=0.06,  # at the usual 0.02 the residual stream hardly moves away from the token itself
        tie_word_embeddings=True,
    )


def _tokenizer():  # noqa: ANN202  (PreTrainedTokenizerFast, importable only at run time)
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    packed = resources.files("pipeline.models").joinpath("reference.txt.gz").read_bytes()
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=2,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(gzip.decompress(packed).decode("utf-8").splitlines(), trainer)
    specials = {"eos_token": SPECIALS[0], "pad_token": SPECIALS[1]}
    return PreTrainedTokenizerFast(tokenizer_object=bpe, model_max_length=2048, **specials)
