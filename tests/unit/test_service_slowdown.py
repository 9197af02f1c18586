# ruff: noqa: D103
"""Who shows wrong secrets is slowed down, and nobody else."""

import asyncio

import pytest

from stagedoor.model.errors import TooMany
from stagedoor.service.slowdown import FREE, LONGEST_SECONDS, Slowdown


class Bench:
    """A slowdown whose clock is put and whose waits are written down."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.slowdown = Slowdown(clock=lambda: self.now, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def fail(self, times: int, client_ip: str = "192.0.2.1") -> list[float]:
        """Fail from an address, and return how long each failure waited."""
        self.waits = []
        for _ in range(times):
            await self.slowdown.failed(client_ip)
        return self.waits


async def test_the_first_failures_wait_for_nothing_and_the_next_ever_longer() -> None:
    bench = Bench()
    assert await bench.fail(FREE) == []
    waits = await bench.fail(12)
    assert waits == sorted(waits)
    assert waits[0] < waits[1] < waits[2]
    assert waits[-1] == LONGEST_SECONDS


async def test_each_address_counts_for_itself() -> None:
    bench = Bench()
    await bench.fail(FREE + 3)
    assert await bench.fail(FREE, "192.0.2.2") == []


async def test_ipv6_addresses_of_one_network_count_together() -> None:
    """A host has all of a /64 to call from."""
    bench = Bench()
    await bench.fail(FREE, "2001:db8::1")
    assert len(await bench.fail(1, "2001:db8::2")) == 1
    assert await bench.fail(1, "2001:db8:0:1::2") == []


async def test_failures_are_forgotten() -> None:
    bench = Bench()
    await bench.fail(FREE + 3)
    bench.now += 61
    assert await bench.fail(FREE) == []


async def test_what_is_no_address_counts_together() -> None:
    bench = Bench()
    await bench.fail(FREE, "unix:")
    assert len(await bench.fail(1, "")) == 1


async def test_too_many_at_once_are_told_to_come_back() -> None:
    release = asyncio.Event()

    async def wait(_seconds: float) -> None:
        await release.wait()

    slowdown = Slowdown(clock=lambda: 0.0, sleep=wait)
    for _ in range(FREE):
        await slowdown.failed("192.0.2.1")
    waiting = [asyncio.create_task(slowdown.failed("192.0.2.1")) for _ in range(20)]
    await asyncio.sleep(0)
    with pytest.raises(TooMany) as caught:
        await slowdown.failed("192.0.2.1")
    assert caught.value.retry_after_seconds == LONGEST_SECONDS
    await slowdown.failed("192.0.2.2")
    release.set()
    await asyncio.gather(*waiting)
    await slowdown.failed("192.0.2.1")


async def test_memory_is_bounded_and_the_newest_are_kept() -> None:
    bench = Bench()
    await bench.fail(FREE, "192.0.2.1")
    for number in range(10_000):
        await bench.slowdown.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(bench.slowdown._addresses) == 10_000
    assert await bench.fail(FREE, "192.0.2.1") == []
