"""What the executor holds of a job is looked into by the executor and the monitor alone; import contracts cannot see that."""

from __future__ import annotations

import ast
import importlib.util
import tomllib
from pathlib import Path

import pytest

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
CONTRACT = "What decides about jobs handles no process: it speaks to an executor"
HELD = {"run", "handle"}
"""Fields of `ManagedJob` and `ManagedStage` that are the executor's."""


def engine_modules() -> list[str]:
    contracts = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    (modules,) = [each["source_modules"] for each in contracts if each["name"] == CONTRACT]
    return list(modules)


@pytest.mark.parametrize("module", engine_modules())
def test_what_decides_about_jobs_does_not_look_into_what_an_executor_holds(module: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    nodes = ast.walk(ast.parse(Path(spec.origin).read_text()))
    held = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr in HELD]
    # `transitions.handle(...)` registers a handler of an effect; a job is never called `self`.
    assert not [node.lineno for node in held if isinstance(node.value, ast.Name) and node.value.id != "self"]
