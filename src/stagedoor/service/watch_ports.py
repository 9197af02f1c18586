"""What the watchers need from outside, as a protocol. Instants in seconds since the epoch.

What a call tells of is written down as events in the transaction that also says that it was told, so that it is told once,
however many processes of however many machines call.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from stagedoor.model.events import EventType
from stagedoor.model.ids import AccountId, TokenId

Stream = tuple[AccountId, str]
"""An account, and the name of a stream of it."""


class Lead(NamedTuple):
    """A reminder: so many seconds before a token expires (0: when it has), and what the event calls it."""

    seconds: int
    name: str = ""


LEADS: Final = (Lead(7 * 86400, "7d"), Lead(86400, "24h"), Lead(3600, "1h"), Lead(0))
"""Longest first."""

ATTEMPT_SECONDS: Final = 10.0
"""Of one stream's attempts to watch, one is told of in so long."""

EMPTY_SECONDS: Final = 60.0
"""How long after the last viewer went it is told that there is none."""


class FirstUse(NamedTuple):
    """A token that was let in, perhaps for the first time ever."""

    token_id: TokenId
    at: float
    stream: str


class Suspicion(NamedTuple):
    """Something about refusals that an owner may want to hear of: of a token, or with `token_id` None of an account.

    It is told of unless the same was within `quiet_seconds` before `at`. `account` does not count where there is a token.
    """

    type: EventType
    account: AccountId
    token_id: TokenId | None
    at: float
    quiet_seconds: float
    data: Mapping[str, object]


class WatchStore(Protocol):
    """What was looked through, and what was told. Every method raises `Unavailable` when the store does not answer."""

    async def remind(self, lead: Lead, sooner_seconds: int, now: float, most: int) -> bool:
        """Tell of tokens that come so close to their expiry, from where the last call stopped; tell whether there are more.

        Of at most `most` tokens. Those that are closer than `sooner_seconds` by now are passed over, and so are those that
        were made with no longer a life than the reminder's. The first call ever only begins to look.
        """

    async def first_used(self, uses: Sequence[FirstUse]) -> None:
        """Tell of those that were never used before."""

    async def attempted(self, attempts: Mapping[Stream, float]) -> None:
        """Tell of attempts to watch, where none was told of within `ATTEMPT_SECONDS`."""

    async def look_at_viewers(self, now: float) -> None:
        """Tell of streams that have viewers and had none, and of those that have had none for `EMPTY_SECONDS`."""

    async def suspect(self, suspicions: Collection[Suspicion]) -> None:
        """Tell of suspicions that are not quiet yet."""

    async def forget_marks(self, before: float) -> None:
        """Delete what is kept of suspicions that were told, and of streams that nobody watches, before an instant."""
