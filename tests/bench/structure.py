"""Figures about the source tree, by `ast` alone: ``python tests/bench/structure.py [ROOT]`` prints them for a checkout.

`tests/test_structure.py` holds the rules that must not be broken; what is only reported is here.

An import counts wherever it stands. One under TYPE_CHECKING or inside a function cannot fail when it runs, but a reader
of the one module must still know the other.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

FLOORS = (
    ("pipeline.errors",),
    (
        "pipeline.arrow_types",
        "pipeline.garbage",
        "pipeline.logs",
        "pipeline.mapper",
        "pipeline.metrics",
        "pipeline.threads",
        "pipeline.prompts",
        "pipeline.wording",
    ),
    (
        "pipeline.spec",
        "pipeline.storage",
        "pipeline.rejects",
        "pipeline.columns",
        "pipeline.values",
        "pipeline.prefetch",
        "pipeline.tokens",
    ),
    ("pipeline.corpus", "pipeline.models"),
    ("pipeline.replica",),
    ("pipeline.embedding",),
    ("pipeline.table",),
    ("pipeline.topics",),
    ("pipeline.flow", "pipeline.service"),
    ("pipeline",),
    ("jobs",),
)
"""The house, lowest first; rooms of one floor may use each other."""

NEW_GROUND = (
    "pipeline.arrow_types",
    "pipeline.rejects",
    "pipeline.columns",
    "pipeline.prefetch",
    "pipeline.garbage",
)
"""Rooms that took code out of others after 74ae837."""

APART = "pipeline.flow.engines.local_"
"""The local engine. Not counted among the statements: new work, and no part of what was there."""

STATEMENTS = "every ast.stmt but expressions that are a constant: docstrings, documentation of fields, `...`"


@dataclass
class Module:
    """A source file: its tree, and the modules of this house that it imports."""

    name: str
    path: Path
    tree: ast.Module
    imports: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)
    """Top-level names of other packages."""


def modules(root, packages=("pipeline", "jobs")):
    """Name → `Module` of every source file below `root`."""
    found = {}
    for path in sorted(path for package in packages for path in (root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8")))
    for module in found.values():
        _note_imports(module, found)
    return found


def _note_imports(module, found):
    for node in ast.walk(module.tree):
        for target in _targets(node, module, found):
            if target in found:
                module.imports.add(target)
            else:
                module.foreign.add(target.partition(".")[0])
    module.imports.discard(module.name)


def _targets(node, module, found):
    """What an import statement names: of ``from package import x`` the module `x`, if it is one."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    source = node.module or ""
    if node.level:
        package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        source = ".".join([*above, *([node.module] if node.module else [])])
    return [inner if (inner := f"{source}.{alias.name}") in found else source for alias in node.names]


def circles(found):
    """Groups of modules that import each other: the strongly connected components of more than one, by Tarjan."""
    index, low, on_stack, stack, groups = {}, {}, set(), [], []

    def visit(name):
        index[name] = low[name] = len(index)
        stack.append(name)
        on_stack.add(name)
        for target in found[name].imports:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in on_stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            group = set()
            while name not in group:
                group.add(stack.pop())
            on_stack.difference_update(group)
            if len(group) > 1:
                groups.append(sorted(group))

    for name in found:
        if name not in index:
            visit(name)
    return sorted(groups)


def floor_of(name, floors):
    """The number of the floor with the longest prefix of `name`; None where none has one."""
    matches = [
        (len(room), number)
        for number, rooms in enumerate(floors)
        for room in rooms
        if name == room or name.startswith(f"{room}.")
    ]
    return max(matches)[1] if matches else None


def upward(found, floors=FLOORS):
    """Imports of a module that stands higher, as ``a -> b``."""
    arrows = []
    for module in found.values():
        here = floor_of(module.name, floors)
        for target in module.imports:
            there = floor_of(target, floors)
            if here is not None and there is not None and there > here:
                arrows.append(f"{module.name} -> {target}")
    return sorted(arrows)


def folders(found):
    """Folder → how many modules are in it, ``__init__`` apart."""
    sizes = defaultdict(int)
    for module in found.values():
        sizes[module.path.parent] += module.path.name != "__init__.py"
    return dict(sizes)


def statements(module):
    """Statements of a module by the rule `STATEMENTS`."""
    return sum(isinstance(node, ast.stmt) and not _is_constant(node) for node in ast.walk(module.tree))


def _is_constant(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def reject_builders(found):
    """Functions that make rows of rejects by hand: a table from columns or rows, with the schema of rejects."""
    return sorted(
        {
            f"{module.name}.{function.name}"
            for module in found.values()
            for function in ast.walk(module.tree)
            if isinstance(function, ast.FunctionDef)
            for call in ast.walk(function)
            if isinstance(call, ast.Call) and _name(call.func) in {"table", "from_pylist", "from_arrays"}
            for keyword in call.keywords
            if keyword.arg == "schema" and _name(keyword.value) in {"REJECTS", "REJECTS_SCHEMA"}
        }
    )


def _name(node):
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None


def reach(found, start, function, package, *, methods):
    """Modules of `package` whose code a call of `function` (``Class.method``) of the module `start` may run.

    Functions that are called by name are followed to where they are defined, methods of ``self`` inside their class;
    with `methods` also those of any other object, to each class that the module defines or imports and that has one
    of the name. Nothing is executed, so branches that are not taken count too.
    """
    seen, todo = set(), [(start, function)]
    while todo:
        here, name = todo.pop()
        body = _definition(found[here], name)
        if (here, name) in seen or body is None:
            continue
        seen.add((here, name))
        known = _known(found[here], found)
        for node in ast.walk(body):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            if isinstance(called, ast.Name) and called.id in known:
                todo.append(known[called.id])
            elif _name(getattr(called, "value", None)) == "self":
                todo.append((here, f"{name.partition('.')[0]}.{called.attr}"))
            elif methods and isinstance(called, ast.Attribute):
                todo += [(home, f"{owner}.{called.attr}") for home, owner in known.values()]
    return sorted({here for here, _ in seen if here.startswith(f"{package}.")})


def _definition(module, name):
    """The function ``name`` or method ``Class.name`` of a module; None where it has none."""
    body = module.tree.body
    *classes, last = name.split(".")
    for each in classes:
        body = next((node.body for node in body if isinstance(node, ast.ClassDef) and node.name == each), [])
    return next((node for node in body if isinstance(node, ast.FunctionDef) and node.name == last), None)


def _known(module, found):
    """Name in a module → module and name of the function or class of this house that it stands for."""
    known = {
        node.name: (module.name, node.name)
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            for alias, target in zip(node.names, _targets(node, module, found), strict=True):
                if target in found:
                    known[alias.asname or alias.name] = (target, alias.name)
    return known


def main(root, say):
    """Tell the figures of the checkout at `root`, a line at a time."""
    found = modules(root)
    largest = max(folders(found).items(), key=lambda each: each[1])
    say(f"modules in the fullest folder: {largest[1]} ({largest[0].relative_to(root)})")
    say(f"import circles: {len(circles(found))}")
    say(f"imports that run upward: {len(upward(found))}")
    storage = ("pipeline.table", "pipeline.flow")
    for rooms, title in ((storage, "table/ and flow/"), ((*storage, *NEW_GROUND), "these and the new ground rooms")):
        counted = (
            module for module in found.values() if module.name.startswith(rooms) and not module.name.startswith(APART)
        )
        say(f"statements of {title}: {sum(map(statements, counted)):,}")
    say(f"  ({STATEMENTS}; without the local engine)")
    builders = reject_builders(found)
    say(f"places that build a reject by hand: {len(builders)} ({', '.join(builders)})")
    start = next(name for name in ("pipeline.table.commit.committer", "pipeline.table.commit") if name in found)
    for methods, title in ((False, "functions and own methods"), (True, "methods of other objects too")):
        passed = reach(found, start, "Committer._commit", "pipeline.table", methods=methods)
        say(f"modules that one commit passes through, {title}: {len(passed)} ({', '.join(passed)})")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve(), Console(soft_wrap=True).out)
