"""Real HTTP receivers on 127.0.0.1 and its neighbours, that answer as a test tells them and remember what they got."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Got:
    """One request as it came: names of headers in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(kw_only=True)
class Answering:
    """An answer, after a wait."""

    status: int = 200
    headers: tuple[str, ...] = ()
    body: bytes = b"ok"
    after: float = 0.0


Answerer = Callable[[Got], Answering | Awaitable[Answering]]


@dataclass(kw_only=True)
class Receiver:
    """A server: `answers` are given in turn, the last again and again, unless `answer` decides."""

    host: str = "127.0.0.1"
    port: int = 0
    answers: list[Answering] = field(default_factory=lambda: [Answering()])
    answer: Answerer | None = None
    got: list[Got] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    connections: int = 0
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    server_names: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self.port}/hook?a=b"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass  # also when the test is over: asyncio's own callback would tell of it as of an error
        finally:
            self.tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = first.split(" ")
        got = Got(method=method, path=path, headers=headers, body=body)
        self.got.append(got)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            answering = await self._decide(got)
            await asyncio.sleep(answering.after)
        finally:
            self.under_way -= 1
        more = "".join(f"{line}\r\n" for line in answering.headers)
        if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in answering.headers):
            more += f"content-length: {len(answering.body)}\r\n"
        writer.write(f"HTTP/1.1 {answering.status} Word\r\n{more}\r\n".encode() + answering.body)
        await writer.drain()
        return True

    async def _decide(self, got: Got) -> Answering:
        if self.answer is not None:
            decided = self.answer(got)
            return decided if isinstance(decided, Answering) else await decided
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def receiving(
    *answers: Answering,
    host: str = "127.0.0.1",
    port: int = 0,
    answer: Answerer | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver(host=host, answers=list(answers) or [Answering()], answer=answer)
    if tls is not None:

        def named(_socket: Any, name: str | None, _context: ssl.SSLContext) -> None:
            receiver.server_names.append(name)

        tls.sni_callback = named
    server = await asyncio.start_server(receiver._serve, host, port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in receiver.tasks:
            task.cancel()
        await asyncio.gather(*receiver.tasks, return_exceptions=True)


@asynccontextmanager
async def speaking(
    speak: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Run a server that says what it likes to each connection, and return its port; in the end nothing is left open."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
