"""``python -m jobs.embed``."""

from __future__ import annotations

import sys

from jobs.command import run_command
from jobs.embed import COMMAND

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
