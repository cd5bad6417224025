"""``python -m jobs.topics``, as ``ray job submit`` calls it."""

from __future__ import annotations

import sys

from jobs.command import run_command
from jobs.topics import COMMAND

sys.exit(run_command(COMMAND))
