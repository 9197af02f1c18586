"""Requests of which nobody knows whether they were carried out: the store did not answer, maybe after it had done them.

A client that was told so sends the same again. What it asked for then gets the value it was to have the first time, so that it
is found if it is there. In memory of one process, bounded; a client that wants to be safe over several processes sends a key of
its own (`Idempotency-Key`).
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from stagedoor.model.ids import AccountId
from stagedoor.model.secret import Secret
from stagedoor.service.ports import Clock

KEPT_SECONDS: Final = 120.0
"""How long a request that comes again is taken for the same."""

_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """What tells two requests for a new token apart: the digest of what was sent, and the caller's own key, if any."""

    fingerprint: bytes
    idempotency_key: str | None = None


class Unsure:
    """The values that tokens were to have."""

    def __init__(self, clock: Clock) -> None:
        """Take the clock."""
        self._clock = clock
        self._values: dict[tuple[AccountId, bytes], deque[tuple[float, Secret]]] = {}

    def remember(self, account: AccountId, request: Request | None, value: Secret) -> None:
        """Keep the value of a request that may or may not have been carried out."""
        if request is None:
            return
        if len(self._values) >= _MOST:
            del self._values[next(iter(self._values))]
        self._values.setdefault((account, request.fingerprint), deque(maxlen=_MOST)).append((self._clock(), value))

    def take(self, account: AccountId, request: Request | None) -> Secret | None:
        """Return the value that the same request was to have, once; None when nothing is unsure."""
        if request is None or not self._values:
            return None
        key = account, request.fingerprint
        waiting = self._values.get(key)
        found = None
        while waiting and found is None:
            at, value = waiting.popleft()
            found = value if self._clock() <= at + KEPT_SECONDS else None
        if not waiting:
            self._values.pop(key, None)
        return found
