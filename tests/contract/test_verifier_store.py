# ruff: noqa: D103
"""The port `VerifierStore`, held by SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from stagedoor.config import Settings
from stagedoor.model.access import Action, Protocol
from stagedoor.model.errors import Conflict, InvalidInput, NotFound
from stagedoor.model.ids import AccountId
from stagedoor.model.verifier import AddressClaim, CatAlgorithm, Verifier, VerifierKind, VerifierSettings
from stagedoor.service.verifier_ports import VerifierStore
from stagedoor.store.sql import SqlStore
from tests.contract.test_store import ALICE, AT, BOB, Bench, place_of, populated

MOST = 3
FULL = Verifier(
    account=ALICE,
    name="b",
    kind=VerifierKind.OVENMEDIAENGINE,
    settings=VerifierSettings(
        url="wss://h:3334/app",
        file="llhls.m3u8",
        protocols=(Protocol.WEBRTC, Protocol.HLS),
        issuer="us",
        audience="them",
        policy_query="p",
        signature_query="s",
        address_claim=AddressClaim.REAL_IP,
        bind_address=True,
        opens=(Action.SUBSCRIBE,),
        algorithm=CatAlgorithm.ES256,
    ),
    key_name="key",
    sealed=b"\x00\xffsealed",
    added_on=AT,
)
PLAIN = Verifier(account=ALICE, name="A", kind=VerifierKind.MEDIAMTX, settings=VerifierSettings(), added_on=AT)


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return place_of(backend, request, settings)


@pytest.fixture
async def bench(backend: str, place: Settings) -> AsyncIterator[Bench]:
    async with populated(backend, place) as bench:
        yield bench


def verifiers_of(bench: Bench) -> VerifierStore:
    assert isinstance(bench.store, SqlStore)
    return bench.store.verifiers


async def test_what_is_kept_is_read_and_listed_by_name(bench: Bench) -> None:
    verifiers = verifiers_of(bench)
    await verifiers.add(FULL, MOST)
    await verifiers.add(PLAIN, MOST)
    await verifiers.add(replace(PLAIN, account=BOB, name="b"), MOST)
    assert await verifiers.verifier(ALICE, "b") == FULL
    assert await verifiers.verifiers(ALICE) == [PLAIN, FULL]
    assert (await verifiers.verifier(BOB, "b")).kind is VerifierKind.MEDIAMTX


async def test_names_are_an_accounts_own_and_there_are_so_many_of_them(bench: Bench) -> None:
    verifiers = verifiers_of(bench)
    await verifiers.add(FULL, MOST)
    with pytest.raises(Conflict, match="already"):
        await verifiers.add(replace(PLAIN, name="b"), MOST)
    assert await verifiers.verifier(ALICE, "b") == FULL
    await verifiers.add(replace(PLAIN, name="B"), MOST)
    await verifiers.add(replace(PLAIN, name="c"), MOST)
    with pytest.raises(Conflict, match="at most 3"):
        await verifiers.add(replace(PLAIN, name="d"), MOST)
    with pytest.raises(NotFound, match="carol"):
        await verifiers.add(replace(PLAIN, account=AccountId("carol")), MOST)


async def test_a_change_is_whole_or_not_made(bench: Bench) -> None:
    verifiers = verifiers_of(bench)
    await verifiers.add(PLAIN, MOST)
    changed = replace(PLAIN, settings=FULL.settings, key_name="k", sealed=b"x")
    assert await verifiers.change(ALICE, "A", lambda _: changed) == changed
    assert await verifiers.verifier(ALICE, "A") == changed

    def fail(_: Verifier) -> Verifier:
        raise InvalidInput("no")

    with pytest.raises(InvalidInput):
        await verifiers.change(ALICE, "A", fail)
    assert await verifiers.verifier(ALICE, "A") == changed


async def test_what_is_removed_or_anothers_is_not_found(bench: Bench) -> None:
    verifiers = verifiers_of(bench)
    await verifiers.add(PLAIN, MOST)
    for account, name in ((BOB, "A"), (ALICE, "a"), (ALICE, "nobody")):
        with pytest.raises(NotFound):
            await verifiers.verifier(account, name)
        with pytest.raises(NotFound):
            await verifiers.change(account, name, lambda verifier: verifier)
        with pytest.raises(NotFound):
            await verifiers.remove(account, name)
    await verifiers.remove(ALICE, "A")
    with pytest.raises(NotFound):
        await verifiers.verifier(ALICE, "A")
    assert await verifiers.verifiers(ALICE) == []


async def test_no_worker_has_to_forget_anything(bench: Bench) -> None:
    """Nothing of verifiers is remembered, so their writes take no number."""
    verifiers = verifiers_of(bench)
    await verifiers.add(PLAIN, MOST)
    await verifiers.change(ALICE, "A", lambda verifier: verifier)
    await verifiers.remove(ALICE, "A")
    assert (await bench.store.changes_after(bench.start))[0] == bench.start
    assert bench.heard.revisions == []
