"""Which modules of a package import which others, read from their text: every import counts, wherever it stands."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

Graph = Mapping[str, set[str]]


class Module(NamedTuple):
    """One module of a package: its dotted name, its syntax tree, and whether it is the `__init__` of a package."""

    name: str
    tree: ast.Module
    is_package: bool


@functools.cache
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


@functools.cache
def graph_of(package: str) -> Graph:
    """Each module and those that it imports: at its top, in a function or for the type checker alone."""
    modules = modules_of(package)
    return {name: {*imported(module, modules)} & {*modules} - {name} for name, module in modules.items()}


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
