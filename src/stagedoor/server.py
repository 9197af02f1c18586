"""Run the authority: one process, or several that share one listening socket."""

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
from functools import partial
from typing import cast

import uvicorn
import uvloop

from stagedoor.app import administration, authority, prepare_data
from stagedoor.config import Settings
from stagedoor.edge.protocol import HookProtocol
from stagedoor.model.errors import ConfigError

_log = logging.getLogger(__name__)

_BACKLOG = 2048


def serve(settings: Settings) -> int:
    """Serve until told to stop; return the exit status.

    Raises: ConfigError when the port is taken, the data cannot be written, or there is no system to serve.
    """
    prepare_data(settings)
    _check_certificate(settings)
    listener = listen(settings.host, settings.port)
    asyncio.run(_restart_revision(settings))
    scheme = "https" if settings.tls else "http"
    _log.info("stagedoor listens on %s://%s:%d", scheme, settings.host, settings.port)
    return _run(settings, listener) if settings.workers == 1 else _supervise(settings, listener)


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket.

    Raises: ConfigError when the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror}; stop what uses it, or set another address with"
            " --host and --port (STAGEDOOR_HOST, STAGEDOOR_PORT)"
        ) from None
    listener.listen(_BACKLOG)
    listener.set_inheritable(True)
    return listener


def _check_certificate(settings: Settings) -> None:
    """Refuse to start with a certificate that cannot be used.

    Raises: ConfigError.
    """
    if settings.tls:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            # A key with a password is refused: without this, the terminal would be asked for it, and a service has none.
            context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"cannot use {settings.tls_certificate} with {settings.tls_key}: {error.strerror or error}; both are PEM"
                " files, the certificate first and then those it is signed with"
            ) from None


async def _restart_revision(settings: Settings) -> None:
    async with administration(settings) as admin:
        await admin.revision.restart(admin.store.revision)


def _run(settings: Settings, listener: socket.socket) -> int:
    """Serve in this process until a signal comes."""
    # The server stops on these, and raises them again when it has: by then they have done their work.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work(settings, listener))


async def _work(settings: Settings, listener: socket.socket) -> int:
    async with authority(settings) as (app, hooks):
        # What is loaded now stays, and what a call makes is gone with it: the collector need not look through either often.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=cast("type[asyncio.Protocol]", partial(HookProtocol, hooks=hooks)),
                ws="none",
                lifespan="off",
                interface="asgi3",
                # Security: paths and queries hold secrets; our access log says what may be said.
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                ssl_certfile=settings.tls_certificate if settings.tls else None,
                ssl_keyfile=settings.tls_key if settings.tls else None,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=10,
            )
        )
        await server.serve(sockets=[listener])
    return 0


def _supervise(settings: Settings, listener: socket.socket) -> int:
    """Fork the workers and wait; when one ends on its own, end them all and say so."""
    workers = {_fork(settings, listener) for _ in range(settings.workers)}
    stopping = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True
        for pid in workers:
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    status = 0
    while workers:
        pid, raw = os.wait()
        workers.discard(pid)
        if not stopping:
            _log.error("worker %d ended with status %d; stopping", pid, os.waitstatus_to_exitcode(raw))
            status = 1
            stop(signal.SIGTERM, None)
    return status


def _fork(settings: Settings, listener: socket.socket) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = _run(settings, listener)
    finally:
        os._exit(status)
