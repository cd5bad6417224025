"""A map as one HTML file that needs no network, no other file and no server.

Style, script and data are inside. The page's content security policy allows that script and that style, by their hash,
and no connection. Texts and labels enter as data and are shown as text, whatever they contain.
"""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from pipeline.topics.views.packed import map_head, map_points

if TYPE_CHECKING:
    from pipeline.topics.views.map import TopicMap

__all__ = ["map_page"]

SCRIPTS: Final = ("splat", "labels", "canvas", "gestures", "panel", "page")
"""Modules in the order in which they become one script."""
STYLES: Final = ("canvas", "style")
_MODULE_WORDS: Final = re.compile(r'^(import .* from "\./\w+\.js";\n|export (?=\w))', re.MULTILINE)


def map_page(drawn: TopicMap) -> str:
    """The page as HTML text: about 100 bytes for each document."""
    style, script = "\n".join(_part(f"{name}.css") for name in STYLES), _script()
    filled = {
        "{{policy}}": f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:",
        "{{title}}": escape(f"Topics of {drawn.title}"),
        "{{style}}": style,
        "{{head}}": _json(map_head(drawn)),
        "{{points}}": _packed(b"".join(array.tobytes() for array in map_points(drawn))),
        "{{texts}}": _packed(_json({"ids": drawn.ids.to_pylist(), "texts": drawn.texts.to_pylist()}).encode()),
        "{{script}}": script,
    }
    template = _part("page.html")
    # One pass over the template: braces in a text that is filled in are never filled in themselves.
    pieces: list[str] = []
    for piece in template.split("{{"):
        name, closing, rest = piece.partition("}}")
        pieces.append(filled["{{" + name + "}}"] + rest if closing else piece)
    return "".join(pieces)


def _packed(data: bytes) -> str:
    return b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()


def _json(data: Any) -> str:
    """JSON for a script element: nothing in it can end the element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


@cache
def _script() -> str:
    """The modules as one script, without what they import from and export to each other."""
    joined = "\n".join(_part(f"{name}.js") for name in SCRIPTS)
    return '"use strict";\n' + _MODULE_WORDS.sub("", joined)


@cache
def _part(name: str) -> str:
    return files("pipeline.topics.views").joinpath("web", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
