"""The HLS viewers of this process: each request of theirs is asked about, and a session is all of them together.

Kept in memory and bounded; the one that was let in first makes room, and is then asked of the store again.
"""

from typing import Final

from stagedoor.model.access import Access
from stagedoor.model.ids import TokenId
from stagedoor.model.session import HLS_SILENCE_SECONDS
from stagedoor.model.token import VerifiedToken

CONFIRMED_SECONDS: Final = 5.0
"""How long a viewer that was counted is not counted again; a limit that changed bites after so long at most."""

_MOST: Final = 100_000

Viewer = tuple[TokenId, str, str, str]
"""A token, which child of it (empty: itself), the stream it watches, and from where."""


def viewer_of(token: VerifiedToken, access: Access) -> Viewer:
    """Return who watches with a token."""
    return (token.id, token.fingerprint, access.stream.name, access.client_ip)


class HlsViewers:
    """Who was let in, and when last (instants in seconds since the epoch)."""

    def __init__(self) -> None:
        """Start with none."""
        self._seen: dict[Viewer, float] = {}
        self._confirmed: dict[Viewer, float] = {}

    def running(self, viewer: Viewer, now: float) -> tuple[bool, bool]:
        """Tell whether the viewer was let in a short while ago, and whether the store has counted it a moment ago."""
        seen = now < self._seen.get(viewer, 0.0) + HLS_SILENCE_SECONDS
        return seen, now < self._confirmed.get(viewer, 0.0) + CONFIRMED_SECONDS

    def saw(self, viewer: Viewer, now: float) -> None:
        """Note that the viewer was let in."""
        _keep(self._seen, viewer, now)

    def confirmed(self, viewer: Viewer, now: float) -> None:
        """Note that the store has counted the viewer."""
        _keep(self._seen, viewer, now)
        _keep(self._confirmed, viewer, now)


def _keep(kept: dict[Viewer, float], viewer: Viewer, now: float) -> None:
    if len(kept) >= _MOST and viewer not in kept:
        del kept[next(iter(kept))]
    kept[viewer] = now
