"""Secrets do not travel with a job: Ray stores its command line and environment, and shows them to all its users."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pipeline.errors import UsageError
from pipeline.table.companions.runs import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["refuse_secrets"]

_HASHES: Final = frozenset({"--token-hash"})
"""Options that sound like a secret, and are none."""

_NAME: Final = re.compile(r"[\w.-]+")

_SECRET_VALUES: Final = re.compile(
    r"://[^/@\s]+@"  # a user or a password in a URL
    r"|[?&](X-Amz-Signature|X-Goog-Signature|sig|(access_)?token|(api_?)?key)="  # a signed URL
    r"|\b(AccountKey|SharedAccessSignature|SharedAccessKey)="  # a connection string of Azure
    r"|\bBearer \S|\"private_key\""
    r"|\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bhf_[A-Za-z0-9]{30,}|\bgh[opsu]_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{20,}"
    r"|-----BEGIN"
)

_WAY_OUT: Final = (
    "Ray stores it and shows it to all users of the cluster. Give it to the cluster's machines: as an environment "
    "variable there, a mounted file, or the machine's role (docs/reference/cluster.md)"
)


def refuse_secrets(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Refuse a command or an environment that looks as if it held a secret; the message does not repeat it.

    Raises:
        UsageError: it does.
    """
    words = [part for word in command for part in _parts(word)]
    for before, word in zip(["", *words], words, strict=False):
        if _names_secret(before, word) or _SECRET_VALUES.search(word):
            raise UsageError(f"{_shown(before, word)}: this looks like a secret on the command line. {_WAY_OUT}")
    for name, value in environment.items():
        if is_secret_name(name) or _SECRET_VALUES.search(value):
            raise UsageError(f"--env {name}: this looks like a secret. {_WAY_OUT}")


def _shown(before: str, word: str) -> str:
    """What holds the secret, without it."""
    name, equals, _ = word.partition("=")
    if equals and _NAME.fullmatch(name):
        return name
    return before if before.startswith("--") else "an argument"


def _parts(word: str) -> Sequence[str]:
    """``--option=value`` as two words."""
    option, equals, value = word.partition("=")
    return (option, value) if equals and option.startswith("--") else (word,)


def _names_secret(before: str, word: str) -> bool:
    """Whether a word is the value of something that sounds like a secret: ``--key VALUE``, ``key=VALUE``."""
    name, equals, value = word.partition("=")
    if (
        equals
        and value
        and _NAME.fullmatch(name)
        and before != "--where"
        and name not in _HASHES
        and is_secret_name(_plain(name))
    ):
        return True
    given = before.startswith("--") and before not in _HASHES and "=" not in before and not word.startswith("-")
    return given and is_secret_name(_plain(before))


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_")
