"""The pictures of the page in the README: ``make screenshots`` takes them of a table with topics.

They are what a headless Chromium shows, with a palette of few colours, so that each is below 150 kB.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import socket
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import uvicorn
from PIL import Image

from pipeline.service.app import create_app
from pipeline.service.settings import ServiceSettings

TESTS = Path(__file__).parent
IMAGES = TESTS.parent / "docs" / "images"
COLOURS = 64
DRAWN_AFTER = 300
"""Seconds, where no layout of the map is kept."""
PICTURES = {
    "search": ({"q": "read a file line by line", "mode": "hybrid"}, {"width": 1280, "height": 800}),
    "topic": ({"q": "compress a file", "topic": 2}, {"width": 1280, "height": 800, "dark": True}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", help="DIRECTORY/NAME")
    app = create_app(ServiceSettings(tables=(parser.parse_args().table,)))
    with tempfile.TemporaryDirectory() as directory:
        browser = _module("topics/views/browser.py").Browser(Path(directory), timeout=DRAWN_AFTER)
        try:
            address = _serve(app)
            for name, (asked, window) in PICTURES.items():
                browser.visit(f"{address}?{urlencode(asked)}", **window)
                browser.wait("document.documentElement?.dataset.ready")
                browser.wait("/[0-9]/.test(document.querySelector('#map-facts')?.textContent)")
                browser.settle()
                print(_keep(name, browser.png()))
        finally:
            browser.close()


def _serve(app):
    """The address of a server that ends with this process."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    threading.Thread(target=server.run, args=([listening],), daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return f"http://127.0.0.1:{listening.getsockname()[1]}/"


def _keep(name, png):
    path = IMAGES / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)
    return f"{path}: {path.stat().st_size:,} bytes"


def _module(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, TESTS / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
