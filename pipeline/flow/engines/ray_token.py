"""Ray's token, said outright: whether Ray asks for one by itself depends on its version, and on files that lie about.

Ray takes the token from ``RAY_AUTH_TOKEN``, else from the file that ``RAY_AUTH_TOKEN_PATH`` names, else from
``~/.ray/auth_token``, and sends it only where ``RAY_AUTH_MODE`` is ``token``. (A cluster without one takes no notice.)
"""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path
from typing import Final

from ray._raylet import Config

from pipeline.errors import ClusterError

__all__ = ["send_token", "token_for_own_cluster", "users_token"]

logger = logging.getLogger(__name__)

_HOME_FILE: Final = "~/.ray/auth_token"


def token_for_own_cluster() -> None:
    """Guard a cluster of our own by the user's token, else by one that lives in this process's environment only.

    Ray would write a token into the user's home, where all users of the machine may read it.
    """
    if users_token() is None:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    _close(Path(_HOME_FILE).expanduser())
    _set_mode()


def send_token() -> None:
    """Bring the token, where there is one, to a cluster that is there; a mode that the user has set stays."""
    if "RAY_AUTH_MODE" not in os.environ and users_token() is not None:
        _set_mode()


def users_token() -> str | None:
    """The user's token, from where Ray itself looks for it.

    Raises:
        ClusterError: the file that is named cannot be read.
    """
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named or _HOME_FILE).expanduser()
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        if named:
            raise ClusterError(f"RAY_AUTH_TOKEN_PATH: {file} cannot be read") from error
        return None


def _set_mode() -> None:
    os.environ["RAY_AUTH_MODE"] = "token"
    Config.initialize("")  # read again: Ray reads its environment once, when it is imported


def _close(file: Path) -> None:
    """Ray leaves what it writes readable to everybody."""
    try:
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.warning("others may read %s, which holds Ray's token, and it cannot be closed: %s", file, error)
