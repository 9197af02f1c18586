"""The only place that constructs adapters: a whole authority, put together from settings."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from stagedoor.cluster.only import Only
from stagedoor.cluster.reads import CachedReads
from stagedoor.cluster.revision import SharedRevision
from stagedoor.cluster.view import CachedView
from stagedoor.config import Settings
from stagedoor.edge.apis import api_app
from stagedoor.edge.asgi import App
from stagedoor.edge.health import Health
from stagedoor.edge.hooks import Hooks
from stagedoor.edge.root import Root
from stagedoor.engines.mediamtx import config as mediamtx
from stagedoor.engines.mediamtx.hook import MediaMtx
from stagedoor.engines.nginx_rtmp import config as nginx_rtmp
from stagedoor.engines.nginx_rtmp.hook import NginxRtmp
from stagedoor.keyring_file import KeyringFile
from stagedoor.live.frame import FrameTaker
from stagedoor.model.engine import Engine, EngineKind, tells_of_life
from stagedoor.model.errors import ConfigError, Unavailable
from stagedoor.model.secret import Secret
from stagedoor.outbound.guard import Guard
from stagedoor.service.accounts import Accounts
from stagedoor.service.api_secrets import AccountOf, ApiSecrets
from stagedoor.service.api_tokens import ApiTokens
from stagedoor.service.applications import Applications
from stagedoor.service.authorize import Authorizer
from stagedoor.service.callers import Callers
from stagedoor.service.children import Children
from stagedoor.service.clusters import Clusters
from stagedoor.service.controls import Controls
from stagedoor.service.deliver import Deliverer
from stagedoor.service.dispatch import Dispatcher
from stagedoor.service.engines import Engines, control_secret
from stagedoor.service.explain import Explainer
from stagedoor.service.groups import Groups
from stagedoor.service.keeper import Keeper
from stagedoor.service.mint import Minter
from stagedoor.service.places import Places
from stagedoor.service.playback import PlaybackTokens
from stagedoor.service.ports import Clock, EngineControl
from stagedoor.service.reseal import reseal
from stagedoor.service.rounds import every_minute
from stagedoor.service.sessions import Sessions
from stagedoor.service.signing_keys import SigningKeys
from stagedoor.service.slowdown import Slowdown
from stagedoor.service.standing import publishers_of, token_facts
from stagedoor.service.streams import Streams
from stagedoor.service.thumbnails import Thumbnailer
from stagedoor.service.token_admin import TokenAdmin
from stagedoor.service.trusted_keys import TrustedKeys
from stagedoor.service.verifiers import Verifiers
from stagedoor.service.watch import Watch
from stagedoor.service.webhook_ports import Sender
from stagedoor.service.webhooks import Webhooks
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
    api_secrets: ApiSecrets
    tokens: TokenAdmin
    engines: Engines
    clusters: Clusters
    countries: CountryFile
    explainer: Explainer
    children: Children
    signing_keys: SigningKeys
    verifiers: Verifiers
    minter: Minter


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
            KeyringFile(settings).create(Keyring.generate())
        except OSError as error:
            raise ConfigError(
                f"cannot write {settings.data}: {error.strerror}; choose a directory you can write"
            ) from None
    migrate_sqlite(settings.database_file)


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


def media_host(url: str) -> str:
    """Return the host in a URL, as it stands in others: an IPv6 address in brackets."""
    host = urlsplit(url).hostname or ""
    return f"[{host}]" if ":" in host else host


def snippet(kind: EngineKind, url: str, control_secret: Secret) -> str:
    """Return the configuration that makes an engine of `kind` ask at `url`. Our own calls to it show `control_secret`."""
    if kind is EngineKind.NGINX_RTMP:
        return nginx_rtmp.snippet(url, control_secret)
    # MediaMTX asks our hook whether our own calls may be answered.
    return mediamtx.snippet(url)


@contextlib.asynccontextmanager
async def administration(settings: Settings, clock: Clock = time.time) -> AsyncIterator[Administration]:
    """Open the store and the use cases of administration.

    Raises: ConfigError when the keyring or the shared revision cannot be opened.
    """
    keyring = KeyringFile(settings).open()
    revision = SharedRevision(settings.revision_file)
    reader, writer = sqlite_engines(settings.database_file)
    store = SqlStore(reader=reader, writer=writer, announce=revision.announce)
    countries = CountryFile(settings.countries)
    children = Children(keyring=keyring, source=store, store=store, clock=clock, depth=settings.child_depth)
    clusters = Clusters(
        store=store.clusters, places=Places(addresses=countries), clock=clock, host=media_host(settings.url)
    )
    tokens = TokenAdmin(store=store, accounts=store, keyring=keyring, clock=clock, clusters=clusters.names)
    signing_keys = SigningKeys(store=store.signing_keys, read=store.signing_keys.keys, keyring=keyring, clock=clock)
    explainer = Explainer(
        source=store, sessions=store.sessions, keyring=keyring, countries=countries, children=children
    )
    verifiers = Verifiers(store=store.verifiers, keyring=keyring, clock=clock)
    try:
        yield Administration(
            store=store,
            revision=revision,
            keyring=keyring,
            accounts=Accounts(store=store, keyring=keyring, clock=clock),
            api_secrets=_api_secrets(
                store, store.account_of_api_secret, keyring, clock, Slowdown(clock=time.monotonic)
            ),
            tokens=tokens,
            engines=Engines(store=store, keyring=keyring, clock=clock),
            clusters=clusters,
            countries=countries,
            explainer=explainer,
            children=children,
            signing_keys=signing_keys,
            verifiers=verifiers,
            minter=Minter(
                explainer=explainer,
                tokens=tokens,
                verifiers=verifiers,
                signer=signing_keys,
                clock=clock,
                longest_seconds=settings.mint_seconds,
            ),
        )
    finally:
        await store.close()
        revision.close()


async def reseal_everything(settings: Settings, admin: Administration, settle_seconds: float) -> int:
    """Seal everything in the database under a new key, and return how many values that were.

    Raises: ConfigError, Unavailable.
    """
    file = KeyringFile(settings)
    with file.locked():
        return await reseal(store=admin.store.sealed, keeper=file, wait=asyncio.sleep, settle_seconds=settle_seconds)


@contextlib.asynccontextmanager
async def authority(settings: Settings, clock: Clock = time.time) -> AsyncIterator[Authority]:
    """Open one worker's authority and run its background work for as long as the context lasts."""
    async with administration(settings, clock) as admin:
        view = CachedView(
            source=admin.store,
            announced=admin.revision,
            token_facts=token_facts,
            child_facts=admin.children.facts,
            publishers_of=publishers_of,
            capacity=settings.cache_entries,
        )
        only = Only(settings.data / "keeper.lock")
        watch = Watch(store=admin.store.watch, view=view, clock=clock, may_work=only.holds)
        access_log = AccessLogFile(settings.access_log_file, also=watch.saw)
        sessions = Sessions(
            store=admin.store.sessions,
            clock=clock,
            telling_engines=lambda: [engine.id for engine in view.engines() if tells_of_life(engine)],
        )
        authorizer = Authorizer(
            view=view,
            keyring=admin.keyring,
            clock=clock,
            access_log=access_log,
            sessions=sessions,
            countries=admin.countries,
            children=admin.children,
        )
        hooks = Hooks(
            authorizer=authorizer,
            dialects={EngineKind.NGINX_RTMP: NginxRtmp(), EngineKind.MEDIAMTX: MediaMtx()},
        )
        controls = Controls(
            {
                EngineKind.NGINX_RTMP: lambda: _nginx_rtmp_control(admin),
                EngineKind.MEDIAMTX: lambda: _mediamtx_control(admin),
            }
        )
        keeper = Keeper(
            view=view,
            engines=view.engines,
            tokens=admin.store,
            sessions=admin.store.sessions,
            controls=controls,
            clock=clock,
            may_work=only.holds,
            children=admin.children,
            key_revoked=admin.signing_keys.is_revoked,
        )
        streams = Streams(store=admin.store.broadcasts, engines=admin.store.engines, controls=controls, clock=clock)
        guard = Guard(settings.callable_networks)
        deliverer = Deliverer(
            queue=admin.store.deliveries,
            sender=lambda: _sender(guard),
            keyring=admin.keyring,
            clock=clock,
            chance=random.SystemRandom().random,
            may_work=only.holds,
        )
        dispatcher = Dispatcher(queue=admin.store.deliveries, clock=clock, may_work=only.holds, wake=deliverer.wake)
        thumbnailer = Thumbnailer(
            store=admin.store.broadcasts,
            passes=admin.store.passes,
            turns=admin.store.turns,
            webhooks=admin.store.webhooks,
            engines=admin.store.engines,
            controls=controls,
            take=FrameTaker(),
            deliver=dispatcher,
            keyring=admin.keyring,
            clock=clock,
            may_work=only.holds,
        )
        reads = CachedReads(
            source=admin.store, view=view, keys=admin.store.signing_keys, api_tokens=admin.store.api_tokens
        )
        signing_keys = SigningKeys(
            store=admin.store.signing_keys, read=reads.signing_keys, keyring=admin.keyring, clock=clock
        )
        slowdown = Slowdown(clock=time.monotonic)
        api_secrets = _api_secrets(admin.store, reads.account_of_api_secret, admin.keyring, clock, slowdown)
        api_tokens = ApiTokens(
            store=admin.store.api_tokens,
            applications=admin.store.applications,
            facts_of=reads.api_token,
            signer=signing_keys,
            keyring=admin.keyring,
            clock=clock,
            slowdown=slowdown,
            issuer=settings.url,
        )
        groups = Groups(store=admin.store.groups, clock=clock)
        others = api_app(
            accounts=admin.accounts,
            api_secrets=api_secrets,
            api_tokens=api_tokens,
            applications=Applications(
                store=admin.store.applications,
                tokens=admin.store.api_tokens,
                keyring=admin.keyring,
                clock=clock,
                slowdown=slowdown,
            ),
            callers=Callers(api_secrets=api_secrets, api_tokens=api_tokens),
            clusters=admin.clusters,
            tokens=TokenAdmin(
                store=admin.store,
                accounts=reads,
                keyring=admin.keyring,
                clock=clock,
                reads=reads,
                clusters=admin.clusters.names,
                end_streams=streams.end_token,
            ),
            child_store=admin.store,
            children=admin.children,
            clock=clock,
            groups=groups,
            playback=PlaybackTokens(
                store=admin.store,
                accounts=reads,
                groups=groups,
                signer=signing_keys,
                keyring=admin.keyring,
                clock=clock,
                issuer=settings.url,
                key_revoked=signing_keys.is_revoked,
            ),
            trusted_keys=TrustedKeys(store=admin.store, children=admin.children, keyring=admin.keyring, clock=clock),
            signing_keys=signing_keys,
            streams=streams,
            thumbnailer=thumbnailer,
            verifiers=admin.verifiers,
            minter=admin.minter,
            webhooks=Webhooks(
                store=admin.store.webhooks,
                events=admin.store.deliveries,
                queue=admin.store.deliveries,
                keyring=admin.keyring,
                clock=clock,
                check_url=guard.check_url,
            ),
            url=settings.url,
        )
        health = Health(view=view)
        await view.catch_up()
        tasks = [
            asyncio.create_task(access_log.run(), name="access log"),
            asyncio.create_task(_sweep(view, admin.revision), name="sweep"),
            asyncio.create_task(sessions.run(), name="sessions"),
            asyncio.create_task(keeper.run(), name="keeper"),
            asyncio.create_task(watch.run(), name="watch"),
            asyncio.create_task(dispatcher.run(), name="dispatcher"),
            asyncio.create_task(deliverer.run(), name="deliverer"),
            asyncio.create_task(thumbnailer.run(), name="thumbnailer"),
            asyncio.create_task(admin.countries.run(), name="countries"),
            *(
                asyncio.create_task(every_minute(work, only.holds, undone=undone), name=undone)
                for work, undone in (
                    (partial(signing_keys.rotate, settings.key_rotation_days), "signing keys are not looked after"),
                    (api_tokens.tidy, "API tokens that are over are not deleted"),
                    (admin.children.tidy, "signed tokens that are over are not deleted"),
                )
            ),
        ]
        try:
            root = Root(hooks=hooks, exact={"/healthz": health, "/readyz": health}, others=others)
            yield Authority(root, hooks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await streams.close()
            await controls.close()
            await deliverer.close()
            only.close()
            access_log.close()


def _nginx_rtmp_control(admin: Administration) -> EngineControl:
    from stagedoor.engines.calls import ControlCalls  # noqa: PLC0415  an HTTP client is slow to load
    from stagedoor.engines.nginx_rtmp.control import NginxRtmpControl  # noqa: PLC0415  the same

    return NginxRtmpControl(ControlCalls(secret_of=partial(_control_secret, admin.keyring)))


def _mediamtx_control(admin: Administration) -> EngineControl:
    from stagedoor.engines.calls import ControlCalls  # noqa: PLC0415  an HTTP client is slow to load
    from stagedoor.engines.mediamtx.control import MediaMtxControl  # noqa: PLC0415  the same

    return MediaMtxControl(ControlCalls(secret_of=partial(_control_secret, admin.keyring)))


def _control_secret(keyring: Keyring, engine: Engine) -> str:
    return control_secret(keyring.digest, engine.secret_digest)


def _sender(guard: Guard) -> Sender:
    from stagedoor.outbound.client import GuardedClient  # noqa: PLC0415  an HTTP client is slow to load

    return GuardedClient(guard=guard)


def _api_secrets(
    store: SqlStore, account_of: AccountOf, keyring: Keyring, clock: Clock, slowdown: Slowdown
) -> ApiSecrets:
    return ApiSecrets(store=store.api_secrets, account_of=account_of, keyring=keyring, clock=clock, slowdown=slowdown)


async def _sweep(view: CachedView, revision: SharedRevision) -> None:
    """Find what a writer committed and did not live to announce."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            await view.catch_up()
        except Unavailable:
            continue
        await revision.announce(view.revision)
