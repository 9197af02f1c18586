"""One piece of work for many callers."""

import asyncio
from collections.abc import Sequence

import pytest

from stagedoor.store.gather import Gather


class Work:
    """Notes the batches it gets, and answers each when it is let to: an item with its double, a 13 with an error."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Semaphore(0)
        self.fails = False

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        await self.go.acquire()
        if self.fails:
            raise LookupError
        return [ValueError(item) if item == 13 else item * 2 for item in items]


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_asked_while_one_is_under_way_makes_up_the_next() -> None:
    """And everyone gets their own answer."""
    work = Work()
    gather = Gather(work, most=10)
    first = asyncio.create_task(gather(1))
    await _settle()
    others = [asyncio.create_task(gather(n)) for n in (2, 3, 4)]
    await _settle()
    assert work.batches == [[1]]
    work.go.release()
    assert await first == 2
    await _settle()
    assert work.batches == [[1], [2, 3, 4]]
    work.go.release()
    assert await asyncio.gather(*others) == [4, 6, 8]


async def test_no_batch_is_larger_than_it_may_be() -> None:
    """The rest comes after it, in the order in which it was asked."""
    work = Work()
    gather = Gather(work, most=3)
    for _ in range(3):
        work.go.release()
    assert await asyncio.gather(*(gather(n) for n in range(7))) == [n * 2 for n in range(7)]
    assert work.batches == [[0, 1, 2], [3, 4, 5], [6]]


async def test_one_callers_error_is_that_ones_alone() -> None:
    """The others have their answers."""
    work = Work()
    gather = Gather(work, most=10)
    work.go.release()
    answers = await asyncio.gather(gather(1), gather(13), gather(2), return_exceptions=True)
    assert (answers[0], answers[2]) == (2, 4)
    assert isinstance(answers[1], ValueError)


async def test_what_the_work_raises_all_of_its_callers_get_and_the_next_go_on() -> None:
    """A failure is not kept."""
    work = Work()
    gather = Gather(work, most=10)
    work.fails = True
    work.go.release()
    answers = await asyncio.gather(gather(1), gather(2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LookupError, LookupError]
    work.fails = False
    work.go.release()
    assert await gather(3) == 6


async def test_a_caller_that_goes_away_in_time_takes_its_item_along() -> None:
    """Later the work goes on without it."""
    work = Work()
    gather = Gather(work, most=10)
    first = asyncio.create_task(gather(1))
    await _settle()
    waiting, stays = asyncio.create_task(gather(2)), asyncio.create_task(gather(3))
    await _settle()
    waiting.cancel()
    first.cancel()
    await asyncio.gather(first, waiting, return_exceptions=True)
    work.go.release()
    work.go.release()
    assert await stays == 6
    assert work.batches == [[1], [3]]


async def test_resting_waits_for_work_whose_callers_went_away() -> None:
    """So that nobody closes what it works on."""
    work = Work()
    gather = Gather(work, most=10)
    await gather.rest()
    caller = asyncio.create_task(gather(1))
    await _settle()
    caller.cancel()
    rest = asyncio.create_task(gather.rest())
    await _settle()
    assert not rest.done()
    work.go.release()
    await rest
    assert caller.cancelled()


async def test_work_that_is_ended_leaves_no_caller_waiting() -> None:
    """As when the loop ends."""
    work = Work()
    gather = Gather(work, most=1)
    callers = [asyncio.create_task(gather(n)) for n in range(3)]
    await _settle()
    assert gather._worker is not None
    gather._worker.cancel()
    async with asyncio.timeout(5):
        for caller in callers:
            with pytest.raises(asyncio.CancelledError):
                await caller
