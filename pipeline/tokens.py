"""Bearer tokens: made at random, kept as a hash, compared in constant time."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from hashlib import sha256
from typing import Final

from pipeline.errors import UsageError

__all__ = ["TOKEN_LETTERS", "hash_from_environment", "new_token", "parse_token_hash", "token_hash", "token_matches"]

TOKEN_LETTERS: Final = 24
"""A token has so many letters at least."""

_HASH: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


def new_token() -> str:
    """256 random bits in letters that a header and a shell take as they are."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is kept of a token: SHA-256 in hexadecimal. A random token needs no salt.

    Raises:
        UsageError: it is short enough to be guessed.
    """
    if len(token) < TOKEN_LETTERS:
        raise UsageError(f"a token has at least {TOKEN_LETTERS} letters; moee serve --new-token makes one")
    return sha256(token.encode()).hexdigest()


def parse_token_hash(text: str) -> str:
    """The hash in ``sha256:HEX`` or ``HEX``.

    Raises:
        UsageError: it is none.
    """
    found = _HASH.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError("a token's hash is 64 hexadecimal digits: the token itself must not be given here")
    return found[1]


def hash_from_environment() -> str | None:
    """The hash in MOEE_SERVE_TOKEN_HASH, or of the token in MOEE_SERVE_TOKEN; None where neither is set.

    Raises:
        UsageError: it is no hash, or the token could be guessed.
    """
    if kept := os.environ.get("MOEE_SERVE_TOKEN_HASH"):
        return parse_token_hash(kept)
    token = os.environ.get("MOEE_SERVE_TOKEN")
    return token_hash(token) if token else None


def token_matches(token: str, kept: str) -> bool:
    """Whether `token` is the one of which `kept` is the hash."""
    return hmac.compare_digest(sha256(token.encode("utf-8", "surrogateescape")).hexdigest(), kept)
