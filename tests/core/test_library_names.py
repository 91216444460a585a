"""What the library shows of itself: its names, their help, the page about it, and what type checkers see."""

from __future__ import annotations

import ast
import inspect
import pydoc
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

import corral
from corral.library.job_handle import JobHandle
from corral.library.manager import JobManager
from corral.library.options import Options

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (`.*?) \|", re.MULTILINE)


def _public(kind: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(kind).items():
        if not name.startswith("_"):
            yield name, member


def _methods(kind: type) -> set[str]:
    """Each as the page writes it: `wait(timeout=None)`."""
    return {_written(name, member) for name, member in _public(kind) if inspect.isfunction(member)}


def _written(name: str, method: Any) -> str:
    parameters = list(inspect.signature(method).parameters.values())[1:]
    words = []
    for parameter in parameters:
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        words.append(f"{stars}{parameter.name}{default}")
    return f"{name}({', '.join(words)})"


def _rows(heading: str) -> set[str]:
    """The code in the first column of the table below a heading of the page."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return {code for cell in _ROW.findall(section) for code in re.findall(r"`([^`]+)`", cell)}


def test_the_page_has_every_method_as_it_is() -> None:
    assert _rows("A manager") == _methods(JobManager) | {"reports", "session"}
    assert _rows("A job handle") == _methods(JobHandle) | {"id"}
    assert _rows("Options of `start`, `start_many` and `run`") == set(Options.__annotations__)


def test_the_page_names_everything_that_is_public() -> None:
    missing = [name for name in corral.__all__ if f"`{name}" not in PAGE and f"corral.{name}" not in PAGE]
    assert missing == ["__version__"]


def test_the_package_shows_its_public_names() -> None:
    """Without loading anything for it: the command line imports the package as well."""
    code = "import sys, corral; dir(corral); print(sorted(m for m in sys.modules if 'corral' in m or m == 'asyncio'))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "['corral']"
    assert {name for name in dir(corral) if not name.startswith("__")} == set(corral.__all__) - {
        "__version__"
    }
    assert all(getattr(corral, name) is not None for name in corral.__all__)
    assert {"open", "connect", "JobManager", "JobHandle", "Job", "UsageError"} <= set(corral.__all__)
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        corral.opne  # type: ignore[attr-defined]  # noqa: B018


def test_type_checkers_and_the_program_see_the_same_names() -> None:
    tree = ast.parse(Path(inspect.getfile(corral)).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname is not None
    }
    assert imported == corral._HOME_OF
    assert (Path(inspect.getfile(corral)).parent / "py.typed").exists()


def test_help_tells_of_everything() -> None:
    text = pydoc.render_doc(corral, renderer=pydoc.plaintext)
    for name in {*corral.__all__} - {"__version__"}:
        assert re.search(rf"\b{name}\b", text), name
    for kind in (JobManager, JobHandle):
        for name, member in _public(kind):
            assert inspect.getdoc(member), f"{kind.__name__}.{name}"


def _types_in(hint: Any) -> Iterator[type]:
    """The classes of Corral that a hint names."""
    if isinstance(hint, type) and hint.__module__.startswith("corral") and not get_origin(hint):
        yield hint
    for part in get_args(hint):
        if not isinstance(part, str | int):
            yield from _types_in(part)


def _returned() -> set[type]:
    """Every type that a manager or a job returns, and those of their fields."""
    found: set[type] = set()
    pending = [
        hint
        for kind in (JobManager, JobHandle)
        for _, member in _public(kind)
        if inspect.isfunction(member)
        for hint in _types_in(get_type_hints(member)["return"])
    ]
    while pending:
        kind = pending.pop()
        if kind not in found:
            found.add(kind)
            if issubclass(kind, msgspec.Struct):
                pending += [each for hint in get_type_hints(kind).values() for each in _types_in(hint)]
    return found


def test_what_comes_back_has_public_names_and_each_field_a_docstring() -> None:
    kinds = _returned()
    assert {corral.Job, corral.Stage, corral.Diagnosis, corral.StopReport, corral.Frame} <= kinds
    for kind in kinds:
        assert getattr(corral, kind.__name__) is kind
        assert inspect.getdoc(kind)
        if issubclass(kind, msgspec.Struct):
            assert _undescribed(kind) == [], kind


def _undescribed(kind: type) -> list[str]:
    """Fields without a docstring that the one of the class does not name either."""
    (node,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(node, ast.ClassDef)
    return [
        field.target.id
        for field, follows in zip(node.body, [*node.body[1:], None], strict=True)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if not isinstance(follows, ast.Expr) and f"`{field.target.id}`" not in (kind.__doc__ or "")
    ]
