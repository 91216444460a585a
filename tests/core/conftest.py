"""A manager for all tests of a file that look at no jobs but their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from corral.library.manager import JobManager
from managers import opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[JobManager]:
    """Its loop is that of the module: `pytestmark = pytest.mark.asyncio(loop_scope="module")`."""
    async with opened() as manager:
        yield manager
