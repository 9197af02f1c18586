"""A whole authority without HTTP: real store, keyring, view, authorizer, sessions, countries; a clock that is put."""

import base64
import json
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from string import Template
from typing import Any, Final, TypeVar, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlalchemy import select, update

from stagedoor.cluster.revision import SharedRevision
from stagedoor.cluster.view import CachedView
from stagedoor.edge.asgi import Message
from stagedoor.edge.hooks import PREFIX, Hooks
from stagedoor.edge.millicast import schemas
from stagedoor.edge.millicast.tokens import change_of, terms_of
from stagedoor.edge.native import trusted_keys
from stagedoor.edge.parse import parse_body
from stagedoor.engines.dialect import stream_of
from stagedoor.engines.mediamtx.hook import MediaMtx
from stagedoor.engines.nginx_rtmp.hook import NginxRtmp
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import AccountPolicy
from stagedoor.model.caveats import Countries
from stagedoor.model.decision import Decision
from stagedoor.model.engine import AddressTrust, Engine, EngineKind, tells_of_life
from stagedoor.model.errors import Unavailable
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms
from stagedoor.service.accounts import Accounts
from stagedoor.service.authorize import Attempt, Authorizer
from stagedoor.service.children import ALL, Children, jti_name
from stagedoor.service.explain import Explained, Explainer
from stagedoor.service.ports import AccessEvent, ChangeKind
from stagedoor.service.sessions import Sessions
from stagedoor.service.standing import publishers_of, token_facts
from stagedoor.service.token_admin import IssuedToken, TokenAdmin
from stagedoor.service.trusted_keys import TrustedKeys
from stagedoor.store import schema
from stagedoor.store.countries import CountryFile
from stagedoor.store.memory import MemoryStore
from stagedoor.store.migrate import migrate_sqlite
from stagedoor.store.postgres import postgres_engines
from stagedoor.store.sql import SqlStore
from stagedoor.store.sqlite import sqlite_engines
from stagedoor.tokens.keyring import Keyring
from tests.mmdb import write_mmdb

T = TypeVar("T")

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
        _engine("nginx-controlled", EngineKind.NGINX_RTMP, control_url="http://127.0.0.1:8088"),
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


class Link:
    """The way to a store. Cut, every port that is reached by it raises `Unavailable`."""

    def __init__(self) -> None:
        self.cut = False

    def to(self, port: T) -> T:
        """Return a port of which every call goes this way."""
        return cast("T", _Reached(self, port))


class _Reached:
    def __init__(self, link: Link, port: object) -> None:
        self._link = link
        self._port = port

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        async def call(*given: Any, **named: Any) -> Any:
            if self._link.cut:
                raise Unavailable("the database does not answer")
            return await method(*given, **named)

        return call


class World:
    """One account `A` on one store, at a time that `at` sets (seconds after `BASE`).

    What decides reaches the store by `link`, and what administers it does not, as if from another machine.
    """

    def __init__(self, store: MemoryStore | SqlStore, revision: SharedRevision, folder: Path) -> None:
        self.store = store
        self.link = Link()
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
        self.trusted = TrustedKeys(
            store=store,
            children=Children(keyring=self.keyring, source=store, store=store, clock=self.clock),
            keyring=self.keyring,
            clock=self.clock,
        )
        self.kids: dict[TokenId, str] = {}
        self.accounts = Accounts(store=store, keyring=self.keyring, clock=self.clock)
        self.children = Children(
            keyring=self.keyring, source=self.link.to(store), store=self.link.to(store), clock=self.clock
        )
        self.view = CachedView(
            source=self.link.to(store),
            announced=revision,
            token_facts=token_facts,
            child_facts=self.children.facts,
            publishers_of=publishers_of,
            capacity=1000,
        )
        self.sessions = Sessions(
            store=self.link.to(store.sessions),
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
            children=self.children,
        )
        self.explainer = Explainer(
            source=self.link.to(store),
            sessions=self.link.to(store.sessions),
            keyring=self.keyring,
            countries=self.countries,
            children=self.children,
        )
        self.hooks = Hooks(
            authorizer=self.authorizer,
            dialects={EngineKind.NGINX_RTMP: NginxRtmp(), EngineKind.MEDIAMTX: MediaMtx()},
        )

    def clock(self) -> float:
        """Return the time."""
        return self.now

    async def begin(self, tokens: Mapping[str, Mapping[str, Any]], engines: Sequence[str] = ()) -> None:
        """Make the account and its tokens, each from the API's own body and its `kind`, and the engines that call by hook."""
        self.account = (await self.accounts.create_first("scenario@localhost")).account
        for name in engines:
            digest = self.keyring.digest(_hook_secret(name).encode())
            await self.store.add_engine(replace(ENGINES[name], secret_digest=digest))
        for name, body in tokens.items():
            self.tokens[name] = await self.issue(dict(body))

    async def issue(self, body: dict[str, Any]) -> IssuedToken:
        """Create a token from the API's own body; of kind `issuer`, trust a key, whose private half is the token's value."""
        kind = TokenKind(body.pop("kind"))
        if kind is TokenKind.ISSUER:
            return await self._trust(body)
        schema = schemas.CreatePublishToken if kind is TokenKind.PUBLISH else schemas.CreateSubscribeToken
        parsed: schemas.CreateToken = parse_body(json.dumps({"label": "scenario", **body}).encode(), schema)
        return await self.admin.issue(self.account, kind, partial(terms_of, parsed))

    async def _trust(self, body: dict[str, Any]) -> IssuedToken:
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        parsed: trusted_keys.NewTrustedKey = parse_body(
            json.dumps({"label": "scenario", "publicKey": public, **body}).encode(), trusted_keys.NewTrustedKey
        )
        terms = TokenTerms(label=parsed.label, streams=(), longest_seconds=parsed.longest_seconds)
        key = await self.trusted.add(self.account, trusted_keys.changed_terms(terms, parsed), public)
        self.kids[key.record.id] = key.public.kid
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return IssuedToken(key.record, Secret(pem), await self.store.account_policy(self.account))

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
        if not self.link.cut:
            await self.sessions.flush()
        return decision

    async def call(self, step: Mapping[str, Any]) -> list[tuple[int, str]]:
        """Make a step's call at the engines' door, byte for byte, and return the status and text of each answer.

        The first answer is that of the usual way, the second, where there is one, that of the short way. `$A`, `$hook`,
        `$control` and the names of tokens stand for the account, the engine's two secrets, and the tokens' texts.
        """
        name = step["hook"]
        secret = _hook_secret(name)
        control = self.authorizer.control_secret(self.authorizer.digest(secret))
        known = {label: issued.secret.reveal() for label, issued in self.tokens.items()}
        known |= {"A": self.account, "hook": secret, "control": control}

        def filled(text: str) -> bytes:
            return Template(text).substitute(known).encode()

        kind = step.get("kind", ENGINES[name].kind)
        path = f"{PREFIX}{kind}/{step.get('secret', secret)}{step.get('path', '')}"
        headers = [(header.encode(), filled(value)) for header, value in step.get("headers", {}).items()]
        body = filled(step.get("body", ""))
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.hooks({"path": path, "headers": headers}, receive, send)
        answers = [(sent[0]["status"], sent[1]["body"].decode())]
        if not self.link.cut:
            await self.sessions.flush()
        at_once = self.hooks.from_memory(path, headers, body)
        if at_once is not None:
            answers.append((at_once.start["status"], at_once.text.decode()))
        return answers

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
        elif "of" in step:
            await self._change_secret(step, self.tokens[step["of"]].record)
        elif "end" in step:
            await self.sessions.ended(self.engine(step).id, step["end"])
        elif "carried" in step:
            self.sessions.saw(self.engine(step).id, step["carried"], step.get("bytes", 0))
            await self.sessions.flush()
        elif "sweep" in step:
            await self.store.sessions.end_silent([self.engine(step).id], self.now)
        elif "store" in step:
            self.link.cut = step["store"] == "away"
        elif "newer" in step:
            await self._have_set(step["newer"], step["sets"])
        else:
            await self._change_token(step["change"], step["body"], renewed=step.get("renewed", False))

    async def _change_secret(self, step: Mapping[str, Any], record: TokenRecord) -> None:
        """Rotate a token's value, end what it was before, or revoke children of it: by their `jti`, by their text, or all."""
        if "rotate" in step:
            await self.admin.rotate(self.account, record.kind, record.id, step["rotate"])
        elif "former" in step:
            await self.admin.end_former(self.account, record.kind, record.id)
        else:
            name = jti_name(step["jti"]) if "jti" in step else ALL
            if "child" in step:
                name = self.children.name_of(self.token_text({**step, "token": step["of"]}))
            await self.store.revoke_child(self.account, record.id, name, int(self.now))

    async def _change_token(self, name: str, body: Mapping[str, Any], *, renewed: bool) -> None:
        record = self.tokens[name].record
        kind = schemas.UpdatePublishToken if record.kind is TokenKind.PUBLISH else schemas.UpdateToken
        parsed: schemas.UpdateToken = parse_body(json.dumps(body).encode(), kind)
        renew = parsed.refresh_token is True
        changed = await self.admin.change(self.account, record.kind, record.id, change_of(parsed), renew=renew)
        # A step shows the text that was handed out first, unless it says that the new one was.
        self.tokens[name] = changed if renewed else replace(changed, secret=self.tokens[name].secret)

    async def _have_set(self, what: str, setting: str) -> None:
        """Have a newer version set something that this one does not know: for a token, or for the `account`."""
        if isinstance(self.store, MemoryStore):
            await self._have_in_memory(what, setting)
            return
        record = None if what == "account" else self.tokens[what].record
        table, column = (schema.account, "policy") if record is None else (schema.token, "terms")
        mine = table.c.id == (self.account if record is None else record.id)
        async with self.store._writing() as write:
            old = (await write.connection.execute(select(table.c[column]).where(mine))).scalar_one()
            new = json.dumps(json.loads(old) | {setting: True})
            await write.connection.execute(update(table).where(mine).values({column: new}))
            if record is None:
                write.touches(ChangeKind.ACCOUNT, self.account)
            else:
                write.touches(ChangeKind.TOKEN, self.account, record.digest)
                write.touches(ChangeKind.PUBLISHERS, self.account)

    async def _have_in_memory(self, what: str, setting: str) -> None:
        """Put what reading such a row gives, since there are no rows."""
        assert isinstance(self.store, MemoryStore)
        if what == "account":
            policy = self.store._accounts[self.account]
            async with self.store._writing(account=self.account):
                self.store._accounts[self.account] = replace(policy, enabled=False, not_understood=(setting,))
            return
        record = self.store._tokens[self.tokens[what].record.id]
        async with self.store._writing(record):
            terms = replace(record.terms, not_understood=(setting,))
            self.store._tokens[record.id] = replace(record, terms=terms)

    def token_text(self, step: Mapping[str, Any]) -> str:
        """Return what the step shows as its token."""
        if "text" in step or "token" not in step:
            return str(step.get("text", ""))
        text = self.tokens[step["token"]].secret.reveal()
        if step.get("as") == "base64url":
            text = base64.urlsafe_b64encode(bytes.fromhex(text)).rstrip(b"=").decode()
        if "signed" in step:
            kid = self.kids[self.tokens[step["token"]].record.id]
            asked = {"tokenId": None, "alg": "EdDSA", **step["signed"]}
            text = signed_child(text, 0, [asked | {"header": {"kid": kid} | asked.get("header", {})}])
        if "child" in step:
            text = signed_child(text, self.tokens[step["token"]].record.id, step["child"])
        return text[: len(text) - step.get("cut", 0)]


def signed_child(parent: str, token_id: int, levels: Sequence[Mapping[str, Any]]) -> str:
    """Sign a child of `parent`, and children of it: each level is what it says about streaming, and its claims.

    Of the claims, `exp` (60 where it is not said), `iat` and `nbf` are in seconds after `BASE`. `alg` is HS256, `key` the text
    above, where they are not said. `header` and `claims` are added as they are.
    """
    key, above = parent, None
    for level in levels:
        streaming: dict[str, Any] = {"tokenId": token_id, "tokenType": "Subscribe", "streamName": "cam"}
        if above is not None:
            streaming["parent"] = above
        streaming |= {name: value for name, value in level.items() if name not in _CLAIMS}
        claims: dict[str, Any] = {"streaming": streaming, "exp": BASE + level.get("exp", 60)}
        claims |= {name: BASE + level[name] for name in ("iat", "nbf") if name in level}
        claims |= {"jti": level["jti"]} if "jti" in level else {}
        claims |= level.get("claims", {})
        key = jwt.encode(claims, level.get("key", key), level.get("alg", "HS256"), headers=level.get("header"))
        above = key.rpartition(".")[0]
    return key


_CLAIMS: Final = frozenset({"exp", "iat", "nbf", "jti", "alg", "key", "header", "claims"})


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


def _hook_secret(engine: str) -> str:
    return f"the-hook-secret-of-{engine}"


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
