"""What is done again and again, by one process of all."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from stagedoor.model.errors import StagedoorError

_log = logging.getLogger(__name__)

ROUND_SECONDS: Final = 60.0


async def every_minute(work: Callable[[], Awaitable[object]], may_work: Callable[[], bool], *, undone: str) -> None:
    """Do `work` each minute until cancelled, whenever `may_work` lets this process.

    What goes wrong is tried again; the log says what is `undone` until then.
    """
    while True:
        await asyncio.sleep(ROUND_SECONDS)
        if not may_work():
            continue
        try:
            await work()
        except StagedoorError as error:
            _log.warning("%s: %s", undone, error.message)
