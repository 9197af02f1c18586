"""The client that calls webhooks: names are looked up and judged where the connection is made, and nowhere else.

Security: what is connected to is the very address that was judged; a name that changes its mind in between (DNS rebinding) is
too late. Each call makes a connection of its own, so each is judged. Redirects are not followed, proxies of the environment are
not asked, and of an answer a few kilobytes are read.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import h11

from stagedoor.model.errors import InvalidInput
from stagedoor.outbound.guard import REFUSED, Guard, Target, parse_target
from stagedoor.service.webhook_ports import Sent

_log = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 10.0
"""How long a call may take, from the look-up of the name to the end of the answer."""

MAX_ANSWER_BYTES: Final = 4096
_SKIM_SECONDS: Final = 1.0
"""How much of the body of an answer is read, and how long that may take."""

_CONNECT_SECONDS: Final = 3.0
"""How long one of several addresses of a name may take to connect."""

_MOST_ADDRESSES: Final = 4
_RESOLVERS: Final = 64
_READ_BYTES: Final = 4096

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Return the IP addresses of a host, as text.

Raises: OSError.
"""


class _Failed(Exception):
    """A call came to nothing; the text, which is safe to tell, says why."""


class GuardedClient:
    """The port `Sender`."""

    def __init__(
        self,
        *,
        guard: Guard,
        resolve: Resolve | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Take the guard; how names are looked up and certificates checked, where not as the system does."""
        self._guard = guard
        self._resolve = resolve or self._ask
        self._timeout_seconds = timeout_seconds
        self._tls = ssl_context or ssl.create_default_context()
        # Look-ups that hang must not keep those of the rest of the program.
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolve")

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Sent:
        """POST `body`. Never raises, never follows a redirect, never takes longer than the attempt may."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status = await self._post(parse_target(url), headers, body)
        except TimeoutError:
            return Sent(None, f"no answer within {self._timeout_seconds:g} seconds")
        except (InvalidInput, _Failed) as error:
            return Sent(None, str(error))
        except Exception as error:  # noqa: BLE001  a stranger's server must not end the worker, whatever it does
            return Sent(None, _reason(error))
        if 200 <= status < 300:
            return Sent(status, "")
        redirect = ", a redirect, which is not followed" if 300 <= status < 400 else ""
        return Sent(status, f"it answers {status}{redirect}")

    async def close(self) -> None:
        """Leave look-ups that are under way to themselves."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> int:
        """Make a call and return the status of the answer."""
        async with self._connected(target) as (reader, writer):
            http = h11.Connection(h11.CLIENT)
            written = http.send(h11.Request(method="POST", target=target.path, headers=_head(target, headers, body)))
            written = (
                (written or b"") + (http.send(h11.Data(data=body)) or b"") + (http.send(h11.EndOfMessage()) or b"")
            )
            # A server may answer and hang up before it has read everything.
            with contextlib.suppress(ConnectionError):
                writer.write(written)
                await writer.drain()
            while True:
                event = await _next(http, reader)
                if isinstance(event, h11.Response):
                    await _skim(http, reader)
                    return event.status_code
                if not isinstance(event, h11.InformationalResponse):
                    raise _Failed("the connection broke off")

    @contextlib.asynccontextmanager
    async def _connected(self, target: Target) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Look the host up once, judge all of its addresses, and connect to the first that answers."""
        try:
            addresses = list(dict.fromkeys(await self._resolve(target.host, target.port)))
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise _Failed("its name has no address")
        # Security: one bad address is enough; a name that leads both out and in is there to lead in.
        if not all(self._guard.permits(address) for address in addresses):
            raise _Failed(REFUSED)
        reader, writer = await self._connect(addresses[:_MOST_ADDRESSES], target)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def _connect(
        self, addresses: Sequence[str], target: Target
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = self._tls if target.scheme == "https" else None
        name = target.host.removesuffix(".") if tls is not None else None
        seconds = _CONNECT_SECONDS if len(addresses) > 1 else None
        for address in addresses:
            try:
                async with asyncio.timeout(seconds):
                    # Security: an address and no name, so that nothing looks it up a second time.
                    return await asyncio.open_connection(address, target.port, ssl=tls, server_hostname=name)
            except ssl.SSLError:
                raise
            except OSError:  # a timeout too
                continue
        raise _Failed("no connection")

    async def _ask(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._resolvers, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return [str(entry[4][0]) for entry in found]


async def _next(http: h11.Connection, reader: asyncio.StreamReader) -> object:
    """Return what the peer says next."""
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await reader.read(_READ_BYTES))
    return event


async def _skim(http: h11.Connection, reader: asyncio.StreamReader) -> None:
    """Read a short body, for servers that mind when nobody does; leave a long one, or one that takes its time."""
    read = 0
    # What is wrong with the rest of an answer does not matter once its status is there.
    with contextlib.suppress(OSError, h11.RemoteProtocolError, TimeoutError):
        async with asyncio.timeout(_SKIM_SECONDS):
            while read <= MAX_ANSWER_BYTES and isinstance(event := await _next(http, reader), h11.Data):
                read += len(event.data)


def _head(target: Target, headers: Mapping[str, str], body: bytes) -> list[tuple[bytes, bytes]]:
    given = [(name.encode(), value.encode("ascii", errors="replace")) for name, value in headers.items()]
    length = str(len(body)).encode()
    host = _host_header(target).encode()
    return [(b"Host", host), *given, (b"Content-Length", length), (b"Connection", b"close")]


def _host_header(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    usual = target.port == (443 if target.scheme == "https" else 80)
    return host if usual else f"{host}:{target.port}"


def _reason(error: Exception) -> str:
    """Say why there was no answer. Security: nothing of what the peer sent, nothing of where the name led."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not valid: {error.verify_message}"
        case ssl.SSLError():
            return "it does not speak TLS as we do"
        case h11.RemoteProtocolError():
            return "its answer is not HTTP"
        case OSError():
            return "the connection broke off"
        case _:
            _log.error("unexpected %s while calling a webhook", type(error).__name__)
            return "it could not be called"
