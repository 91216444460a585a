"""What belongs together in several places: a request and its handler, a kind of wait and its row on the page, and so on."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args
from unittest.mock import MagicMock

import pytest
from msgspec import Struct, structs

from corral.daemon.handlers import Handlers
from corral.engine import engine
from corral.jobs import transitions
from corral.lifecycle import state_machine
from corral.lifecycle.state import Effect, Event
from corral.model.job import Job, Pipe, Stage
from corral.model.reports import WaitKind
from corral.protocol.requests import REQUESTS

DOCS = Path(__file__).parents[2] / "docs"


def _page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_request_has_a_handler() -> None:
    handlers = Handlers(MagicMock(), MagicMock(), MagicMock(), MagicMock())
    assert {*handlers._handlers, *handlers._handlers_for_caller} == set(REQUESTS)


def test_every_event_has_a_handler() -> None:
    assert state_machine._HANDLERS.keys() == set(Event.__subclasses__())


def test_every_effect_is_carried_out() -> None:
    registering = inspect.getsource(engine) + inspect.getsource(transitions)
    handled = re.findall(r"\bhandle\(([A-Z]\w+), ", registering)
    assert sorted(handled) == sorted(kind.__name__ for kind in Effect.__subclasses__())


def test_every_kind_of_wait_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", _page("why.md"), re.MULTILINE)
    assert [kind for kind in get_args(WaitKind) if kind not in rows] == []


@pytest.mark.parametrize(("row", "kind"), [("job", Job), ("stage", Stage), ("pipe", Pipe)])
def test_the_page_has_every_key_of_the_json(row: str, kind: type[Struct]) -> None:
    (line,) = re.findall(
        rf"^\| {row} \| (.*) \|$", _page("command-line.md").partition("\n## JSON\n")[2], re.MULTILINE
    )
    named = re.findall(r"`(\w+)`", line)
    assert [field.encode_name for field in structs.fields(kind) if field.encode_name not in named] == []
