"""One module a format; what they share is `base`. Only `pipeline.corpus.readers` chooses between them."""

from __future__ import annotations

__all__: list[str] = []
