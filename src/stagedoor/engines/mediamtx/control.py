"""The control API of MediaMTX (`api: yes`): what runs, how much it carried, and ending it.

MediaMTX asks our own hook whether our calls may be answered; they show a secret that only we and the hook know.
"""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import httpx
import msgspec

from stagedoor.model.access import Protocol
from stagedoor.model.engine import Engine
from stagedoor.model.errors import Unavailable
from stagedoor.model.session import OpenSession

_LISTS: Final = {
    Protocol.RTMP: ("rtmpconns", "rtmpsconns"),
    Protocol.RTSP: ("rtspsessions", "rtspssessions"),
    Protocol.SRT: ("srtconns",),
    Protocol.WEBRTC: ("webrtcsessions",),
}
TIMEOUT_SECONDS: Final = 5.0
"""How long the control API may take to answer."""

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


class _Page(msgspec.Struct, rename="camel"):
    """A part of a list."""

    items: list[_Item]
    page_count: int = 1


class MediaMtxControl:
    """Calls the control APIs of MediaMTX engines."""

    def __init__(
        self, *, secret_of: Callable[[Engine], str], transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Take what our calls to an engine show; and a transport, where it is not to be the network."""
        # Security: no redirect is followed and no proxy of the environment is used: both would carry the secret elsewhere.
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False, transport=transport
        )
        self._secret_of = secret_of

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def sessions(self, engine: Engine) -> Mapping[str, int]:
        """Return the bytes that each session carried so far, by its id.

        Raises: Unavailable.
        """
        found: dict[str, int] = {}
        for name in (name for names in _LISTS.values() for name in names):
            page = 0
            while True:
                answer = await self._call(engine, "GET", f"{name}/list?page={page}&itemsPerPage={_PAGE}")
                if answer.status_code in _NOT_THERE:
                    break
                listed = _read(answer)
                for item in listed.items:
                    found[item.id] = max(
                        item.inbound_bytes + item.outbound_bytes, item.bytes_received + item.bytes_sent
                    )
                page += 1
                if page >= listed.page_count:
                    break
        return found

    async def end(self, engine: Engine, session: OpenSession) -> None:
        """End a session.

        Raises: Unavailable.
        """
        for name in _LISTS.get(session.start.protocol, ()):
            answer = await self._call(engine, "POST", f"{name}/kick/{quote(session.start.session, safe='')}")
            if answer.status_code not in _NOT_THERE and not answer.is_success:
                raise Unavailable(f"the control API of {engine.name} answers {answer.status_code}")

    async def _call(self, engine: Engine, method: str, path: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._secret_of(engine)}"}
        try:
            return await self._client.request(method, f"{engine.control_url.rstrip('/')}/v3/{path}", headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(f"the control API of {engine.name} does not answer: {type(error).__name__}") from None


def _read(answer: httpx.Response) -> _Page:
    if not answer.is_success:
        raise Unavailable(f"the control API answers {answer.status_code}; is it the engine's, and is its hook ours?")
    try:
        return msgspec.json.decode(answer.content, type=_Page)
    except msgspec.MsgspecError:
        raise Unavailable("the control API answers something else than a list of sessions") from None
