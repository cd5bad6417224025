"""``python -m jobs.infra``, as ``ray job submit`` calls it."""

from __future__ import annotations

import sys

from jobs.command import run_command
from jobs.infra import COMMAND

sys.exit(run_command(COMMAND))
