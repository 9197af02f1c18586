"""Groups of streams: names under one id, for tokens that are good for all of them, also for those that are added later."""

from dataclasses import dataclass

from stagedoor.model.ids import AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamGroup:
    """A group of an account's streams. `added_on` is in seconds since the epoch."""

    account: AccountId
    id: str
    label: str
    streams: tuple[str, ...]
    added_on: int
