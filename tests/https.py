"""A system of the tests' own that is served over HTTPS by a process of its own, and relays around it."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx

from tests.answers import checked
from tests.certificates import Certificates
from tests.ports import HOST, free_port

STAGEDOOR: Final = (sys.executable, "-m", "stagedoor")


class HttpsSystem:
    """A new system in `folder`; `port` is where it will be served."""

    def __init__(self, folder: Path, certificates: Certificates, settings: Mapping[str, str] | None = None) -> None:
        """Make it; nothing is served yet. `settings` are further variables of its environment."""
        self.folder = folder
        self.certificates = certificates
        self.port = free_port()
        self.url = f"https://{HOST}:{self.port}"
        self.environment = {
            **os.environ,
            "STAGEDOOR_DATA": str(folder / "data"),
            "STAGEDOOR_PORT": str(self.port),
            "STAGEDOOR_TLS_CERTIFICATE": str(certificates.certificate),
            "STAGEDOOR_TLS_KEY": str(certificates.key),
            **(settings or {}),
        }
        first = json.loads(self.stagedoor("init", "--json"))
        self.account: str = first["accountId"]
        self.secret: str = first["apiSecret"]

    def stagedoor(self, *arguments: str) -> str:
        """Run a command on the system and return what it printed."""
        command = [*STAGEDOOR, *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env=self.environment, timeout=60
        ).stdout

    @contextmanager
    def serving(self, program: Sequence[str] = STAGEDOOR) -> Iterator[None]:
        """Serve it, with `program` in place of the real command."""
        log = self.folder / "serve.log"
        with log.open("ab") as stream:
            process = subprocess.Popen([*program, "serve"], env=self.environment, stdout=stream, stderr=stream)
        try:
            deadline = time.monotonic() + 60
            while not self._ready():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)

    def client(self) -> httpx.Client:
        """Return a client of the API that trusts the certificate and shows the API secret."""
        headers = {"Authorization": f"Bearer {self.secret}"}
        return httpx.Client(
            verify=self.certificates.client(),
            base_url=self.url,
            headers=headers,
            timeout=30,
            event_hooks={"response": [checked]},
        )

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", verify=self.certificates.client(), timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


Answered = Callable[[bytes], bytes | None]
"""What a relay passes on of an answer, given its first bytes; None for all of it as it is."""


@contextmanager
def relaying(
    target: int,
    *,
    serves: ssl.SSLContext | None = None,
    calls: ssl.SSLContext | None = None,
    answered: Answered = lambda _start: None,
) -> Iterator[int]:
    """Pass on what comes to a port (which is given) to the port `target`, and what is answered, as a small proxy does.

    `serves` speaks TLS with who calls, `calls` with who is called. Media servers that speak no TLS reach an authority that
    does by such a one. Each connection is for one request where `answered` has a say.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        ends = [writer]
        # asyncio's own callback would tell of a connection that is cut at the end as of an error.
        with suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            there, back = await asyncio.open_connection(HOST, target, ssl=calls)
            ends.append(back)
            await asyncio.gather(_pump(reader, back, lambda _start: None), _pump(there, writer, answered))
        for end in ends:
            end.close()
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(end.wait_closed(), 1)
            end.transport.abort()
        connections.discard(task)

    async def run() -> None:
        server = await asyncio.start_server(connected, HOST, 0, ssl=serves)
        over = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), over, server.sockets[0].getsockname()[1]))
        await over.wait()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    loop, over, port = started.result(timeout=30)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(timeout=30)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, changed: Answered) -> None:
    start = True
    while data := await source.read(65536):
        instead = changed(data) if start else None
        start = False
        sink.write(data if instead is None else instead)
        await sink.drain()
        if instead is not None:
            break
    if sink.can_write_eof():
        sink.write_eof()
    else:
        sink.close()
