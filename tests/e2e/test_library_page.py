"""Every example of docs/library.md, run as a program of its own: what the page says is what happens."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import forkserver
from e2e.command import Corral

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
RUN_IT = """
import ast, asyncio, gc, inspect, sys, warnings
warnings.simplefilter("error")
code = compile(sys.stdin.read(), "docs/library.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
space = {"__name__": "__main__"}
if code.co_flags & inspect.CO_COROUTINE:
    asyncio.run(eval(code, space))
else:
    exec(code, space)
space.clear()
gc.collect()  # what was left open warns
"""
"""As `python -m asyncio` runs it, but with the errors of a program."""
WHIRLPOOL = ("openssl", "dgst", "-provider", "legacy", "-provider", "default", "-whirlpool", "-binary")
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def _examples() -> Iterator[Any]:
    page = PAGE.read_text(encoding="utf-8")
    for number, block in enumerate(_BLOCK.finditer(page), 1):
        headings = _HEADING.findall(page, 0, block.start())
        title = headings[-1] if headings else "The library"
        yield pytest.param(block[1], id=f"{number} {title}")


def test_the_page_has_the_six_systems() -> None:
    headings = _HEADING.findall(PAGE.read_text(encoding="utf-8"))
    assert [heading[0] for heading in headings[:6]] == list("123456")
    examples = list(_examples())
    assert len(examples) >= 12
    assert all("assert" in example.values[0] or "raise" in example.values[0] for example in examples)


@pytest.mark.parametrize("example", list(_examples()))
def test_an_example_of_the_page_does_what_it_says(example: str, shared: Corral) -> None:
    if "openssl" in example and shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    if "-whirlpool" in example and subprocess.run(WHIRLPOOL, input=b"", capture_output=True).returncode != 0:
        pytest.skip("this openssl has no Whirlpool in a legacy provider")
    argv = [sys.executable, "-c", RUN_IT]
    ended = forkserver.run(
        argv, input=example, text=True, timeout=60, cwd=shared.directory, env=shared.environment
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended
