"""One piece of work for many callers: what is asked while one is under way makes up the next."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Gather(Generic[T, R]):
    """Calls `work` with the items of up to `most` callers; it returns for each what that caller gets, or the error.

    What `work` raises, all of its callers get. A caller that goes away before its item is taken up takes it along;
    afterwards the work goes on without it.
    """

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]], *, most: int) -> None:
        self._work = work
        self._most = most
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """Have the work done for `item`, with that of others."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._worker is None:
            self._worker = asyncio.create_task(self._run(), name="gathered work")
        return await answer

    async def rest(self) -> None:
        """Wait until nothing is under way."""
        if self._worker is not None:
            await asyncio.wait((self._worker,))

    async def _run(self) -> None:
        try:
            while taken := self._take():
                await self._answer(taken)
        finally:
            self._worker = None
            # Only when the loop ends are there any left: nobody would take them up.
            for _, answer in self._waiting:
                answer.cancel()
            self._waiting.clear()

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        taken: list[tuple[T, asyncio.Future[R]]] = []
        while self._waiting and len(taken) < self._most:
            item, answer = self._waiting.popleft()
            if not answer.done():
                taken.append((item, answer))
        return taken

    async def _answer(self, taken: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        results: Sequence[R | Exception]
        try:
            results = await self._work([item for item, _ in taken])
        except Exception as error:  # noqa: BLE001  whatever it is, the callers get it
            results = [error] * len(taken)
        except BaseException:
            for _, answer in taken:
                answer.cancel()
            raise
        for (_, answer), result in zip(taken, results, strict=True):
            if answer.done():
                continue
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)
