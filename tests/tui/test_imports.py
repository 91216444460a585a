"""How the modules of `corral_tui` hang together."""

from __future__ import annotations

from pathlib import Path

import pytest

from imports import Graph, circle_in, graph_of, local_imports, modules_of

NOT_YET = "corral_tui.cli."
"""Its verbs still import inside of functions, though in no circle."""


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circle_in(graph_of("corral_tui")) == []


def test_nothing_is_imported_inside_of_a_function() -> None:
    """What is loaded late goes through `corral_tui.lazy`, where everybody sees that it is."""
    assert [each for each in local_imports("corral_tui") if not each.startswith(NOT_YET)] == []


def test_a_package_holds_only_its_docstring() -> None:
    packages = [module for module in modules_of("corral_tui").values() if module.is_package]
    assert [one.name for one in packages if one.tree.body[1:]] == []


def test_only_the_start_of_the_dashboard_imports_its_app() -> None:
    importing = [
        name for name, targets in graph_of("corral_tui").items() if "corral_tui.dashboard.app" in targets
    ]
    assert importing == ["corral_tui.dashboard.start"]


@pytest.mark.parametrize(
    "files",
    [
        {"a.py": "import made.b", "b.py": "from made import a"},
        {"a.py": "import made.b", "b.py": "def f():\n    from . import a"},
        {"a.py": "import made.b", "b.py": "if TYPE_CHECKING:\n    from .a import A"},
        {"a.py": "import made.inner.c", "inner/__init__.py": "import made.a", "inner/c.py": ""},
        {"a.py": "from made import VERSION", "__init__.py": "import made.a"},
    ],
)
def test_a_circle_of_any_kind_is_seen(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert circle_in(graph_of_files(files, tmp_path, monkeypatch))


def test_a_package_may_import_what_it_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"__init__.py": "from made.a import A", "a.py": "import made.b", "b.py": "import os"}
    graph = graph_of_files(files, tmp_path, monkeypatch)
    assert graph == {"made": {"made.a"}, "made.a": {"made.b"}, "made.b": set()}
    assert circle_in(graph) == []


def graph_of_files(files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Graph:
    """The graph of a package `made` of these files."""
    for name, text in {"__init__.py": "", **files}.items():
        path = tmp_path / "made" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return graph_of("made")
