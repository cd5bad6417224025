"""`python -m jobs.train_mini --newsgroups FILE --textbooks FILE --work DIR --out DIR`.

Each stage leaves its result in the work directory and is skipped when that is there; the last
stage also resumes from its own checkpoint. Remove the directory to start anew.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from . import corpus, static
from .contextual import ContextualRecipe, Trainer
from .model import configuration, save_model
from .static import StaticRecipe
from .vocabulary import save_tokenizer, train_tokenizer

VOCABULARY = 14_336  # with it the files stay under 24 MB

logger = logging.getLogger("train_mini")


@dataclass(frozen=True)
class Paths:
    """Inputs and places."""

    newsgroups: Path
    textbooks: Path
    work: Path
    out: Path


def get_tokenizer(paths: Paths, sources: list[corpus.Texts]) -> Tokenizer:
    """Posts count twice: they are a fifth of the text and the livelier part of the vocabulary."""
    file = paths.work / "tokenizer.json"
    if not file.exists():
        posts, books = (source.train for source in sources)
        # 8,000 characters: encoded files further down a post would fill the vocabulary
        train_tokenizer([*(post[:8000] for post in posts), *(post[:8000] for post in posts), *books], VOCABULARY).save(
            str(file)
        )
        logger.info("tokenizer trained")
    return Tokenizer.from_file(str(file))


def get_static(paths: Paths, streams: list[corpus.Stream], recipe: StaticRecipe) -> static.Floats:
    """Static token vectors, [vocabulary, width]."""
    file = paths.work / "static.npy"
    if not file.exists():
        start = static.token_vectors(streams, [1.0, recipe.textbook_weight], VOCABULARY, recipe)
        np.save(paths.work / "static_start.npy", start, allow_pickle=False)
        np.save(file, static.refine(start, streams, recipe), allow_pickle=False)
    vectors: static.Floats = np.load(file, allow_pickle=False)
    return vectors


def train(paths: Paths, first: StaticRecipe, second: ContextualRecipe) -> None:
    """All stages; the model files at the end."""
    paths.work.mkdir(parents=True, exist_ok=True)
    sources = [corpus.read_newsgroups(paths.newsgroups), corpus.read_textbooks(paths.textbooks)]
    tokenizer = get_tokenizer(paths, sources)
    streams = [corpus.tokenize(tokenizer, source.train) for source in sources]
    for source, stream in zip(sources, streams, strict=True):
        logger.info("%s: %d documents, %d tokens", source.name, len(stream), len(stream.ids))
    vectors = get_static(paths, streams, first)
    weights = Trainer(vectors, streams, second).run(paths.work / "checkpoint.safetensors")
    save_model(weights, VOCABULARY, paths.out)
    save_tokenizer(tokenizer, paths.out, configuration(VOCABULARY).max_position_embeddings)
    logger.info("written to %s", paths.out)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--newsgroups", type=Path, required=True, help="Parquet: id, newsgroup, split, text")
    parser.add_argument("--textbooks", type=Path, required=True, help="Parquet: id (book/module/n), book, text")
    parser.add_argument("--work", type=Path, default=Path("work"), help="what the stages leave for each other")
    parser.add_argument("--out", type=Path, default=Path("model"), help="the finished model")
    defaults = ContextualRecipe()
    for name in ("steps", "tokens", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    for name in (
        "learning_rate",
        "embedding_rate",
        "hidden_weight",
        "router_weight",
        "next_token_weight",
        "balance_weight",
        "newsgroup_share",
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))
    arguments = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    paths = Paths(*(arguments.pop(name) for name in ("newsgroups", "textbooks", "work", "out")))
    train(paths, StaticRecipe(seed=arguments["seed"]), ContextualRecipe(**arguments))


if __name__ == "__main__":
    main()
