"""Prompts: the text that stands around a document when the model reads it.

The named prompts are those of the paper (arXiv 2410.10814) and reproduce its code's text handling: a full stop
after a text that ends in no mark, single quotes for double ones, spaces for underscores in the whole prompt, outer
white space removed. In a user's own template the text replaces ``{text}``, and nothing else changes.

Pure functions on strings; tokens and truncation are `pipeline.embedding.tokens`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pipeline.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAMED_PROMPTS", "FilledPrompt", "PromptTemplate", "prompt_template", "tokenizable"]

TEXT_FIELD: Final = "{text}"


def _task(question: str) -> str:
    return f'In one word, describe the {question} of the following sentence: "{TEXT_FIELD}":"'


NAMED_PROMPTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "none": f'"{TEXT_FIELD}"',
        "prompteol": f'This sentence : "{TEXT_FIELD}" means in one word:"',
        "style": _task("style"),
        "sentiment": _task("sentiment"),
        "tone": _task("tone"),
        "intent": _task("intent"),
        "topic": _task("topic"),
        "domain": _task("domain"),
    }
)
"""Name → template. ``none`` and ``prompteol`` are the authors' word for word; the task prompts follow their pattern."""

_SENTENCE_ENDS: Final = (".", "?", "!", '"', "'")


@dataclass(frozen=True, slots=True)
class FilledPrompt:
    """A prompt with its text in place: ``full[start:stop]`` is the text as the model reads it."""

    full: str
    """The whole prompt."""
    start: int
    """The first character of the text."""
    stop: int
    """The end of the text."""


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """``before + text + after``."""

    before: str
    after: str
    rewrites: bool
    """True for the paper's prompts, which also change the text."""

    @property
    def text(self) -> str:
        """The template as it is written, ``{text}`` included."""
        return f"{self.before}{TEXT_FIELD}{self.after}"

    def fill(self, text: str) -> FilledPrompt:
        """Put `text` in place, rewritten where the paper's prompts rewrite it.

        Lone surrogates become question marks.
        """
        text = tokenizable(text)
        if self.rewrites and text and not text.endswith(_SENTENCE_ENDS):
            text += "."
        return self.around(text)

    def around(self, text: str) -> FilledPrompt:
        """The prompt around a text to which nothing is added."""
        if not self.rewrites:
            start = len(self.before)
            return FilledPrompt(f"{self.before}{text}{self.after}", start, start + len(text))
        text = text.replace('"', "'").replace("_", " ")
        before, after = self.before.replace("_", " "), self.after.replace("_", " ")
        full = f"{before}{text}{after}"
        stripped = full.strip()
        shift = len(full) - len(full.lstrip())
        start = max(len(before) - shift, 0)
        stop = min(len(before) + len(text) - shift, len(stripped))
        return FilledPrompt(stripped, start, max(start, stop))


def tokenizable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which no tokenizer accepts; as many characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


def prompt_template(prompt: str) -> PromptTemplate:
    """The template behind a prompt's name, or a user's own template.

    Raises:
        SpecError: `prompt` is neither a known name nor a template with exactly one ``{text}``.
    """
    template = NAMED_PROMPTS.get(prompt, prompt)
    if template.count(TEXT_FIELD) != 1:
        names = ", ".join(NAMED_PROMPTS)
        raise SpecError(
            f"prompt {prompt!r} is neither a named prompt ({names}) nor a template that holds {TEXT_FIELD} exactly once"
        )
    before, after = template.split(TEXT_FIELD)
    return PromptTemplate(before, after, rewrites=prompt in NAMED_PROMPTS)
