"""``python tests/bench/map_frames.py TABLE``: how smoothly the page moves 50,000 points, and how soon it shows them.

The page of a table with topics is opened in a headless Chromium without a graphics card, in a window of 1280 pixels. In
the place of the table's own map there is a larger one: 50,000 points of 200 topics. A pointer drags it and a wheel
zooms it while Chromium traces. The time of a frame is all that the page's main thread does between two commits: script,
style, layout, paint, input. First paint is counted from the last byte of the map to the frame that shows it. Writes
``tests/bench/results/map_frames-DATE.json``.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import socket
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import uvicorn
from common import machine, save  # the folder of a script is on its path
from rich.console import Console
from rich.table import Table

from pipeline.service.app import create_app
from pipeline.service.maps import Maps, PackedMap, ServedMap
from pipeline.service.settings import ServiceSettings
from pipeline.topics.views.labels import regions
from pipeline.topics.views.map import MapTopic, TopicMap
from pipeline.topics.views.packed import map_head, map_points

if TYPE_CHECKING:
    from collections.abc import Iterator

POINTS, TOPICS = 50_000, 200
MOVES = 240
"""Events of each kind of movement."""
TARGETS = {"frame p95, ms": "<= 8", "first paint, s": "<= 1"}
SEEN = """
new MutationObserver((_, observer) => {
  if (!document.querySelector('[data-drawn]')) return;
  observer.disconnect();
  const channel = new MessageChannel();
  channel.port1.onmessage = () => { window.seen = performance.now(); };
  requestAnimationFrame(() => channel.port2.postMessage(0));
}).observe(document, { subtree: true, attributes: true, attributeFilter: ['data-drawn'] });
"""


def large_map() -> TopicMap:
    """Topics of all sizes as round groups, each point in one; ids as `moee embed` makes them."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0.05, 0.95, (TOPICS, 2)).astype(np.float32)
    topic = np.minimum(rng.exponential(TOPICS / 4, POINTS).astype(np.int64), TOPICS - 1)
    points = np.clip(places[topic] + rng.normal(0, 0.03, (POINTS, 2)), 0, 1).astype(np.float32)
    sizes = np.bincount(topic, minlength=TOPICS)
    words = [((f"word{n % 40}", 0.9), (f"other{n}", 0.5), ("third", 0.2)) for n in range(TOPICS)]
    listed = tuple(
        MapTopic(n, ", ".join(word for word, _ in words[n]), words[n], int(sizes[n]), int(sizes[n]), *place)
        for n, place in enumerate(places.tolist())
    )
    ids = pa.array([f"part-{row % 7}.parquet-1a2b3c4d5e6f:{row}" for row in rng.permutation(POINTS).tolist()])
    named = tuple(regions(places, sizes, words))
    return TopicMap("large", 1, POINTS, 0, points, topic, ids, pa.array([""] * POINTS), listed, named)


class LargeMap(Maps):
    """Gives the large map, whatever is asked."""

    def __init__(self) -> None:
        super().__init__()
        drawn = large_map()
        data = PackedMap({**map_head(drawn), "ids": drawn.ids.to_pylist()}, *map_points(drawn)).to_bytes()
        self.served = ServedMap(gzip.compress(data, 6), 'W/"large"')

    async def get(self, *_: Any) -> ServedMap:
        return self.served


@contextmanager
def serving(table: str, maps: Maps) -> Iterator[str]:
    """The address of a service of the table with these maps."""
    guard = create_app(ServiceSettings(tables=(table,)))
    object.__setattr__(guard._app.state.service, "maps", maps)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(guard, log_config=None))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


def a_browser(folder: str) -> Any:
    path = Path(__file__).parents[1] / "topics" / "views" / "browser.py"
    spec = importlib.util.spec_from_file_location("browser", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Browser(Path(folder), timeout=120)


def first_paint(browser: Any, address: str) -> float:
    """Seconds from the last byte of the map to the frame that shows it."""
    browser._call("Page.addScriptToEvaluateOnNewDocument", source=SEEN)
    browser.visit(address)
    browser.wait("window.seen")
    received = "performance.getEntriesByType('resource').find(({ name }) => name.includes('/map?')).responseEnd"
    return browser.run(f"window.seen - {received}") / 1000


def move(browser: Any, kind: str) -> None:
    """Drag the map about, or zoom in and out again."""
    left, top, width, height = browser.run(
        "(() => { const { x, y, width, height } = document.querySelector('#map-room').getBoundingClientRect();"
        "return [x, y, width, height]; })()"
    )
    x, y = left + width / 2, top + height / 2
    if kind == "pan":
        browser.mouse("Pressed", x, y, button="left")
        for turn in np.linspace(0, 4 * np.pi, MOVES).tolist():
            browser.mouse("Moved", x + 100 * np.sin(turn), y + 100 * np.sin(1.3 * turn), button="left", buttons=1)
        browser.mouse("Released", x, y, button="left")
    else:
        for step in range(MOVES):
            browser.mouse("Wheel", x, y, deltaX=0, deltaY=-30 if step < MOVES // 2 else 30)


def frame_times(events: list[dict[str, Any]], clock: str = "dur") -> list[float]:
    """Milliseconds of the main thread in each frame in which the map was drawn; a frame ends with its commit.

    `clock` "dur" is the wall's; "tdur" counts only what the thread computed, where others take its core.
    """
    thread = next((each["pid"], each["tid"]) for each in events if each["name"] == "FireAnimationFrame")
    ours = [each for each in events if (each["pid"], each["tid"]) == thread]
    commits = np.sort([each["ts"] for each in ours if each["name"] == "Commit"])
    times, is_drawn = np.zeros(len(commits) + 1), np.zeros(len(commits) + 1, bool)
    for each in ours:
        # A task that holds a commit begins before it.
        frame = np.searchsorted(commits, each["ts"], side="right")
        if each["name"] == "RunTask":
            times[frame] += each.get(clock, 0) / 1000
        is_drawn[frame] |= each["name"] == "FireAnimationFrame"
    return times[:-1][is_drawn[:-1]].tolist()


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", help="DIR/NAME, with topics, as of make demo")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(given.table, maps := LargeMap()) as address:
        browser = a_browser(folder)
        try:
            paint = first_paint(browser, address)
            found, computed = {}, {}
            for kind in ("pan", "zoom"):
                with browser.tracing() as events:
                    move(browser, kind)
                found[kind], computed[kind] = frame_times(events), frame_times(events, "tdur")
            drawn = json.loads(
                browser.run(
                    "JSON.stringify([document.querySelector('#map-room canvas').width,"
                    "document.querySelector('#map-room canvas').height])"
                )
            )
        finally:
            browser.close()
    both = [*found["pan"], *found["zoom"]]
    figures = {
        "frame p95, ms": float(np.quantile(both, 0.95)),
        "frame p95, ms computed": float(np.quantile([*computed["pan"], *computed["zoom"]], 0.95)),
        "first paint, s": paint,
        **{
            f"{kind} p{q}, ms": float(np.quantile(times, q / 100))
            for kind, times in found.items()
            for q in (50, 95, 99)
        },
        "frames": len(both),
    }
    shown = Table("", "measured", "wanted")
    for name, value in figures.items():
        shown.add_row(name, f"{value:,.2f}", TARGETS.get(name, ""))
    Console().print(shown)
    sizes = {"points": POINTS, "topics": TOPICS, "canvas": drawn, "compressed bytes": len(maps.served.compressed)}
    Console().print(f"kept in {save('map_frames', {'machine': machine(), **sizes, **figures})}")


if __name__ == "__main__":
    main()
