"""The floor plan of the engine: no circle, whatever kind of import closes it."""

from __future__ import annotations

from imports import circle_in, graph_of


def test_no_module_of_the_engine_imports_itself_by_way_of_others() -> None:
    assert circle_in(graph_of("corral")) == []
