"""Slow down who shows wrong secrets: each failure from an address makes its next one wait longer.

Only failures wait: whoever shows a right secret is let in at once, also from an address that others guess from. In memory of
one process, bounded.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from stagedoor.model.addresses import Network, network_of, parse_address
from stagedoor.model.errors import TooMany
from stagedoor.service.ports import Clock

FREE: Final = 5
"""So many failures wait for nothing: people mistype."""

LONGEST_SECONDS: Final = 5.0
"""No failure waits longer."""

_FIRST_SECONDS: Final = 0.1
_FORGOTTEN_SECONDS: Final = 60.0
_MOST_WAITING: Final = 20
_MOST_ADDRESSES: Final = 10_000
_NETWORK_BITS: Final = {4: 32, 6: 64}

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class _Failures:
    """What one address did: how many failures, when the last one was, how many wait now."""

    count: int = 0
    last_at: float = 0.0
    waiting: int = 0


class Slowdown:
    """Counts the failures of addresses."""

    def __init__(self, *, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        """Take the clock, and how to wait."""
        self._clock = clock
        self._sleep = sleep
        self._addresses: dict[Network | None, _Failures] = {}

    async def failed(self, client_ip: str) -> None:
        """Note a failure from an address, and return when it may be told of.

        Raises: TooMany when too many of that address are waiting already.
        """
        failures = self._of(client_ip)
        now = self._clock()
        failures.count = 1 if now > failures.last_at + _FORGOTTEN_SECONDS else failures.count + 1
        failures.last_at = now
        beyond = failures.count - FREE
        if beyond <= 0:
            return
        if failures.waiting >= _MOST_WAITING:
            raise TooMany("too many wrong secrets from this address; wait", retry_after_seconds=int(LONGEST_SECONDS))
        failures.waiting += 1
        try:
            await self._sleep(min(_FIRST_SECONDS * 2 ** min(beyond - 1, 10), LONGEST_SECONDS))
        finally:
            failures.waiting -= 1

    def _of(self, client_ip: str) -> _Failures:
        """Return what is known of an address, as the newest. Of IPv6 addresses the network is what counts."""
        address = parse_address(client_ip)
        key = None if address is None else network_of(address, _NETWORK_BITS[address.version])
        found = self._addresses.pop(key, None) or _Failures()
        if len(self._addresses) >= _MOST_ADDRESSES:
            del self._addresses[next(iter(self._addresses))]
        self._addresses[key] = found
        return found
