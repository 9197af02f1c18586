"""The control API of nginx-rtmp (`rtmp_stat`, `rtmp_control`): what runs, how much it carried, and ending it.

What must hold (docs/contracts/engines.md):

- Both stand in the configuration that we print, at `CONTROL_PATH`, and answer only who shows the engine's control secret.
- A session's id is the number of its connection. nginx counts anew when it is started anew, so that what is ended is asked
  for by its stream too.
- nginx counts bytes for each stream and not for each client. A publisher has sent what its stream took in. A viewer was sent
  what the stream took in while it watched; of the time before it was first looked at, that is told by its share of it.
- Names are compared as they stand in the query, undecoded.
"""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import httpx

from stagedoor.engines.calls import ControlCalls
from stagedoor.engines.dialect import stream_of
from stagedoor.engines.nginx_rtmp.config import CONTROL_PATH
from stagedoor.model.access import Protocol
from stagedoor.model.engine import Engine
from stagedoor.model.errors import Unavailable
from stagedoor.model.ids import EngineId
from stagedoor.model.session import Broadcast, OpenSession

_APPLICATION: Final = re.compile(r"<application>\s*<name>([^<]*)</name>(.*?)</application>", re.DOTALL)
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_./-]+")
_MOST_SERVERS: Final = 16


class _Client(NamedTuple):
    """A client of a stream. `time` is how long its connection has stood, in milliseconds."""

    id: str
    time: int
    publishing: bool


class _Stream(NamedTuple):
    """A stream. `time` is how long it has been there, in milliseconds; `taken_in` its bytes from the publisher."""

    application: str
    name: str
    time: int
    taken_in: int
    clients: tuple[_Client, ...]


class _Watched(NamedTuple):
    """How a session stood when it was first looked at: what its stream had taken in, and what of that was its own."""

    stream: tuple[str, str]
    taken_in: int
    carried: int


class NginxRtmpControl:
    """Calls the http servers of nginx-rtmp engines."""

    def __init__(self, calls: ControlCalls) -> None:
        """Take how engines are called."""
        self._calls = calls
        self._watched: dict[EngineId, dict[str, _Watched]] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()

    async def sessions(self, engine: Engine) -> Mapping[str, int]:
        """Return the bytes that each session carried so far, by its id.

        Raises: Unavailable.
        """
        before = self._watched.get(engine.id, {})
        watched: dict[str, _Watched] = {}
        found: dict[str, int] = {}
        for stream in await self._streams(engine):
            this = (stream.application, stream.name)
            for client in stream.clients:
                first = before.get(client.id)
                if first is None or first.stream != this or first.taken_in > stream.taken_in:
                    first = _Watched(this, stream.taken_in, _share(stream, client))
                watched[client.id] = first
                found[client.id] = first.carried + stream.taken_in - first.taken_in
        self._watched[engine.id] = watched
        return found

    async def broadcasts(self, engine: Engine) -> Sequence[Broadcast]:
        """Return what is being published on an engine.

        Raises: Unavailable.
        """
        return [
            Broadcast(client.id, stream_of(stream.name), Protocol.RTMP, stream.application, stream.name)
            for stream in await self._streams(engine)
            for client in stream.clients
            if client.publishing
        ]

    async def end(self, engine: Engine, session: OpenSession) -> None:
        """End a session.

        Raises: Unavailable.
        """
        start = session.start
        if start.protocol is not Protocol.RTMP:
            raise Unavailable(f"{engine.name} cannot end {start.protocol} sessions: they end when they are asked about")
        # Security: only what cannot say something else in a query. Our hook lets no other name in.
        if not _NUMBER.fullmatch(start.session) or not _SAFE_NAME.fullmatch(start.stream):
            raise Unavailable(f"{engine.name} is no nginx-rtmp, or it is not the one that asked about {start.stream}")
        for server in range(_MOST_SERVERS):
            for name in (start.stream, f"{start.account}/{start.stream}"):
                query = f"srv={server}&name={name}&clientid={start.session}"
                answer = await self._calls(engine, "GET", f"{CONTROL_PATH}/control/drop/client?{query}")
                if server and answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
                    return  # there are no more servers, and none had it
                if not answer.is_success or not _NUMBER.fullmatch(answer.text):
                    raise _no_control(engine, answer)
                if int(answer.text):
                    return

    async def _streams(self, engine: Engine) -> list[_Stream]:
        answer = await self._calls(engine, "GET", f"{CONTROL_PATH}/stat")
        if not answer.is_success:
            raise _no_control(engine, answer)
        try:
            return list(_read_stat(answer.content.decode("latin-1")))
        except ValueError:
            raise _no_control(engine, answer) from None


def _no_control(engine: Engine, answer: httpx.Response) -> Unavailable:
    return Unavailable(
        f"the control API of {engine.name} answers {answer.status_code}, and not as nginx-rtmp does; has its http server the"
        " configuration that stagedoor engine add printed?"
    )


def _share(stream: _Stream, client: _Client) -> int:
    """Return what a client that was never looked at carried: of what its stream took in, as much as it was there of the time."""
    return stream.taken_in * min(client.time, stream.time) // stream.time if stream.time > 0 else stream.taken_in


def _read_stat(text: str) -> Iterator[_Stream]:
    """Read the page of `rtmp_stat all`: elements without attributes, and text between them.

    Security: clients choose names and versions in it. nginx escapes them, so that none of theirs is an element; and there is
    no XML parser here whose entities could be made use of.

    Raises: ValueError when it is no such page.
    """
    if not text.lstrip().startswith("<?xml") or not text.rstrip().endswith("</rtmp>"):
        raise ValueError("no page of rtmp_stat")
    for application, content in _APPLICATION.findall(text):
        for live in _elements(content, "live"):
            for stream in _elements(live, "stream"):
                clients = tuple(map(_read_client, _elements(stream, "client")))
                name, time, taken_in = (_text(stream, field) for field in ("name", "time", "bytes_in"))
                yield _Stream(html.unescape(application), html.unescape(name), int(time), int(taken_in), clients)


def _read_client(text: str) -> _Client:
    return _Client(_text(text, "id"), int(_text(text, "time")), "<publishing/>" in text)


def _elements(text: str, tag: str) -> list[str]:
    """Return what stands in the elements of a name; none of these stands in itself."""
    found: list[str] = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return found


def _text(text: str, tag: str) -> str:
    """Return the text of the first element of a name: an element's own stand before those of what is in it.

    Raises: ValueError when there is none.
    """
    match = re.search(f"<{tag}>([^<]*)</{tag}>", text)
    if match is None:
        raise ValueError(tag)
    return match[1]
