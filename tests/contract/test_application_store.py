# ruff: noqa: D103
"""The ports of applications and of their API tokens, on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from stagedoor.config import Settings
from stagedoor.model.application import ApiToken, ApiTokenKind, Application
from stagedoor.model.errors import Conflict, NotFound
from stagedoor.model.ids import AccountId
from stagedoor.model.key import Algorithm, KeyState
from stagedoor.service.key_ports import NewSigningKey
from stagedoor.service.ports import Change, ChangeKind
from stagedoor.store.sql import SqlStore
from tests.contract.test_store import ALICE, AT, BOB, SQL_BACKENDS, Bench, close, place_of, populated

SCOPES = frozenset(("live:cluster:read", "live:publish_token:*"))


@pytest.fixture(params=SQL_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return place_of(backend, request, settings)


@pytest.fixture
async def bench(backend: str, place: Settings) -> AsyncIterator[Bench]:
    async with populated(backend, place) as bench:
        yield bench


@pytest.fixture
def store(bench: Bench) -> SqlStore:
    assert isinstance(bench.store, SqlStore)
    return bench.store


def pass_(_: Application) -> None:
    """Have nothing against it."""


async def added(store: SqlStore, key: str = "k", account: AccountId = ALICE) -> Application:
    new = Application(id=0, account=account, label=f"label {key}", key=key, scopes=SCOPES, added_on=AT)
    return await store.applications.add(new, f"secret of {key}".encode(), "sda_hint", 100)


async def signed(store: SqlStore) -> int:
    new = NewSigningKey(kid="kid", algorithm=Algorithm.ES256, public_jwk="{}", sealed=b"", added_on=AT)
    return (await store.signing_keys.add(new, KeyState.IN_USE, lambda _: True)).id


async def with_token(
    store: SqlStore, application: Application, digest: bytes = b"t", expires_at: int = AT + 9
) -> ApiToken:
    token = ApiToken(
        jti=digest.hex(),
        account=application.account,
        application_id=application.id,
        key_id=await signed(store),
        kind=ApiTokenKind.ACCESS,
        scopes=SCOPES,
        external_id="żółw",
        issued_at=AT,
        expires_at=expires_at,
    )
    await store.api_tokens.add(token, digest, application.key)
    return token


async def is_open(store: SqlStore, digest: bytes = b"t") -> bool | None:
    facts = await store.api_tokens.api_token(digest)
    return None if facts is None else facts.open


async def test_an_application_is_read_as_it_was_kept_by_its_own_account(store: SqlStore) -> None:
    made = await added(store)
    [secret] = made.secrets
    assert (made.account, made.label, made.key, made.scopes, made.added_on) == (ALICE, "label k", "k", SCOPES, AT)
    assert (secret.hint, secret.added_on) == ("sda_hint", AT)
    his = await added(store, "his", BOB)
    assert await store.applications.list(ALICE) == [made]
    assert await store.applications.application(ALICE, made.id) == made
    for account, id_ in [(ALICE, his.id), (BOB, made.id), (ALICE, 0), (ALICE, -1), (ALICE, 2**63), (ALICE, 10**30)]:
        with pytest.raises(NotFound):
            await store.applications.application(account, id_)
    with pytest.raises(NotFound, match="there is no account"):
        await added(store, "x", AccountId("carol"))


async def test_an_account_has_so_many_applications_and_no_more(store: SqlStore) -> None:
    made = await added(store)
    with pytest.raises(Conflict, match="there are 1 applications already"):
        await store.applications.add(replace(made, key="other"), b"other", "", 1)
    await store.applications.add(replace(made, key="other", account=BOB), b"other", "", 1)


async def test_an_application_is_found_by_its_key_and_any_secret_of_its_own(bench: Bench, store: SqlStore) -> None:
    made, other = await added(store, "a"), await added(store, "b")
    assert await store.applications.find("a", b"secret of a") == made
    assert await store.applications.find("a", b"secret of b") is None
    assert await store.applications.find("x", b"secret of a") is None
    both = await store.applications.add_secret(ALICE, made.id, b"second", "sda_second", AT + 1, pass_)
    assert await store.applications.find("a", b"second") == both
    assert await store.applications.find("a", b"secret of a") == both
    await store.applications.remove_secret(ALICE, made.id, made.secrets[0].id)
    assert await store.applications.find("a", b"secret of a") is None
    await bench.store.change_account(ALICE, close)
    assert await store.applications.find("a", b"second") is None
    assert await store.applications.find("b", b"secret of b") is None
    with pytest.raises(NotFound):
        await store.applications.remove_secret(ALICE, other.id, both.secrets[1].id)


async def test_a_check_that_raises_leaves_everything_as_it_was(store: SqlStore) -> None:
    made = await added(store)

    def refuse(_: Application) -> Application:
        raise Conflict("no")

    with pytest.raises(Conflict, match="no"):
        await store.applications.add_secret(ALICE, made.id, b"second", "", AT, refuse)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="no"):
        await store.applications.change(ALICE, made.id, refuse)
    assert await store.applications.list(ALICE) == [made]


async def test_a_token_is_known_with_what_it_hangs_on(store: SqlStore) -> None:
    made = await added(store)
    token = await with_token(store, made)
    facts = await store.api_tokens.api_token(b"t")
    assert facts is not None
    assert (facts.token, facts.client_id, facts.application_scopes, facts.open) == (token, "k", SCOPES, True)
    assert await store.api_tokens.api_token(b"x") is None
    narrower = frozenset(("live:cluster:read",))
    await store.applications.change(ALICE, made.id, lambda old: replace(old, scopes=narrower))
    facts = await store.api_tokens.api_token(b"t")
    assert facts is not None
    assert (facts.application_scopes, facts.token.scopes) == (narrower, SCOPES)


async def test_everything_that_a_token_hangs_on_can_end_it(bench: Bench, store: SqlStore) -> None:
    made = await added(store)
    await with_token(store, made)
    assert await is_open(store) is True
    await store.signing_keys.change("kid", KeyState.REVOKED, AT)
    assert await is_open(store) is False
    await store.signing_keys.change("kid", KeyState.PREVIOUSLY_USED, AT)
    assert await is_open(store) is True
    await bench.store.change_account(ALICE, close)
    assert await is_open(store) is False
    await bench.store.change_account(ALICE, lambda policy: replace(policy, enabled=True))
    assert await is_open(store) is True
    await store.applications.remove_secret(ALICE, made.id, made.secrets[0].id)
    assert await is_open(store) is False
    await store.applications.add_secret(ALICE, made.id, b"again", "", AT, pass_)
    assert await is_open(store) is True
    await store.api_tokens.revoke(made.id + 1, b"t", AT)
    assert await is_open(store) is True
    [secret] = await store.api_secrets.list(ALICE)
    await store.api_secrets.remove(ALICE, secret.id)
    assert await is_open(store) is False
    await store.api_secrets.add(ALICE, "x", b"x", "", AT)
    assert await is_open(store) is True
    await store.api_tokens.revoke(made.id, b"t", AT)
    assert await is_open(store) is False
    await store.applications.remove(ALICE, made.id)
    assert await is_open(store) is None


async def test_an_application_that_is_gone_gets_no_token_nor_does_one_that_has_its_number(store: SqlStore) -> None:
    """SQLite gives numbers again."""
    made = await added(store, "a")
    await with_token(store, made, b"old")
    await store.applications.remove(ALICE, made.id)
    await added(store, "b", BOB)
    with pytest.raises(NotFound):
        await with_token(store, made, b"late")
    assert await is_open(store, b"old") is None
    assert await is_open(store, b"late") is None


async def test_all_tokens_are_revoked_at_once_and_old_ones_forgotten(store: SqlStore) -> None:
    made, other = await added(store, "a"), await added(store, "b")
    for n in range(3):
        await with_token(store, made, bytes([n]), AT + n)
    await with_token(store, other, b"other", AT + 2)
    assert await store.api_tokens.revoke_all(ALICE, made.id, AT) == 2
    assert await store.api_tokens.revoke_all(ALICE, made.id, AT) == 0
    assert await is_open(store, b"other") is True
    with pytest.raises(NotFound):
        await store.api_tokens.revoke_all(BOB, made.id, AT)
    assert await store.api_tokens.forget(AT + 2) == 2
    assert await is_open(store, b"\x02") is False
    assert await is_open(store, b"other") is True


WRITES: dict[str, Callable[[SqlStore, Application], Awaitable[object]]] = {
    "change": lambda store, made: store.applications.change(ALICE, made.id, lambda old: old),
    "add a secret": lambda store, made: store.applications.add_secret(ALICE, made.id, b"x", "", AT, pass_),
    "remove a secret": lambda store, made: store.applications.remove_secret(ALICE, made.id, made.secrets[0].id),
    "remove": lambda store, made: store.applications.remove(ALICE, made.id),
    "revoke": lambda store, made: store.api_tokens.revoke(made.id, b"t", AT),
    "revoke all": lambda store, made: store.api_tokens.revoke_all(ALICE, made.id, AT),
}


@pytest.mark.parametrize("write", WRITES)
async def test_every_worker_learns_of_what_may_end_a_token(bench: Bench, store: SqlStore, write: str) -> None:
    made = await added(store)
    await with_token(store, made)
    before = await bench.store.revision()
    await WRITES[write](store, made)
    key = b"t" if write == "revoke" else b""
    expected = Change(before + 1, ChangeKind.CREDENTIAL, ALICE, key)
    assert await bench.store.changes_after(before) == (before + 1, [expected])
    assert bench.heard.revisions[-1] == (before + 1, before + 1)
