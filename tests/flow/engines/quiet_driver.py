"""A run on the local engine; prints how many documents it embedded, and whether driver and workers imported Ray.

python quiet_driver.py SOURCE TABLE MODEL: not guarded by ``__main__``, since workers must not run this again.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "bench")]

import deadly  # noqa: E402
import stub  # noqa: E402

from pipeline import embed  # noqa: E402
from pipeline.flow.engines.local_engine import LocalEngine  # noqa: E402

source, table, model = sys.argv[1:]
report = embed(source, table, model, engine=stub.planted(LocalEngine()))
with LocalEngine() as engine:
    (imported,) = engine.map(deadly.imports_ray, [[*engine.reader_modules, *engine.replica_modules]])
print(report.documents, f"driver:{'ray' in sys.modules}", f"worker:{imported}")  # noqa: T201 — the test reads it
