"""The control API of MediaMTX (`api: yes`): what runs, how much it carried, and ending it.

MediaMTX asks our own hook whether our calls may be answered; they show a secret that only we and the hook know.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final
from urllib.parse import quote

import httpx
import msgspec

from stagedoor.engines.calls import ControlCalls
from stagedoor.engines.dialect import stream_of
from stagedoor.model.access import Protocol
from stagedoor.model.engine import Engine
from stagedoor.model.errors import Unavailable
from stagedoor.model.session import Broadcast, OpenSession

_LISTS: Final = {
    Protocol.RTMP: ("rtmpconns", "rtmpsconns"),
    Protocol.RTSP: ("rtspsessions", "rtspssessions"),
    Protocol.SRT: ("srtconns",),
    Protocol.WEBRTC: ("webrtcsessions",),
}
_PAGE: Final = 1000
_NOT_THERE: Final = frozenset({404, 400})
"""What an API answers for a list it does not have: that protocol is switched off."""


class _Item(msgspec.Struct, rename="camel"):
    """A session, as far as we read it. Versions name the bytes in one of two ways, or in both."""

    id: str
    inbound_bytes: int = 0
    outbound_bytes: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    state: str = ""
    path: str = ""


class _Page(msgspec.Struct, rename="camel"):
    """A part of a list."""

    items: list[_Item]
    page_count: int = 1


class MediaMtxControl:
    """Calls the control APIs of MediaMTX engines."""

    def __init__(self, calls: ControlCalls) -> None:
        """Take how engines are called."""
        self._calls = calls

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()

    async def sessions(self, engine: Engine) -> Mapping[str, int]:
        """Return the bytes that each session carried so far, by its id.

        Raises: Unavailable.
        """
        return {
            item.id: max(item.inbound_bytes + item.outbound_bytes, item.bytes_received + item.bytes_sent)
            async for _, item in self._items(engine)
        }

    async def broadcasts(self, engine: Engine) -> Sequence[Broadcast]:
        """Return what is being published on an engine.

        Raises: Unavailable.
        """
        return [
            Broadcast(item.id, stream_of(item.path), protocol, "", item.path)
            async for protocol, item in self._items(engine)
            if item.state == "publish"
        ]

    async def end(self, engine: Engine, session: OpenSession) -> None:
        """End a session.

        Raises: Unavailable.
        """
        for name in _LISTS.get(session.start.protocol, ()):
            answer = await self._calls(engine, "POST", f"/v3/{name}/kick/{quote(session.start.session, safe='')}")
            if answer.status_code not in _NOT_THERE and not answer.is_success:
                raise Unavailable(f"the control API of {engine.name} answers {answer.status_code}")

    async def _items(self, engine: Engine) -> AsyncIterator[tuple[Protocol, _Item]]:
        """Yield all sessions, with the protocol that each list is of.

        Raises: Unavailable.
        """
        for protocol, names in _LISTS.items():
            for name in names:
                page, pages = 0, 1
                while page < pages:
                    answer = await self._calls(engine, "GET", f"/v3/{name}/list?page={page}&itemsPerPage={_PAGE}")
                    if answer.status_code in _NOT_THERE:
                        break
                    listed = _read(answer)
                    for item in listed.items:
                        yield protocol, item
                    page, pages = page + 1, listed.page_count


def _read(answer: httpx.Response) -> _Page:
    if not answer.is_success:
        raise Unavailable(f"the control API answers {answer.status_code}; is it the engine's, and is its hook ours?")
    try:
        return msgspec.json.decode(answer.content, type=_Page)
    except msgspec.MsgspecError:
        raise Unavailable("the control API answers something else than a list of sessions") from None
