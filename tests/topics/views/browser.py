"""A real browser without a network: headless Chromium, spoken to over a pipe (Chrome DevTools protocol)."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
"""What checks a page for accessibility; ``npm ci --prefix tests`` fetches it."""

OFFLINE = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
]

KEY_CODES = {
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    " ": 32,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}


def executable():
    """Chromium or Chrome on this machine, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _high_pipe():
    """A pipe whose descriptors are out of the way of 3 and 4."""
    low = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low]
    for end in low:
        os.close(end)
    return high


class Browser:
    """One page of a headless Chromium whose every request, error and dialog is remembered."""

    def __init__(self, directory, timeout=30):
        self.timeout = timeout
        self.requests, self.errors, self.dialogs = [], [], []
        self._traced, self._is_traced = [], False
        self._number = 0
        self._buffer = b""
        (ours_in, theirs_out), (theirs_in, ours_out) = _high_pipe(), _high_pipe()
        command = [executable(), *OFFLINE, f"--user-data-dir={directory}", "about:blank"]
        # Chromium reads commands from file descriptor 3 and answers on 4.
        shell = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command]
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(shell, pass_fds=(theirs_in, theirs_out), stdout=log, stderr=log)
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._session = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def close(self):
        try:
            self._session = None
            self._call("Browser.close")
        finally:
            os.close(self._in)
            os.close(self._out)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def open(self, path, *, width=1400, height=900, dark=False, fragment="", scale=1):
        """Load a file and wait until its script says that all is drawn."""
        self.visit(path.as_uri() + fragment, width=width, height=height, dark=dark, scale=scale)
        self.wait("document.documentElement?.dataset.ready && document.querySelector('[data-drawn]')")

    def visit(self, address, *, width=1280, height=900, dark=False, scale=1):
        """Load an address in a window of this size."""
        self.resize(width, height, scale)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self._call("Emulation.setEmulatedMedia", features=features)
        self._call("Page.navigate", url="about:blank")
        # What the page before has asked a service for that has ended since is no fault of this one.
        self.requests.clear(), self.errors.clear(), self.dialogs.clear()
        self._call("Page.navigate", url=address)

    def resize(self, width, height=900, scale=1):
        """Give the window this size."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def run(self, script):
        """The value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition):
        """Until a JavaScript expression is true."""
        end = time.monotonic() + self.timeout
        while not self.run(f"!!({condition})"):
            assert time.monotonic() < end, f"never true: {condition}; errors: {self.errors}"
            time.sleep(0.02)

    def settle(self):
        """Until what was asked for is drawn."""
        self.run(
            "new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 70))"
        )

    def type(self, selector, text):
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self._call("Input.insertText", text=text)
        self.settle()

    def press(self, key):
        text = "\r" if key == "Enter" else key
        code = {"windowsVirtualKeyCode": KEY_CODES[key]} if key in KEY_CODES else {}
        for kind in ("keyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent", type=kind, key=key, **code, **({"text": text} if len(text) == 1 else {})
            )
        self.settle()

    def mouse(self, kind, x, y, **more):
        self._call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **more)

    def click_on(self, selector):
        """Click in the middle of an element, which must be what is there."""
        found = f"document.querySelector({json.dumps(selector)})"
        x, y, hit = self.run(
            f"(() => {{ const e = {found}; e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();"
            "const x = b.x + b.width / 2, y = b.y + b.height / 2;"
            "return [x, y, e.contains(document.elementFromPoint(x, y))]; })()"
        )
        assert hit, f"something lies over {selector}"
        self.click(x, y)

    def click(self, x, y):
        for kind in ("Pressed", "Released"):
            self.mouse(kind, x, y, button="left", clickCount=1)
        self.settle()

    @contextmanager
    def tracing(self):
        """What the browser does meanwhile, as events of its trace; they are there when the context ends."""
        self._traced, self._is_traced = [], False
        categories = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]
        self._call("Tracing.start", traceConfig={"includedCategories": categories})
        events = []
        yield events
        self._call("Tracing.end")
        while not self._is_traced:
            self._note(self._receive())
        events += self._traced

    def picture(self):
        """What is on the screen, uint8 [height, width, 3]."""
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(self.png())).convert("RGB"))

    def png(self):
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def _call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _receive(self):
        while b"\0" not in self._buffer:
            received = os.read(self._in, 1 << 20)
            assert received, "the browser is gone"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        parameters = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Tracing.dataCollected":
                self._traced += parameters["value"]
            case "Tracing.tracingComplete":
                self._is_traced = True
            case "Runtime.exceptionThrown":
                self.errors.append(parameters["exceptionDetails"])
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
            case "Page.javascriptDialogOpening":
                self.dialogs.append(parameters["message"])
                self._number += 1
                answer = {"id": self._number, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
                os.write(self._out, json.dumps(answer | {"sessionId": self._session}).encode() + b"\0")
            case _:
                pass
