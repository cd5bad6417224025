"""A model directory of one's own: any Mixture-of-Experts checkpoint with safetensors and a tokenizer.json.

    python examples/own_model.py

Builds an OLMoE of 0.2 million random parameters and a tokenizer for it, saves both, and embeds with the directory as
the model's name. Its vectors mean nothing; a trained checkpoint takes the same way.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import OlmoeConfig, OlmoeForCausalLM, PreTrainedTokenizerFast

from pipeline import EmbeddingSpec, Encoder

TEXTS = [
    "A satellite falls around the Earth.",
    "The moon goes around the Earth as well.",
    "Knead the dough and let it rise.",
]


def save_checkpoint(directory: Path) -> None:
    """Write config.json, model.safetensors and the tokenizer's files."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=300,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<end>", "<pad>"],
            show_progress=False,
        ),
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>").save_pretrained(directory)

    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_experts=8,
        num_experts_per_tok=2,
        max_position_embeddings=256,
        eos_token_id=tokenizer.token_to_id("<end>"),
        pad_token_id=tokenizer.token_to_id("<pad>"),
        bos_token_id=None,
    )
    OlmoeForCausalLM(config).save_pretrained(directory)


def main() -> None:
    """Save a checkpoint and compare three texts with it."""
    directory = Path("my-olmoe")
    save_checkpoint(directory)

    # What the spec leaves open is the paper's: prompteol, the last token, the router's own scores, sum with alpha 1.
    encoder = Encoder(EmbeddingSpec(model=str(directory), dtype="float32", max_tokens=64), device="cpu")
    hidden, routing = encoder.halves
    print(f"hidden state {hidden}, router scores {routing} (2 layers of 8 experts), vector {encoder.dimension}")

    raw = encoder.encode_raw(TEXTS)  # before any calibration
    print(f"tokens with the prompt: {raw.n_tokens.tolist()}")

    vectors = encoder.encode(TEXTS)
    print(encoder.similarity(vectors, vectors).round(2))
    print(encoder.similarity(vectors, vectors, alpha=0).round(2))  # by the hidden state alone


if __name__ == "__main__":
    main()
