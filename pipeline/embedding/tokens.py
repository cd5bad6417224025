"""Text → tokens: the prompt filled in, the text cut to fit, and where the text's own tokens lie.

The whole prompt is tokenized with its text in place, as the authors do, so that tokens across the seam are the same. A
prompt that is too long loses tokens from the end of its *text*, never from the prompt around it. Texts are cut by
characters before tokenizing, so that a megabyte costs as much as `max_tokens` tokens. The tokens are those of the
whole text nevertheless.

`Tokens` is plain arrays: it is made on CPUs, travels, and feeds any number of replicas.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from pipeline.embedding.tokenizer_files import load_backend
from pipeline.errors import SpecError
from pipeline.prompts import prompt_template, tokenizable
from pipeline.replica.batch import TokenBatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tokenizers import Encoding

    from pipeline.prompts import FilledPrompt

__all__ = ["Tokenizer", "Tokens"]

CHARACTERS_PER_TOKEN: Final = 6
"""A text is first cut to this many characters for each token of the limit. English has 4 to 5, white space more.

If the cut text does not decide all tokens that are kept, the text is cut again at four times the length.
"""

MAX_CUTS: Final = 5
"""The last cut is at 1,536 characters a token; the text after it is never read."""

MARGIN_CHARACTERS: Final = 256
"""Least distance in characters between a token that is kept and the cut; text farther away changes no token.

Words are shorter, and in a run without a boundary merges depend on their neighbourhood only.
"""


@dataclass(frozen=True, slots=True)
class Tokens:
    """n tokenized prompts, each with its text in place."""

    ids: np.ndarray
    """int32 [total tokens], one prompt after another."""
    lengths: np.ndarray
    """int64 [n], tokens in each, prompt included."""
    starts: np.ndarray
    """int64 [n], the first of the text's own tokens in its prompt."""
    stops: np.ndarray
    """int64 [n], the end of the text's own tokens in its prompt."""
    truncated: np.ndarray
    """bool [n], whether the text was cut."""

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: np.ndarray) -> TokenBatch:
        """The prompts at `rows`, in that order, as a batch for a replica."""
        offsets = np.cumsum(self.lengths) - self.lengths
        lengths = self.lengths[rows]
        where = np.repeat(offsets[rows] - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        return TokenBatch(self.ids[where], lengths, self.starts[rows], self.stops[rows])

    def some(self, rows: np.ndarray) -> Tokens:
        """The prompts at `rows`, in that order."""
        batch = self.take(rows)
        return Tokens(batch.ids, batch.lengths, batch.starts, batch.stops, self.truncated[rows])

    def to_arrow(self) -> pa.Table:
        """One row a prompt: tokens list<int32>, start, stop int32, truncated bool."""
        offsets = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        return pa.table(
            {
                "tokens": pa.LargeListArray.from_arrays(offsets, pa.array(self.ids)),
                "start": pa.array(self.starts.astype(np.int32)),
                "stop": pa.array(self.stops.astype(np.int32)),
                "truncated": pa.array(self.truncated),
            }
        )

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Tokens:
        """The inverse of `to_arrow`."""
        tokens = table.column("tokens").combine_chunks()
        return cls(
            ids=np.asarray(tokens.flatten(), dtype=np.int32),
            lengths=np.asarray(tokens.value_lengths(), dtype=np.int64),
            starts=np.asarray(table.column("start"), dtype=np.int64),
            stops=np.asarray(table.column("stop"), dtype=np.int64),
            truncated=np.asarray(table.column("truncated"), dtype=bool),
        )


class Tokenizer:
    """A checkpoint's own tokenizer, one prompt, one limit.

    Args:
        directory: the checkpoint's.
        prompt: a named prompt or a template.
        max_tokens: longest prompt with its text.

    Raises:
        ModelError: the directory holds no tokenizer that can be read.
        SpecError: the prompt alone leaves no room for a text.
    """

    def __init__(self, directory: Path, prompt: str, max_tokens: int) -> None:
        self._template = prompt_template(prompt)
        self._max_tokens = max_tokens
        self._backend, self._nothing = load_backend(directory)
        shortest = self._template.around("a")
        encoding = self._backend.encode(shortest.full)
        self._after = encoding.ids[_first_of_prompt(encoding, shortest, _token_span(encoding, shortest)[1]) :]
        self._around = len(encoding.ids) - 1
        if self._around >= max_tokens:
            raise SpecError(
                f"max_tokens={max_tokens}: the prompt {prompt!r} alone takes {self._around} tokens; "
                f"allow at least {self._around + 1}"
            )

    @property
    def room(self) -> int:
        """Tokens that the prompt leaves for a text, at least 1."""
        return self._max_tokens - self._around

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Tokenize texts of any kind; nothing in a text raises."""
        rows: list[_Row] = [_NO_ROW] * len(texts)
        pending, limit = range(len(texts)), MARGIN_CHARACTERS + CHARACTERS_PER_TOKEN * self._max_tokens
        for cut in range(1, MAX_CUTS + 1):
            filled = [self._template.fill(texts[row][:limit]) for row in pending]
            encodings = self._backend.encode_batch([prompt.full for prompt in filled])
            undecided: list[int] = []
            for row, prompt, encoding in zip(pending, filled, encodings, strict=True):
                end = prompt.start + limit if len(texts[row]) > limit else None
                if end is not None and cut < MAX_CUTS and not self._decided(encoding, end - MARGIN_CHARACTERS):
                    undecided.append(row)
                else:
                    rows[row] = self._fit(encoding, prompt, cut=end is not None)
            if not undecided:
                break
            pending, limit = undecided, 4 * limit
        return _joined(rows)

    def own_offsets(self, text: str) -> np.ndarray:
        """Where the tokens of `text`, without any prompt, begin and end: int64 [n, 2], in characters."""
        encoding = self._backend.encode(tokenizable(text), add_special_tokens=False)
        return np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)

    def _decided(self, encoding: Encoding, end: int) -> bool:
        """Whether a text that is cut after the character `end` decides which tokens of the whole text are kept."""
        kept = self._max_tokens - len(self._after)
        return len(encoding) > self._max_tokens and _characters(encoding, kept - 1)[1] <= end

    def _fit(self, encoding: Encoding, prompt: FilledPrompt, *, cut: bool) -> _Row:
        """The prompt within the limit; `cut`: the text is longer than what was tokenized."""
        ids = encoding.ids
        start, stop = _token_span(encoding, prompt)
        truncated = cut or len(ids) > self._max_tokens
        if truncated:
            rest = _first_of_prompt(encoding, prompt, stop)
            stop = max(min(rest, self._max_tokens - len(self._after)), start)
            ids = ids[:stop] + self._after
        if not ids:  # an empty text in a prompt without words of its own
            ids = [self._nothing]
        if start >= stop:  # no token of its own: the mean is taken over the whole prompt
            start, stop = 0, len(ids)
        return ids, start, stop, truncated


_Row = tuple[list[int], int, int, bool]
"""Token ids, the text's own span among them, and whether the text was cut."""

_NO_ROW: Final[_Row] = ([], 0, 0, False)


def _joined(rows: Sequence[_Row]) -> Tokens:
    return Tokens(
        ids=np.fromiter(chain.from_iterable(ids for ids, _, _, _ in rows), np.int32),
        lengths=np.array([len(ids) for ids, _, _, _ in rows], dtype=np.int64),
        starts=np.array([start for _, start, _, _ in rows], dtype=np.int64),
        stops=np.array([stop for _, _, stop, _ in rows], dtype=np.int64),
        truncated=np.array([truncated for _, _, _, truncated in rows], dtype=bool),
    )


def _characters(encoding: Encoding, token: int) -> tuple[int, int]:
    """The characters that `token` holds; none for a token that the tokenizer adds.

    One by one, because handing out all offsets costs as much as tokenizing.
    """
    return encoding.token_to_chars(token) or (0, 0)


def _token_span(encoding: Encoding, prompt: FilledPrompt) -> tuple[int, int]:
    """The tokens that hold at least one of the text's characters, wholly or in part."""
    count = len(encoding)
    start = next((token for token in range(count) if _characters(encoding, token)[1] > prompt.start), count)
    for token in range(count - 1, start - 1, -1):
        first, last = _characters(encoding, token)
        if first < prompt.stop and last > prompt.start:
            return start, token + 1
    return 0, 0


def _first_of_prompt(encoding: Encoding, prompt: FilledPrompt, stop: int) -> int:
    """The first token after the text, or the text's last token if it holds characters of the prompt as well.

    Such a token (a full stop with the quotation mark after it) belongs to the prompt when a text is cut.
    """
    return stop - 1 if stop and _characters(encoding, stop - 1)[1] > prompt.stop else stop
