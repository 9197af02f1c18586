"""What every hook dialect provides: read an engine's call, write the answer it understands."""

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from stagedoor.model.decision import Reason
from stagedoor.model.ids import StreamId, parse_path
from stagedoor.service.authorize import Attempt, Notice

Headers = Iterable[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """An HTTP answer: a status, and a short text that is safe in the engine's log."""

    status: int
    text: str


class OwnSecrets(NamedTuple):
    """What speaks for the engine itself: its hook secret, and what our own calls to its control API show."""

    hook: str
    control: str

    def __repr__(self) -> str:
        """Hide the secrets."""
        return "OwnSecrets(***)"


class Dialect(Protocol):
    """One media server's way of asking."""

    def read(self, path: str, headers: Headers, body: bytes, own_secrets: OwnSecrets) -> Attempt | Notice:
        """Understand a call. `path` is what follows the secret in the hook URL; header names are in lower case.

        Never raises: what cannot be understood is a `Notice` with the reason to refuse it.
        """

    def answer(self, reason: Reason) -> Answer:
        """Write the answer that a decision's reason makes; the same for the same reason."""


PUBLISH_PREFIX: Final = "v2/pub/"
"""The application that encoders of the compatible API publish to; it is no part of the stream's name."""


def stream_of(path: str) -> StreamId:
    """Read a media server's path: `ACCOUNT/NAME`, or `NAME` (also `v2/pub/NAME`) with an empty account."""
    return parse_path(path.removeprefix(PUBLISH_PREFIX))
