"""A proxy in front of an S3 server that answers as an S3 in trouble does: 500, 503, or not at all for a while.

python proxy.py SERVER_HOST:PORT CONTROL_FILE SEED [HANG_SECONDS]: prints its own port. The control file holds the share
of requests that fail; it is read at every request. A request that fails may have been carried out: the answer is lost.
"""

from __future__ import annotations

import http.client
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.fault()
        if fault in {500, 503}:
            self.answer(fault, b"<Error><Code>SlowDown</Code><Message>injected</Message></Error>")
            return
        server = http.client.HTTPConnection(self.server.target, timeout=60)
        server.request(self.command, self.path, body=body, headers=dict(self.headers))
        reply = server.getresponse()
        content = reply.read()
        if fault == "lost":
            self.answer(500, b"")
        elif fault == "hang":
            time.sleep(self.server.hang)
            self.close_connection = True
        else:
            self.answer(reply.status, content, reply.getheaders())
        server.close()

    def fault(self):
        share = float(Path(self.server.control).read_text(encoding="ascii") or 0)
        if self.server.random.random() >= share:
            return None
        return self.server.random.choices([500, 503, "lost", "hang"], [4, 4, 2, 1])[0]

    def answer(self, status, content, headers=()):
        self.send_response_only(status)
        length = len(content)
        for name, value in headers:
            if name.lower() == "content-length":
                length = value
            elif name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        """Silent."""


for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
    setattr(Handler, f"do_{method}", Handler.forward)


def main():
    target, control, seed, *hang = sys.argv[1:]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.target, server.control = target, control
    server.random, server.hang = random.Random(int(seed)), float(*hang or [8])
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
