"""The authority that is attacked."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.attacks import Bench
from tests.world import opened


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """An authority on SQLite."""
    async with opened("sqlite", tmp_path) as world:
        bench = Bench(world)
        await bench.begin()
        yield bench
