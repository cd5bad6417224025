"""A run with a stub replica, on Ray in a small object store, whose memory is watched. Prints one line of JSON.

python bounded_driver.py CORPUS TABLE STORE_BYTES ray|local
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

import psutil
import ray
import stub
from ray._private import state
from ray._private.internal_api import get_memory_info_reply

from pipeline import embed
from pipeline.flow.engines import cluster
from pipeline.flow.engines.local_engine import LocalEngine
from pipeline.flow.engines.ray_engine import RayEngine
from pipeline.table import TableLocation
from pipeline.table.store import open_dataset

SPEC = {"max_tokens": 24, "pooling": "last"}


class Watch(threading.Thread):
    """The most that was seen of the driver's memory, and of files that were staged and not yet committed."""

    def __init__(self, table):
        super().__init__(daemon=True)
        self.table, self.ended = TableLocation.parse(table), threading.Event()
        self.driver = self.staged = 0

    def run(self):
        process = psutil.Process()
        while not self.ended.wait(0.5):
            self.driver = max(self.driver, process.memory_info().rss)
            files = len(list(Path(self.table.uri, "data").glob("*.lance")))
            dataset = open_dataset(self.table)
            if dataset is not None:
                self.staged = max(self.staged, files - len(dataset.get_fragments()))


def main():
    corpus, table, store, engine = sys.argv[1:]
    cluster.LOCAL_STORE_BYTES = int(store)
    watch = Watch(table)
    spilled = 0
    with cluster.cluster() if engine == "ray" else contextlib.nullcontext():
        watch.start()
        made = RayEngine() if engine == "ray" else LocalEngine()
        report = embed(corpus, table, SPEC, with_text=False, engine=stub.planted(made))
        watch.ended.set()
        watch.join()
        if engine == "ray":
            spilled = get_memory_info_reply(state.state).store_stats.spilled_bytes_total
    figures = {"documents": report.documents, "driver": watch.driver, "staged": watch.staged}
    sys.stdout.write(json.dumps({**figures, "spilled": spilled}))


if __name__ == "__main__":
    assert not ray.is_initialized()
    main()
