"""One module a format, listed in `registry`; what they must offer is in `protocols`, what they share in `base`."""

from __future__ import annotations

__all__: list[str] = []
