"""The system that a command works on: its settings, and its administration."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from stagedoor import config

if TYPE_CHECKING:
    from stagedoor.app import Administration

T = TypeVar("T")


def settings(**given: Any) -> config.Settings:
    """Return the settings; `given` (by options) goes before the environment, None stands for not given.

    Raises: ConfigError.
    """
    return config.load(os.environ, **given)


def administer(system: config.Settings, work: "Callable[[Administration], Awaitable[T]]") -> T:
    """Open a system, brought to this version, and return what `work` on it returns.

    Raises: ConfigError when there is no such system; whatever `work` raises.
    """
    from stagedoor.app import administration, prepare_data  # noqa: PLC0415

    async def run() -> T:
        prepare_data(system)
        async with administration(system) as admin:
            return await work(admin)

    return asyncio.run(run())
