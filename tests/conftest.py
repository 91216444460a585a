"""What holds for every test: a failure is reported whatever its message contains, and no clock fails one."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import hypothesis
import pytest

# A machine that is busy with something else stops an example for longer than any deadline.
hypothesis.settings.register_profile("corral", deadline=None)
hypothesis.settings.load_profile("corral")


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
