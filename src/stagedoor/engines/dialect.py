"""What every hook dialect provides: read an engine's call, write the answer it understands."""

from typing import NamedTuple, Protocol

from stagedoor.model.decision import Decision
from stagedoor.model.ids import AccountId, is_account_id
from stagedoor.service.authorize import Attempt, Notice


class HookCall(NamedTuple):
    """An engine's HTTP call. `path` is what follows the secret in the hook URL; `headers` have lower-case names."""

    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    secret: str


class Answer(NamedTuple):
    """An HTTP answer: a status, and a short text that is safe in the engine's log."""

    status: int
    text: str


class Dialect(Protocol):
    """One media server's way of asking."""

    def read(self, call: HookCall) -> Attempt | Notice:
        """Understand a call. Never raises: what cannot be understood is a `Notice` with the reason to refuse it."""

    def answer(self, decision: Decision) -> Answer:
        """Write a decision."""


PUBLISH_PREFIX = "v2/pub/"
"""The application that encoders of the compatible API publish to; it is no part of the stream's name."""


def split_path(path: str) -> tuple[AccountId, str]:
    """Read a media server's path: `ACCOUNT/NAME`, or `NAME` (also `v2/pub/NAME`) with an empty account."""
    path = path.removeprefix(PUBLISH_PREFIX)
    account, slash, name = path.partition("/")
    if slash and is_account_id(account):
        return AccountId(account), name
    return AccountId(""), path
