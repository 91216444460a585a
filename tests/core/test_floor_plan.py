"""The floor plan, beside the import contracts in pyproject.toml: what may be imported where, how long a file may be,
and that a name means one thing."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from imports import Module, graph_of, local_imports, modules_of

PACKAGES = ("corral", "corral_tui")
MOST_LINES_OF_FILE, MOST_LINES_OF_FUNCTION = 500, 60
NOT_YET = "corral_tui.cli."
"""Its verbs still import inside of functions."""


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_and_no_function_is_too_long_to_read(package: str) -> None:
    assert [name for module in modules_of(package).values() for name in _too_long(module)] == []


def _too_long(module: Module) -> Iterator[str]:
    statements = [node for node in ast.walk(module.tree) if isinstance(node, ast.stmt)]
    if max((_last_line(node) for node in statements), default=0) > MOST_LINES_OF_FILE:
        yield module.name
    for node in statements:
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and _last_line(node) - node.lineno + 1 > MOST_LINES_OF_FUNCTION:
            yield f"{module.name}.{node.name}"


def _last_line(node: ast.stmt) -> int:
    return node.end_lineno or 0


def test_no_two_classes_have_one_name() -> None:
    """Whoever looks for a name finds one thing."""
    places: dict[str, list[str]] = {}
    for module in (module for package in PACKAGES for module in modules_of(package).values()):
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module.name)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_nothing_of_the_dashboard_is_imported_inside_of_a_function() -> None:
    """What is loaded late goes through `corral_tui.lazy`, where everybody sees that it is."""
    assert [each for each in local_imports("corral_tui") if not each.startswith(NOT_YET)] == []


def test_a_package_of_the_dashboard_holds_only_its_docstring() -> None:
    packages = [module for module in modules_of("corral_tui").values() if module.is_package]
    assert [one.name for one in packages if one.tree.body[1:]] == []


def test_only_the_start_of_the_dashboard_imports_its_app() -> None:
    importing = [
        name for name, known in graph_of("corral_tui").items() if "corral_tui.dashboard.app" in known
    ]
    assert importing == ["corral_tui.dashboard.start"]
