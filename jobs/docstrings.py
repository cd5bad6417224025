"""Real documents that every machine has: the docstrings of its Python packages, for `moee demo`.

Read from source with `ast`; nothing is imported, so nothing found here is ever run.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sysconfig
import warnings
from dataclasses import dataclass
from importlib.metadata import distributions
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["DOCSTRINGS_SCHEMA", "collect_docstrings"]

DOCSTRINGS_SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("package", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)

MIN_CHARACTERS: Final = 80
_LARGEST_MODULE: Final = 400_000
_NOT_DOCUMENTS: Final = frozenset(
    {"test", "tests", "testing", "_vendor", "vendor", "vendored", "lib2to3", "idlelib", "turtledemo", "site-packages"}
    | {"dist-packages", "__pycache__", "_examples", "examples", "benchmarks"}
)


def collect_docstrings(limit: int = 5000, *, per_package: int = 150) -> pa.Table:
    """Docstrings of the standard library and of the installed packages: columns id, package, text, sorted by id.

    The id is the dotted name of what is documented. A text has at least 80 characters and occurs once. Every package
    gives as many as the others, up to `per_package`, until there are `limit`; on the same installation the result is
    always the same.
    """
    seen: set[bytes] = set()
    each_package = [
        islice(_of_package(package, modules, seen), per_package) for package, modules in sorted(_packages().items())
    ]
    chosen = sorted(_in_turn(each_package, limit), key=lambda each: each.name)
    columns = {
        "id": [each.name for each in chosen],
        "package": [each.package for each in chosen],
        "text": [each.text for each in chosen],
    }
    return pa.table(columns, schema=DOCSTRINGS_SCHEMA)


@dataclass(frozen=True, slots=True)
class _Docstring:
    name: str
    package: str
    text: str


def _in_turn(each_package: Sequence[Iterator[_Docstring]], limit: int) -> list[_Docstring]:
    """At most `limit`, one of each package at a time; no more source is read than that takes."""
    chosen: list[_Docstring] = []
    going: list[Iterator[_Docstring]] = list(each_package)
    while going and len(chosen) < limit:
        turn = [(package, next(package, None)) for package in going[: limit - len(chosen)]]
        chosen += [docstring for _, docstring in turn if docstring is not None]
        going = [package for package, docstring in turn if docstring is not None]
    return chosen


def _packages() -> dict[str, dict[str, Path]]:
    """Package → dotted module name → source file."""
    packages: dict[str, dict[str, Path]] = {}
    for root, relative in (*_standard_library(), *_installed()):
        if relative.suffix != ".py" or not _NOT_DOCUMENTS.isdisjoint(relative.parts):
            continue
        names = [*relative.parent.parts, *([] if relative.stem == "__init__" else [relative.stem])]
        if names and not names[0].startswith("_") and all(name.isidentifier() for name in names):
            packages.setdefault(names[0], {})[".".join(names)] = root / relative
    return packages


def _standard_library() -> Iterator[tuple[Path, PurePosixPath]]:
    root = Path(sysconfig.get_path("stdlib"))
    for path in root.rglob("*.py"):
        yield root, PurePosixPath(path.relative_to(root).as_posix())


def _installed() -> Iterator[tuple[Path, PurePosixPath]]:
    for distribution in distributions():
        root = Path(str(distribution.locate_file("")))
        for path in distribution.files or ():
            if ".." not in path.parts:
                yield root, PurePosixPath(path)


def _of_package(package: str, modules: Mapping[str, Path], seen: set[bytes]) -> Iterator[_Docstring]:
    """Public modules near the top first: they explain most."""
    order = sorted(
        modules, key=lambda name: (any(part.startswith("_") for part in name.split(".")), name.count("."), name)
    )
    for module in order:
        for name, text in _of_module(module, modules[module]):
            digest = hashlib.blake2b(" ".join(text.split()).encode(), digest_size=16).digest()
            if len(text) >= MIN_CHARACTERS and digest not in seen:
                seen.add(digest)
                yield _Docstring(name, package, text)


def _of_module(module: str, path: Path) -> list[tuple[str, str]]:
    try:
        if path.stat().st_size > _LARGEST_MODULE:
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's invalid escapes
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    return list(_documented(tree, module))


def _documented(tree: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Dotted name and docstring of a module, its classes, functions and methods; of two with one name the first."""
    found: dict[str, str] = {}
    pending: list[tuple[str, ast.AST]] = [(name, tree)]
    while pending:
        name, node = pending.pop(0)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text is not None and _is_text(text):
                found.setdefault(name, inspect.cleandoc(text))
        if isinstance(node, ast.Module | ast.ClassDef):
            pending.extend(
                (f"{name}.{child.name}", child)
                for child in node.body
                if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            )
    yield from found.items()


def _is_text(text: str) -> bool:
    """Whether it can be stored: lone surrogates cannot be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
