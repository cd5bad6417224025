"""``python -m jobs.index``."""

from __future__ import annotations

import sys

from jobs.command import run_command
from jobs.index import COMMAND

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
