# ruff: noqa: D103
"""The port `ApiSecretStore`, held by every store: memory, SQLite and PostgreSQL."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from stagedoor.config import Settings
from stagedoor.model.account import AccountPolicy
from stagedoor.model.api_secret import ApiSecret
from stagedoor.model.errors import NotFound
from stagedoor.model.ids import AccountId
from stagedoor.service.ports import ApiSecretStore, Change, ChangeKind
from tests.contract.test_store import ALICE, AT, BACKENDS, BOB, Bench, close, place_of, populated


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return place_of(backend, request, settings)


@pytest.fixture
async def bench(backend: str, place: Settings) -> AsyncIterator[Bench]:
    async with populated(backend, place) as bench:
        yield bench


def secrets_of(bench: Bench) -> ApiSecretStore:
    secrets: ApiSecretStore = bench.store.api_secrets  # type: ignore[attr-defined]
    return secrets


async def test_the_first_secret_of_an_account_is_one_of_its_secrets(bench: Bench) -> None:
    [first] = await secrets_of(bench).list(ALICE)
    assert first == ApiSecret(id=first.id, account=ALICE, label="first", hint="sds_first1", added_on=AT)
    assert await secrets_of(bench).list(BOB) == []


async def test_a_new_secret_is_good_at_once_and_listed_after_the_others(bench: Bench) -> None:
    """Labels need not differ."""
    secrets = secrets_of(bench)
    second = await secrets.add(ALICE, "second", b"2", "sds_two", AT + 5)
    third = await secrets.add(ALICE, "second", b"3", "sds_three", AT + 5)
    assert second == ApiSecret(id=second.id, account=ALICE, label="second", hint="sds_two", added_on=AT + 5)
    assert [each.id for each in await secrets.list(ALICE)][1:] == [second.id, third.id]
    for digest in (b"alice's API secret", b"2", b"3"):
        assert await bench.store.account_of_api_secret(digest) == ALICE
    his = await secrets.add(BOB, "his", b"4", "", AT)
    assert await secrets.list(BOB) == [his]
    assert await bench.store.account_of_api_secret(b"4") == BOB


async def test_a_refreshed_secret_has_a_new_value_and_keeps_its_id_and_label(bench: Bench) -> None:
    secrets = secrets_of(bench)
    [first] = await secrets.list(ALICE)
    other = await secrets.add(ALICE, "other", b"2", "sds_two", AT)
    fresh = await secrets.refresh(ALICE, first.id, b"new", "sds_new", AT + 9)
    assert fresh == ApiSecret(id=first.id, account=ALICE, label="first", hint="sds_new", added_on=AT + 9)
    assert await secrets.list(ALICE) == [fresh, other]
    assert await bench.store.account_of_api_secret(b"alice's API secret") is None
    assert await bench.store.account_of_api_secret(b"new") == ALICE
    assert await bench.store.account_of_api_secret(b"2") == ALICE


async def test_a_removed_secret_is_good_for_nothing_and_with_the_last_one_nobody_is_let_in(bench: Bench) -> None:
    secrets = secrets_of(bench)
    [first] = await secrets.list(ALICE)
    second = await secrets.add(ALICE, "second", b"2", "", AT)
    await secrets.remove(ALICE, first.id)
    assert await secrets.list(ALICE) == [second]
    assert await bench.store.account_of_api_secret(b"alice's API secret") is None
    await secrets.remove(ALICE, second.id)
    assert await secrets.list(ALICE) == []
    assert await bench.store.account_of_api_secret(b"2") is None
    again = await secrets.add(ALICE, "again", b"5", "", AT)
    assert await bench.store.account_of_api_secret(b"5") == ALICE
    assert await secrets.list(ALICE) == [again]


async def test_no_secret_of_a_closed_account_is_good(bench: Bench) -> None:
    await secrets_of(bench).add(ALICE, "second", b"2", "", AT)
    await bench.store.change_account(ALICE, close)
    assert await bench.store.account_of_api_secret(b"2") is None
    await bench.store.change_account(ALICE, lambda _: AccountPolicy())
    assert await bench.store.account_of_api_secret(b"2") == ALICE


WRITES: dict[str, Callable[[ApiSecretStore, int], Awaitable[object]]] = {
    "add": lambda secrets, _: secrets.add(ALICE, "x", b"x", "", AT),
    "refresh": lambda secrets, first: secrets.refresh(ALICE, first, b"x", "", AT),
    "remove": lambda secrets, first: secrets.remove(ALICE, first),
}


@pytest.mark.parametrize("write", WRITES)
async def test_every_worker_learns_of_every_change(bench: Bench, write: str) -> None:
    [first] = await secrets_of(bench).list(ALICE)
    await WRITES[write](secrets_of(bench), first.id)
    expected = Change(bench.start + 1, ChangeKind.ACCOUNT, ALICE, b"")
    assert await bench.store.changes_after(bench.start) == (bench.start + 1, [expected])
    assert bench.heard.revisions == [(bench.start + 1, bench.start + 1)]


@pytest.mark.parametrize("secret_id", [0, -1, 404, 2**63 - 1, 2**63, 10**30])
async def test_a_secret_that_is_not_there_is_not_found_and_nothing_is_written(bench: Bench, secret_id: int) -> None:
    secrets = secrets_of(bench)
    with pytest.raises(NotFound, match=f"No API secret with id: {secret_id}"):
        await secrets.refresh(ALICE, secret_id, b"x", "", AT)
    with pytest.raises(NotFound, match=f"No API secret with id: {secret_id}"):
        await secrets.remove(ALICE, secret_id)
    assert await bench.store.revision() == bench.start
    assert bench.heard.revisions == []


async def test_another_accounts_secret_is_not_found(bench: Bench) -> None:
    secrets = secrets_of(bench)
    [first] = await secrets.list(ALICE)
    with pytest.raises(NotFound):
        await secrets.refresh(BOB, first.id, b"x", "", AT)
    with pytest.raises(NotFound):
        await secrets.remove(BOB, first.id)
    with pytest.raises(NotFound, match="there is no account 'carol'"):
        await secrets.add(AccountId("carol"), "x", b"x", "", AT)
    assert await secrets.list(ALICE) == [first]
    assert await bench.store.account_of_api_secret(b"alice's API secret") == ALICE
    assert await bench.store.account_of_api_secret(b"x") is None
