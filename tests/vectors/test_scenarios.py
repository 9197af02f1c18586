"""The scenario files: the same steps through the real authorizer and view, on every store."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from stagedoor.cluster.revision import SharedRevision
from stagedoor.cluster.view import CachedView
from stagedoor.edge.millicast import schemas
from stagedoor.edge.millicast.tokens import change_of, terms_of
from stagedoor.engines.dialect import stream_of
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.decision import Reason
from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.ids import AccountId, EngineId
from stagedoor.model.token import TokenKind
from stagedoor.service.accounts import Accounts
from stagedoor.service.authorize import Attempt, Authorizer
from stagedoor.service.explain import explain_access
from stagedoor.service.ports import AccessEvent
from stagedoor.service.standing import publishers_of, token_facts
from stagedoor.service.token_admin import IssuedToken, TokenAdmin
from stagedoor.store.memory import MemoryStore
from stagedoor.store.migrate import migrate_sqlite
from stagedoor.store.sql import SqlStore
from stagedoor.store.sqlite import sqlite_engines
from stagedoor.tokens.keyring import Keyring

BASE = 1_767_225_600
"""2026-01-01T00:00:00Z."""

FOLDER = Path(__file__).parent / "scenarios"
SCENARIOS = [
    (file.stem, scenario) for file in sorted(FOLDER.glob("*.yaml")) for scenario in yaml.safe_load(file.read_text())
]


class Events:
    """An access log that keeps what it is told."""

    def __init__(self) -> None:
        self.kept: list[AccessEvent] = []

    def record(self, event: AccessEvent) -> None:
        """Keep the event."""
        self.kept.append(event)


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[tuple[MemoryStore | SqlStore, SharedRevision]]:
    """Open a store of the kind."""
    revision = SharedRevision(folder / "revision")
    if kind == "memory":
        yield MemoryStore(announce=revision.announce), revision
    else:
        migrate_sqlite(folder / "stagedoor.db")
        reader, writer = sqlite_engines(folder / "stagedoor.db")
        store = SqlStore(reader=reader, writer=writer, announce=revision.announce)
        yield store, revision
        await store.close()
    revision.close()


@pytest.mark.parametrize("store_kind", ["memory", "sqlite"])
@pytest.mark.parametrize(("file", "scenario"), SCENARIOS, ids=[scenario["note"] for _, scenario in SCENARIOS])
async def test_scenario(file: str, scenario: dict[str, Any], store_kind: str, tmp_path: Path) -> None:
    """Each access gets the reason the file says, warm and cold; `explain` agrees; the event tells it."""
    now = [float(BASE)]

    def clock() -> float:
        return now[0]

    async with opened(store_kind, tmp_path) as (store, revision):
        keyring, events = Keyring.generate(), Events()
        admin = TokenAdmin(store=store, keyring=keyring, clock=clock)
        first = await Accounts(store=store, keyring=keyring, clock=clock).create_first("scenario@localhost")
        view = CachedView(
            source=store, announced=revision, token_facts=token_facts, publishers_of=publishers_of, capacity=100
        )
        authorizer = Authorizer(view=view, keyring=keyring, clock=clock, access_log=events)
        engine = Engine(
            id=EngineId("e"), kind=EngineKind.MEDIAMTX, name="e", account=AccountId(""), secret_digest=b"", added_on=0
        )
        tokens = {
            name: await issue(admin, first.account, dict(body)) for name, body in (scenario.get("tokens") or {}).items()
        }
        for step in scenario["steps"]:
            if "expect" not in step:
                await change(store, admin, first.account, tokens, step)
                continue
            now[0] = BASE + float(step.get("at", 0))
            path = step["stream"].replace("A/", f"{first.account}/", 1)
            access = Access(Action(step["do"]), stream_of(path), Protocol.UNKNOWN, str(step.get("ip", "192.0.2.9")))
            text = token_text(tokens, step)
            for _ in ("cold", "warm"):
                decision = await authorizer.authorize(engine, Attempt(access, text))
                assert decision.reason == step["expect"], step
                assert events.kept[-1].decision == decision
            if access.stream.account:
                explained = await explain_access(store, keyring, access, text, now[0])
                assert explained.decision.reason == step["expect"], step


async def issue(admin: TokenAdmin, account: AccountId, body: dict[str, Any]) -> IssuedToken:
    """Create a token from the API's own body."""
    kind = TokenKind(body.pop("kind"))
    schema = schemas.CreatePublishToken if kind is TokenKind.PUBLISH else schemas.CreateSubscribeToken
    parsed: schemas.CreateToken = schemas.parse(json.dumps({"label": "scenario", **body}).encode(), schema)
    return await admin.issue(account, kind, partial(terms_of, parsed))


async def change(
    store: MemoryStore | SqlStore,
    admin: TokenAdmin,
    account: AccountId,
    tokens: dict[str, IssuedToken],
    step: dict[str, Any],
) -> None:
    """Carry out a step that is no access."""
    if "account" in step:
        await store.set_account_enabled(account, step["account"] == "open")
    elif "revoke" in step:
        record = tokens[step["revoke"]].record
        await admin.revoke(account, record.kind, record.id)
    else:
        record = tokens[step["change"]].record
        body = schemas.parse(json.dumps(step["body"]).encode(), schemas.UpdatePublishToken)
        await admin.change(account, record.kind, record.id, change_of(body), renew=body.refresh_token is True)


def token_text(tokens: dict[str, IssuedToken], step: dict[str, Any]) -> str:
    """Return what the step shows as its token."""
    if "token" not in step:
        return str(step.get("text", ""))
    text = tokens[step["token"]].secret.reveal()
    if step.get("as") == "base64url":
        text = base64.urlsafe_b64encode(bytes.fromhex(text)).rstrip(b"=").decode()
    return text[: len(text) - step.get("cut", 0)]


def test_every_reason_of_policy_is_in_a_scenario() -> None:
    """Each reason has a vector here, but for those that no policy gives (they are in the hook tests)."""
    seen = {step["expect"] for _, scenario in SCENARIOS for step in scenario["steps"] if "expect" in step}
    elsewhere = {
        Reason.OK_ENGINE,
        Reason.ACTION_UNKNOWN,
        Reason.REQUEST_MALFORMED,
        Reason.ENGINE_UNKNOWN,
        Reason.STORE_UNAVAILABLE,
    }
    assert seen | {reason.value for reason in elsewhere} == {reason.value for reason in Reason}
