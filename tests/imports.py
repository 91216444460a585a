"""Which modules of a package import which others, read from their text: every import counts, wherever it stands."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

Graph = Mapping[str, set[str]]


class Module(NamedTuple):
    """One module of a package: its dotted name, its syntax tree, and whether it is the `__init__` of a package."""

    name: str
    tree: ast.Module
    is_package: bool


def modules_of(package: str) -> dict[str, Module]:
    """Every module of an installed package, by its dotted name."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found[name] = Module(name, ast.parse(path.read_text(encoding="utf-8")), is_package)
    return found


def graph_of(package: str) -> Graph:
    """Each module and those that it imports: at its top, in a function or for the type checker alone.

    To import `a.b.c` runs `a/__init__` and `a/b/__init__` first, so these count too; but not those of the packages that
    the module itself is in, unless it names them: they have run before it.
    """
    modules = modules_of(package)
    graph: dict[str, set[str]] = {}
    for name, module in modules.items():
        named = set(imported(module, modules))
        run = {each for target in named for each in packages_of(target)} - {*packages_of(name)}
        graph[name] = {each for each in named | run if each in modules and each != name}
    return graph


def imported(module: Module, known: Mapping[str, Module]) -> Iterator[str]:
    """What the statements of a module name; of `from a import b` the module `a.b`, if `b` is one."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base_of(node, module)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in known else base


def packages_of(name: str) -> list[str]:
    """`a` and `a.b` for `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def circle_in(graph: Graph) -> list[str]:
    """One circle of imports, its first module again at the end; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def local_imports(package: str) -> list[str]:
    """Where a module of the package is imported inside of a function: `module:line`."""
    return [
        f"{module.name}:{node.lineno}"
        for module in modules_of(package).values()
        for function in ast.walk(module.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom) and package in _roots_of(node, module)
    ]


def _base_of(node: ast.ImportFrom, module: Module) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    up = node.level - 1 if module.is_package else node.level
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])


def _roots_of(node: ast.Import | ast.ImportFrom, module: Module) -> set[str]:
    names = [_base_of(node, module)] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
    return {name.partition(".")[0] for name in names}
