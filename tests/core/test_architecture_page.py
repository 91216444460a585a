"""docs/architecture.md and CONTRIBUTING.md name files and code that exist, and the layers that the imports keep to."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from imports import graph_of, modules_of

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = {page.name: page.read_text(encoding="utf-8") for page in (ARCHITECTURE, ROOT / "CONTRIBUTING.md")}
_BELOW = {"corral": "core", "corral_tui": "tui"}
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(
    r"(corral|corral_tui|core|tui|tests|docs|bench|reliability)/[\w./-]*|[\w-]+\.(md|toml)|Makefile"
)
_NAME = re.compile(r"(_*[A-Z]\w*)(\.\w+)?|_*[a-z]\w*\(\)")
"""`Class`, `CONSTANT`, `Class.member` and `function()`."""
_NOT_OURS = re.compile(r"(config|dashboard)\.toml|corral/config\.toml|PATH|VERB")
"""Files of a user, and what stands for something else."""


def _items(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """The paths and the names in each line, which is a paragraph, an item of a list or a row of a table."""
    for line in _BLOCK.sub("", text).splitlines():
        codes = [code for code in _CODE.findall(line) if not _NOT_OURS.fullmatch(code)]
        yield (
            [code for code in codes if _PATH.fullmatch(code)],
            [code for code in codes if _NAME.fullmatch(code) and not _PATH.fullmatch(code)],
        )


def _place(path: str) -> Path:
    return ROOT / _BELOW.get(path.partition("/")[0], "") / path


@functools.cache
def _names_in(path: Path) -> frozenset[str]:
    """What is defined in a file, or in all of a folder: `name`, and `Class.member` of each class."""
    if path.is_dir():
        return frozenset().union(*map(_names_in, path.rglob("*.py")))
    if path.suffix != ".py" or not path.is_file():
        return frozenset()
    return frozenset(_defined(ast.parse(path.read_text(encoding="utf-8")), ""))


def _defined(node: ast.AST, of: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.ClassDef(name=name):
                yield of + name
                yield from _defined(child, f"{name}.")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield of + name
                yield from _defined(child, of)
            case ast.Attribute(value=ast.Name("self"), attr=name, ctx=ast.Store()):
                yield of + name
            case ast.Name(id=name, ctx=ast.Store()):
                yield of + name
            case ast.expr() if not isinstance(getattr(child, "ctx", None), ast.Store):
                continue  # A value defines nothing, and is most of a tree.
            case _:
                yield from _defined(child, of)


@pytest.mark.parametrize("page", PAGES)
def test_every_path_on_the_page_is_there(page: str) -> None:
    paths = {path for paths, _ in _items(PAGES[page]) for path in paths}
    assert len(paths) > 20
    assert sorted(path for path in paths if not _place(path).exists()) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_name_on_the_page_is_defined_in_a_file_that_stands_beside_it(page: str) -> None:
    """Beside it once at least: a name may be mentioned again without its file."""
    placed, mentioned = set[str](), set[str]()
    for paths, names in _items(PAGES[page]):
        known = frozenset().union(*(_names_in(_place(path)) for path in paths if path.endswith((".py", "/"))))
        found = {name for name in names if name.removesuffix("()") in known}
        placed |= found | {name.partition(".")[0] for name in found}
        mentioned |= {*names}
    assert len(placed) > 40
    assert sorted(mentioned - placed) == []


def test_modules_that_are_named_are_there() -> None:
    modules = {*modules_of("corral"), *modules_of("corral_tui")}
    named = {
        code
        for text in PAGES.values()
        for code in _CODE.findall(text)
        if re.fullmatch(r"corral(_tui)?\.(?!db\b)\w+\.[\w.]+", code)
    }
    assert named - modules == set()


def _layers(package: str) -> dict[str, int]:
    """The line of each package in its diagram, the lowest one last."""
    (block,) = re.findall(
        rf"^```text layers of {package}\n(.*?)^```$", PAGES[ARCHITECTURE.name], re.MULTILINE | re.DOTALL
    )
    return {
        f"{package}.{name}": number for number, line in enumerate(block.splitlines()) for name in line.split()
    }


@pytest.mark.parametrize("package", _BELOW)
def test_the_diagram_has_every_package_and_imports_go_down_only(package: str) -> None:
    layers = _layers(package)
    modules = modules_of(package)

    def home_of(module: str) -> str | None:
        return max(
            (each for each in layers if module == each or module.startswith(f"{each}.")),
            key=len,
            default=None,
        )

    code = [name for name, module in modules.items() if not module.is_package]
    assert [name for name in code if home_of(name) is None] == []
    assert layers.keys() == {home_of(name) for name in code}
    graph = graph_of(package)
    upwards = [
        f"{name} imports {target}"
        for name in code
        for target in graph[name]
        if not modules[target].is_package
        if (above := home_of(name)) != (below := home_of(target))
        if layers[above or ""] >= layers[below or ""]
    ]
    assert upwards == []
