"""What holds for every test: a failure is reported whatever its message contains, no clock fails one, nothing is left in /tmp."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from typing import Any
from unittest import mock

import hypothesis
import pytest

import forkserver

# Else each worker would compile every test in each run, wherever the environment (PYTHONDONTWRITEBYTECODE) asks for no such files.
sys.dont_write_bytecode = False

# A machine that is busy with something else stops an example for longer than any deadline.
hypothesis.settings.register_profile("corral", deadline=None)
hypothesis.settings.load_profile("corral")


def pytest_collection_finish() -> None:
    """No search for what can be freed goes again through the tests themselves and all that they import."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def temporary_files_of_children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the children of the tests make with `tempfile`, and cannot remove since they are ended, goes with the tests' own."""
    with mock.patch.dict(os.environ, {"TMPDIR": os.fspath(tmp_path_factory.mktemp("children"))}):
        yield


@pytest.fixture(scope="session", autouse=True)
def forked_daemons(request: pytest.FixtureRequest) -> Iterator[None]:
    """The server starts before the tests that may need it: what it imports takes longer than a daemon may under load."""
    if any("tui" not in item.path.parts for item in request.session.items):
        forkserver.server()
    with forkserver.daemons():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """A path that is no text stands in a message as lone surrogates, which execnet cannot send: it ends the whole run."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_encodable, value))
    return value
