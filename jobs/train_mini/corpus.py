"""Texts in, token streams out: reading, holding out, tokenizing, drawing passages.

Nothing here knows of models or losses.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

Ints = npt.NDArray[np.int64]

HELD_OUT_PERCENT = 18  # about 2,000 of the 11,014 posts: enough for a P@10 that moves by < .01
MAX_CHARACTERS = 32_000  # a few posts are uuencoded files of over 100k characters


@dataclass(frozen=True)
class Texts:
    """Documents of one source, the held-out ones apart."""

    name: str
    train: list[str]
    held_out: list[str]
    held_out_labels: list[str]


@dataclass(frozen=True)
class Stream:
    """Tokenized documents end to end: document i is ids[offsets[i]:offsets[i + 1]]."""

    ids: npt.NDArray[np.int32]
    offsets: Ints

    @property
    def lengths(self) -> Ints:
        """Tokens in each document."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def document(self, index: int) -> npt.NDArray[np.int32]:
        """Token ids of one document."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


def is_held_out(key: str) -> bool:
    """Decide by the document's id, so that the split survives any change of order or of the rest."""
    digest = hashlib.blake2b(key.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % 100 < HELD_OUT_PERCENT


def read_newsgroups(path: Path) -> Texts:
    """The train split's non-empty posts. The test split never leaves this function."""
    table = pq.read_table(path, columns=["id", "newsgroup", "split", "text"]).to_pylist()
    posts = [row for row in table if row["split"] == "train" and row["text"].strip()]
    held = [row for row in posts if is_held_out(row["id"])]
    return Texts(
        "newsgroups",
        [row["text"][:MAX_CHARACTERS] for row in posts if not is_held_out(row["id"])],
        [row["text"][:MAX_CHARACTERS] for row in held],
        [row["newsgroup"] for row in held],
    )


def read_textbooks(path: Path) -> Texts:
    """Textbook modules: rows hold ~330-token pieces of a module, joined again into one document.

    Two passages far apart in one module make a harder and more topical pair than two halves of
    one piece.
    """
    table = pq.read_table(path, columns=["id", "book", "text"]).to_pylist()
    train: list[str] = []
    held: list[str] = []
    labels: list[str] = []
    for module, rows in groupby(table, key=lambda row: row["id"].rsplit("/", 1)[0]):
        pieces = list(rows)
        text = "\n".join(piece["text"] for piece in pieces)[:MAX_CHARACTERS]
        if is_held_out(module):
            held.append(text)
            labels.append(pieces[0]["book"])
        else:
            train.append(text)
    return Texts("textbooks", train, held, labels)


def tokenize(tokenizer: Tokenizer, texts: Iterable[str]) -> Stream:
    """Encode in chunks: the tokenizer's own result objects take ~100 bytes a token."""
    pieces: list[npt.NDArray[np.int32]] = []
    chunk: list[str] = []

    def flush() -> None:
        encoded = tokenizer.encode_batch(chunk, add_special_tokens=False)
        pieces.extend(np.array(item.ids, dtype=np.int32) for item in encoded)
        chunk.clear()

    for text in texts:
        chunk.append(text)
        if len(chunk) == 1024:
            flush()
    flush()
    lengths = [len(piece) for piece in pieces]
    return Stream(np.concatenate(pieces), np.cumsum([0, *lengths]).astype(np.int64))


def windows(stream: Stream, size: int, shortest: int = 8) -> list[npt.NDArray[np.int32]]:
    """Consecutive windows of at most `size` tokens that do not cross documents."""
    return [
        stream.ids[start : min(start + size, end)]
        for begin, end in zip(stream.offsets[:-1], stream.offsets[1:], strict=True)
        for start in range(begin, end, size)
        if min(start + size, end) - start >= shortest
    ]


def draw_pair(
    document: npt.NDArray[np.int32], longest: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Two passages of one document that share no token; halves where it is short."""
    size = len(document)
    if size <= 2 * longest:
        cut = int(size * rng.uniform(0.3, 0.7))
        return document[:cut], document[cut:]
    first, second = draw_starts(size, longest, rng)
    return document[first : first + longest], document[second : second + longest]


def draw_starts(size: int, length: int, rng: np.random.Generator) -> tuple[int, int]:
    """Starts of two disjoint spans of `length` in `size` tokens, in order, uniformly."""
    slack = size - 2 * length
    low, high = np.sort(rng.integers(0, slack + 1, size=2))
    return int(low), int(high) + length


def choose_documents(
    streams: Sequence[Stream],
    shares: Sequence[float],
    count: int,
    shortest: int,
    rng: np.random.Generator,
) -> list[npt.NDArray[np.int32]]:
    """`count` documents of at least `shortest` tokens, split over the streams by `shares`."""
    chosen: list[npt.NDArray[np.int32]] = []
    for stream, share in zip(streams, shares, strict=True):
        candidates = np.flatnonzero(stream.lengths >= shortest)
        picks = rng.choice(candidates, size=min(round(count * share), len(candidates)), replace=False)
        chosen.extend(stream.document(int(index)) for index in picks)
    return chosen
