"""Constraints for pip: the lowest versions that pyproject.toml promises its users. ``make test-lowest`` installs them.

Tools of the developers (the extra ``dev``) promise nothing to users and stay free; so does torch, whose build (CPU or
CUDA) is the machine's choice: the Makefile's variable TORCH pins it.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

FREE = {"torch"}
"""Left to the Makefile."""


def lowest(requirement: str) -> str | None:
    """``NAME==LOWEST`` for a requirement with a lower bound."""
    parsed = Requirement(requirement)
    bounds = [each.version for each in parsed.specifier if each.operator == ">="]
    return f"{parsed.name}=={bounds[0]}" if bounds and parsed.name not in FREE else None


def main() -> None:
    """Write one constraint a line."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    promised = [*project["dependencies"], *(one for name in extras if name != "dev" for one in extras[name])]
    sys.stdout.writelines(f"{pin}\n" for pin in map(lowest, promised) if pin)


main()
