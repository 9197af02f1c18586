"""The only place that constructs adapters: a whole authority, put together from settings."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stagedoor.cluster.only import Only
from stagedoor.cluster.revision import SharedRevision
from stagedoor.cluster.view import CachedView
from stagedoor.config import Settings
from stagedoor.edge.asgi import App
from stagedoor.edge.health import Health
from stagedoor.edge.hooks import Hooks
from stagedoor.edge.root import Late, Root
from stagedoor.engines.mediamtx import config as mediamtx
from stagedoor.engines.mediamtx.hook import MediaMtx
from stagedoor.engines.nginx_rtmp import config as nginx_rtmp
from stagedoor.engines.nginx_rtmp.hook import NginxRtmp
from stagedoor.model.engine import EngineKind, tells_of_life
from stagedoor.model.errors import ConfigError, Unavailable
from stagedoor.model.secret import Secret
from stagedoor.service.accounts import Accounts
from stagedoor.service.authorize import Authorizer
from stagedoor.service.engines import Engines, control_secret
from stagedoor.service.explain import Explainer
from stagedoor.service.keeper import Keeper
from stagedoor.service.ports import EngineControl
from stagedoor.service.sessions import Sessions
from stagedoor.service.standing import publishers_of, token_facts
from stagedoor.service.token_admin import TokenAdmin
from stagedoor.store.access_log import AccessLogFile
from stagedoor.store.countries import CountryFile
from stagedoor.store.migrate import migrate_sqlite, sqlite_version
from stagedoor.store.sql import SqlStore
from stagedoor.store.sqlite import sqlite_engines
from stagedoor.tokens.keyring import Keyring

_log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
"""How often a worker asks the store for changes that nobody announced (a writer that died after its commit)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Administration:
    """The use cases of administration, on an open store."""

    store: SqlStore
    revision: SharedRevision
    keyring: Keyring
    accounts: Accounts
    tokens: TokenAdmin
    engines: Engines
    countries: CountryFile
    explainer: Explainer


class Authority(NamedTuple):
    """One worker's HTTP application, and the part of it that the protocol asks directly."""

    app: App
    hooks: Hooks


def create_data(settings: Settings) -> None:
    """Make what is missing of the data directory, the keyring and the database of a new system.

    Raises: ConfigError when it cannot be written, or when there is a database whose keyring is gone.
    """
    if not settings.keyring_file.exists():
        if sqlite_version(settings.database_file) is not None:
            raise ConfigError(
                f"{settings.database_file} is there but its keyring {settings.keyring_file} is not; restore it from the"
                " backup, or move the database away to begin anew"
            )
        try:
            settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(settings.keyring_file, Keyring.generate().dump())
        except OSError as error:
            raise ConfigError(
                f"cannot write {settings.data}: {error.strerror}; choose a directory you can write"
            ) from None
    migrate_sqlite(settings.database_file)


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, and see it on the disk.

    Raises: OSError, also when the file exists.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def prepare_data(settings: Settings) -> None:
    """Bring the database of an existing system to this version.

    Raises: ConfigError when there is no system, or it cannot be written.
    """
    if not settings.keyring_file.exists():
        raise ConfigError(f"there is no system in {settings.data}; stagedoor init --data {settings.data} makes one")
    migrate_sqlite(settings.database_file)


def hook_url(settings: Settings, kind: EngineKind, secret: Secret) -> str:
    """Return the address an engine of `kind` asks at. Security: it holds the secret, as no engine can send it else."""
    return f"{settings.url}/hooks/{kind}/{secret.reveal()}"


def snippet(kind: EngineKind, url: str) -> str:
    """Return the configuration that makes an engine of `kind` ask at `url`."""
    return {EngineKind.NGINX_RTMP: nginx_rtmp.snippet, EngineKind.MEDIAMTX: mediamtx.snippet}[kind](url)


@contextlib.asynccontextmanager
async def administration(settings: Settings) -> AsyncIterator[Administration]:
    """Open the store and the use cases of administration.

    Raises: ConfigError when the keyring or the shared revision cannot be opened.
    """
    try:
        keyring = Keyring.load(settings.keyring_file.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {settings.keyring_file}: {error.strerror}") from None
    revision = SharedRevision(settings.revision_file)
    reader, writer = sqlite_engines(settings.database_file)
    store = SqlStore(reader=reader, writer=writer, announce=revision.announce)
    countries = CountryFile(settings.countries)
    try:
        yield Administration(
            store=store,
            revision=revision,
            keyring=keyring,
            accounts=Accounts(store=store, keyring=keyring, clock=time.time),
            tokens=TokenAdmin(store=store, accounts=store, keyring=keyring, clock=time.time),
            engines=Engines(store=store, keyring=keyring, clock=time.time),
            countries=countries,
            explainer=Explainer(source=store, sessions=store.sessions, keyring=keyring, countries=countries),
        )
    finally:
        await store.close()
        revision.close()


@contextlib.asynccontextmanager
async def authority(settings: Settings) -> AsyncIterator[Authority]:
    """Open one worker's authority and run its background work for as long as the context lasts."""
    async with administration(settings) as admin:
        access_log = AccessLogFile(settings.access_log_file)
        view = CachedView(
            source=admin.store,
            announced=admin.revision,
            token_facts=token_facts,
            publishers_of=publishers_of,
            capacity=settings.cache_entries,
        )
        sessions = Sessions(
            store=admin.store.sessions,
            clock=time.time,
            telling_engines=lambda: [engine.id for engine in view.engines() if tells_of_life(engine)],
        )
        authorizer = Authorizer(
            view=view,
            keyring=admin.keyring,
            clock=time.time,
            access_log=access_log,
            sessions=sessions,
            countries=admin.countries,
        )
        hooks = Hooks(
            authorizer=authorizer,
            dialects={EngineKind.NGINX_RTMP: NginxRtmp(), EngineKind.MEDIAMTX: MediaMtx()},
        )
        only = Only(settings.data / "keeper.lock")
        keeper = Keeper(
            view=view,
            engines=view.engines,
            tokens=admin.store,
            sessions=admin.store.sessions,
            controls={EngineKind.MEDIAMTX: lambda: _mediamtx_control(admin)},
            clock=time.time,
            may_work=only.holds,
        )
        others = Late(lambda: _framework(admin))
        health = Health(view=view)
        await view.catch_up()
        tasks = [
            asyncio.create_task(access_log.run(), name="access log"),
            asyncio.create_task(_sweep(view, admin.revision), name="sweep"),
            asyncio.create_task(sessions.run(), name="sessions"),
            asyncio.create_task(keeper.run(), name="keeper"),
            asyncio.create_task(admin.countries.run(), name="countries"),
            asyncio.create_task(others.load(), name="load the framework"),
        ]
        try:
            root = Root(hooks=hooks, exact={"/healthz": health, "/readyz": health}, others=others)
            yield Authority(root, hooks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await keeper.close()
            only.close()
            access_log.close()


def _mediamtx_control(admin: Administration) -> EngineControl:
    from stagedoor.engines.mediamtx.control import MediaMtxControl  # noqa: PLC0415  an HTTP client is slow to load

    return MediaMtxControl(secret_of=lambda engine: control_secret(admin.keyring.digest, engine.secret_digest))


def _framework(admin: Administration) -> App:
    from stagedoor.edge.framework import framework_app  # noqa: PLC0415  it is slow to load, see edge.root.Late

    return framework_app(accounts=admin.accounts, tokens=admin.tokens)


async def _sweep(view: CachedView, revision: SharedRevision) -> None:
    """Find what a writer committed and did not live to announce."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            await view.catch_up()
        except Unavailable:
            continue
        await revision.announce(view.revision)
