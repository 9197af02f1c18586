"""A whole authority without HTTP: real store, keyring, view, authorizer, sessions, countries; a clock that is put."""

import base64
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from stagedoor.cluster.revision import SharedRevision
from stagedoor.cluster.view import CachedView
from stagedoor.edge.millicast import schemas
from stagedoor.edge.millicast.tokens import change_of, terms_of
from stagedoor.engines.dialect import stream_of
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import AccountPolicy
from stagedoor.model.caveats import Countries
from stagedoor.model.decision import Decision
from stagedoor.model.engine import AddressTrust, Engine, EngineKind, tells_of_life
from stagedoor.model.ids import AccountId, EngineId
from stagedoor.model.token import TokenKind
from stagedoor.service.accounts import Accounts
from stagedoor.service.authorize import Attempt, Authorizer
from stagedoor.service.explain import Explained, Explainer
from stagedoor.service.ports import AccessEvent
from stagedoor.service.sessions import Sessions
from stagedoor.service.standing import publishers_of, token_facts
from stagedoor.service.token_admin import IssuedToken, TokenAdmin
from stagedoor.store.countries import CountryFile
from stagedoor.store.memory import MemoryStore
from stagedoor.store.migrate import migrate_sqlite
from stagedoor.store.postgres import postgres_engines
from stagedoor.store.sql import SqlStore
from stagedoor.store.sqlite import sqlite_engines
from stagedoor.tokens.keyring import Keyring
from tests.mmdb import write_mmdb

BASE = 1_767_225_600
"""2026-01-01T00:00:00Z, a Thursday: when a scenario begins."""

COUNTRIES = {
    "192.0.2.0/25": "PL",
    "192.0.2.128/25": "DE",
    "198.51.100.0/24": "US",
    "2001:db8:1::/48": "PL",
    "2001:db8:2::/48": "DE",
}
"""Where addresses are; all others are nowhere known."""


def _engine(name: str, kind: EngineKind, **more: Any) -> Engine:
    return Engine(
        id=EngineId(name), kind=kind, name=name, account=AccountId(""), secret_digest=name.encode(), added_on=0, **more
    )


ENGINES = {
    engine.name: engine
    for engine in (
        _engine("mtx", EngineKind.MEDIAMTX),
        _engine("mtx-controlled", EngineKind.MEDIAMTX, control_url="http://127.0.0.1:9997"),
        _engine("nginx", EngineKind.NGINX_RTMP),
        _engine("nginx2", EngineKind.NGINX_RTMP),
        _engine("untrusted", EngineKind.NGINX_RTMP, address_trust=AddressTrust.UNTRUSTED),
        _engine("accepted", EngineKind.NGINX_RTMP, address_trust=AddressTrust.ACCEPTED),
    )
}


class Events:
    """An access log that keeps what it is told."""

    def __init__(self) -> None:
        self.kept: list[AccessEvent] = []

    def record(self, event: AccessEvent) -> None:
        """Keep the event."""
        self.kept.append(event)


class World:
    """One account `A` on one store, at a time that `at` sets (seconds after `BASE`)."""

    def __init__(self, store: MemoryStore | SqlStore, revision: SharedRevision, folder: Path) -> None:
        self.store = store
        self.now = float(BASE)
        self.events = Events()
        self.keyring = Keyring.generate()
        self.tokens: dict[str, IssuedToken] = {}
        self.account = AccountId("")
        countries = folder / "countries.mmdb"
        if not countries.exists():
            write_mmdb(countries, {network: {"country_code": code} for network, code in COUNTRIES.items()})
        self.countries = CountryFile(countries)
        self.admin = TokenAdmin(store=store, accounts=store, keyring=self.keyring, clock=self.clock)
        self.accounts = Accounts(store=store, keyring=self.keyring, clock=self.clock)
        self.view = CachedView(
            source=store, announced=revision, token_facts=token_facts, publishers_of=publishers_of, capacity=1000
        )
        self.sessions = Sessions(
            store=store.sessions,
            clock=self.clock,
            telling_engines=lambda: [engine.id for engine in ENGINES.values() if tells_of_life(engine)],
        )
        self.authorizer = Authorizer(
            view=self.view,
            keyring=self.keyring,
            clock=self.clock,
            access_log=self.events,
            sessions=self.sessions,
            countries=self.countries,
        )
        self.explainer = Explainer(
            source=store, sessions=store.sessions, keyring=self.keyring, countries=self.countries
        )

    def clock(self) -> float:
        """Return the time."""
        return self.now

    async def begin(self, tokens: Mapping[str, Mapping[str, Any]]) -> None:
        """Make the account and its tokens, each from the API's own body and its `kind`."""
        self.account = (await self.accounts.create_first("scenario@localhost")).account
        for name, body in tokens.items():
            self.tokens[name] = await self.issue(dict(body))

    async def issue(self, body: dict[str, Any]) -> IssuedToken:
        """Create a token from the API's own body."""
        kind = TokenKind(body.pop("kind"))
        schema = schemas.CreatePublishToken if kind is TokenKind.PUBLISH else schemas.CreateSubscribeToken
        parsed: schemas.CreateToken = schemas.parse(json.dumps({"label": "scenario", **body}).encode(), schema)
        return await self.admin.issue(self.account, kind, partial(terms_of, parsed))

    def attempt(self, step: Mapping[str, Any], number: int = 0) -> Attempt:
        """Return what an engine would ask in a step."""
        path = step["stream"].replace("A/", f"{self.account}/", 1)
        access = Access(
            Action(step["do"]),
            stream_of(path),
            Protocol(step.get("protocol", "unknown")),
            str(step.get("ip", "192.0.2.9")),
            step.get("origin"),
            step.get("agent", ""),
            step.get("referrer", ""),
        )
        session = str(step.get("session", f"s{number}"))
        return Attempt(access, self.token_text(step), session, running=bool(step.get("running", False)))

    def engine(self, step: Mapping[str, Any]) -> Engine:
        """Return the engine that asks in a step."""
        return ENGINES[step.get("engine", "mtx")]

    async def authorize(self, step: Mapping[str, Any], number: int = 0) -> Decision:
        """Decide a step as an engine would have it decided, and let what gathers be written down."""
        decision = await self.authorizer.authorize(self.engine(step), self.attempt(step, number))
        await self.sessions.flush()
        return decision

    async def explain(self, step: Mapping[str, Any], number: int = 0) -> Explained:
        """Explain a step as the operator would have it explained."""
        return await self.explainer.explain(self.attempt(step, number), self.now, self.engine(step))

    async def change(self, step: Mapping[str, Any]) -> None:
        """Carry out a step that is no access."""
        if "account" in step:
            await self.accounts.change(self.account, partial(_changed_policy, step["account"]))
        elif "revoke" in step:
            record = self.tokens[step["revoke"]].record
            await self.admin.revoke(self.account, record.kind, record.id)
        elif "end" in step:
            await self.sessions.ended(self.engine(step).id, step["end"])
        elif "carried" in step:
            self.sessions.saw(self.engine(step).id, step["carried"], step.get("bytes", 0))
            await self.sessions.flush()
        elif "sweep" in step:
            await self.store.sessions.end_silent([self.engine(step).id], self.now)
        else:
            await self._change_token(step["change"], step["body"], renewed=step.get("renewed", False))

    async def _change_token(self, name: str, body: Mapping[str, Any], *, renewed: bool) -> None:
        record = self.tokens[name].record
        kind = schemas.UpdatePublishToken if record.kind is TokenKind.PUBLISH else schemas.UpdateToken
        parsed: schemas.UpdateToken = schemas.parse(json.dumps(body).encode(), kind)
        renew = parsed.refresh_token is True
        changed = await self.admin.change(self.account, record.kind, record.id, change_of(parsed), renew=renew)
        # A step shows the text that was handed out first, unless it says that the new one was.
        self.tokens[name] = changed if renewed else replace(changed, secret=self.tokens[name].secret)

    def token_text(self, step: Mapping[str, Any]) -> str:
        """Return what the step shows as its token."""
        if "text" in step or "token" not in step:
            return str(step.get("text", ""))
        text = self.tokens[step["token"]].secret.reveal()
        if step.get("as") == "base64url":
            text = base64.urlsafe_b64encode(bytes.fromhex(text)).rstrip(b"=").decode()
        return text[: len(text) - step.get("cut", 0)]


def _changed_policy(body: str | Mapping[str, Any], policy: AccountPolicy) -> AccountPolicy:
    """Change an account's policy: `open`, `closed`, or what it sets (`shadowUntil` in seconds after `BASE`)."""
    if isinstance(body, str):
        return replace(policy, enabled=body == "open")
    given: dict[str, Any] = {}
    if "allowedCountries" in body or "deniedCountries" in body:
        lists = tuple(body.get("allowedCountries", ())), tuple(body.get("deniedCountries", ()))
        applies_to = tuple(Action(action) for action in body.get("geoAppliesTo", ("publish", "subscribe")))
        given["countries"] = Countries(*lists, applies_to) if any(lists) else None
    if "longestLifetime" in body:
        given["longest_lifetime_seconds"] = body["longestLifetime"]
    if "shadowUntil" in body:
        given["shadow_until"] = BASE + body["shadowUntil"]
    return replace(policy, **given)


@cache
def _migrated() -> bytes:
    """Return an empty database file of this version; making one takes longer than most scenarios."""
    with tempfile.TemporaryDirectory() as folder:
        migrate_sqlite(Path(folder) / "stagedoor.db")
        return (Path(folder) / "stagedoor.db").read_bytes()


@asynccontextmanager
async def opened(kind: str, folder: Path, database: str = "") -> AsyncIterator[World]:
    """Open a world on a store of the kind; `database` is the URL of an empty one, for `postgres`."""
    revision = SharedRevision(folder / "revision")
    store: MemoryStore | SqlStore
    if kind == "memory":
        store = MemoryStore(announce=revision.announce)
    else:
        if kind == "sqlite":
            (folder / "stagedoor.db").write_bytes(_migrated())
            reader, writer = sqlite_engines(folder / "stagedoor.db")
        else:
            reader, writer = postgres_engines(database)
        store = SqlStore(reader=reader, writer=writer, announce=revision.announce)
    try:
        yield World(store, revision, folder)
    finally:
        if isinstance(store, SqlStore):
            await store.close()
        revision.close()
