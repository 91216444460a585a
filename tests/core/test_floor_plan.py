"""The floor plan: no circle of imports, whatever kind closes it, and nothing that is too long to read."""

from __future__ import annotations

import ast

import pytest

from imports import circle_in, graph_of, modules_of

MOST_LINES_OF_FILE, MOST_LINES_OF_FUNCTION = 500, 60


def test_no_module_of_the_engine_imports_itself_by_way_of_others() -> None:
    assert circle_in(graph_of("corral")) == []


@pytest.mark.parametrize("package", ["corral", "corral_tui"])
def test_no_file_and_no_function_is_too_long_to_read(package: str) -> None:
    too_long = []
    for name, module in modules_of(package).items():
        nodes = [
            node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        lines = max(
            (node.end_lineno or 0 for node in ast.walk(module.tree) if isinstance(node, ast.stmt)), default=0
        )
        too_long += [name] if lines > MOST_LINES_OF_FILE else []
        too_long += [
            f"{name}.{node.name}"
            for node in nodes
            if (node.end_lineno or 0) - node.lineno + 1 > MOST_LINES_OF_FUNCTION
        ]
    assert too_long == []
