# ruff: noqa: D103
"""Sealing anew: on SQLite and PostgreSQL, interrupted anywhere, with others at work."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from stagedoor.config import Settings
from stagedoor.keyring_file import KeyringFile
from stagedoor.model.errors import ConfigError
from stagedoor.model.ids import TokenId
from stagedoor.model.secret import Secret
from stagedoor.model.webhook import WebhookId
from stagedoor.service import reseal as module
from stagedoor.service.reseal import reseal
from stagedoor.service.sealed_ports import Resealed, SealedKind, SealedStore, SealedValue, place_of
from stagedoor.service.webhooks import place_of as place_of_webhook
from stagedoor.store import schema
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.sealed import sealed_at
from tests.contract.test_store import ALICE, SQL_BACKENDS, SqlBench, populated
from tests.contract.test_store import place_of as place_of_store

TABLES = {kind: schema.metadata.tables[kind.value] for kind in SealedKind}


@pytest.fixture(params=SQL_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return place_of_store(backend, request, settings)


@pytest.fixture
async def bench(backend: str, place: Settings) -> AsyncIterator[SqlBench]:
    async with populated(backend, place) as bench:
        assert isinstance(bench, SqlBench)
        yield bench


@pytest.fixture
def keeper(tmp_path: Path) -> KeyringFile:
    """A keyring of the test's own."""
    folder = tmp_path / "keys"
    folder.mkdir()
    keeper = KeyringFile(Settings(data=folder))
    keeper.create(Keyring.generate())
    return keeper


def row(kind: SealedKind, row_id: int, sealed: bytes) -> dict[str, object]:
    """Return a row of a table with a sealed value."""
    common: dict[str, object] = {"id": row_id, "sealed": sealed, "added_on": 1}
    if kind is SealedKind.TOKEN:
        return common | {
            "account_id": ALICE,
            "kind": "publish",
            "label": "l",
            "terms": "{}",
            "digest": f"digest {row_id}".encode(),
        }
    if kind is SealedKind.FORMER_SECRET:
        former = {"id": row_id, "sealed": sealed, "digest": f"digest {row_id}".encode(), "token_id": 1001}
        return former | {"replaced_at": 1, "until": 2, "uses": 0}
    if kind is SealedKind.WEBHOOK:
        return common | {"account_id": ALICE, "terms": "{}"}
    if kind is SealedKind.SIGNING_KEY:
        return common | {
            "kid": f"k{row_id}",
            "algorithm": "ES256",
            "state": "in_use",
            "public_jwk": "{}",
            "changed_on": 1,
        }
    more = {"account_id": ALICE, "name": f"n{row_id}", "kind": "livekit", "key_name": "", "settings": "{}"}
    return common | more


def sealed_for(kind: SealedKind, row_id: int) -> str:
    """Return the place that the value of such a row is sealed for."""
    names = {
        SealedKind.SIGNING_KEY: f"k{row_id}",
        SealedKind.VERIFIER: f"{ALICE}/n{row_id}",
        SealedKind.FORMER_SECRET: f"digest {row_id}".encode().hex(),
    }
    return place_of(kind, names.get(kind, str(row_id)))


async def fill(bench: SqlBench, keyring: Keyring, many: int = 3) -> None:
    """Keep some sealed values of each kind, and one that is empty."""
    async with bench.writer.begin() as connection:
        for kind, table in TABLES.items():
            for row_id in range(1001, 1001 + many):
                sealed = keyring.seal(Secret(f"{kind} {row_id}"), sealed_for(kind, row_id))
                await connection.execute(insert(table).values(row(kind, row_id, sealed)))
            await connection.execute(insert(table).values(row(kind, 2000, b"")))
        # Those of the bench are not sealed with any keyring.
        await connection.execute(update(schema.token).where(schema.token.c.id < 1000).values(sealed=b""))


async def contents(bench: SqlBench, kind: SealedKind) -> dict[int, bytes]:
    table = TABLES[kind]
    async with bench.reader.connect() as connection:
        rows = await connection.execute(select(table.c.id, table.c.sealed).where(table.c.id > 1000))
        return {each[0]: each[1] for each in rows}


async def check_all(bench: SqlBench, keyring: Keyring, many: int = 3) -> None:
    """See that everything is there, sealed with the newest key."""
    for kind in SealedKind:
        found = await contents(bench, kind)
        assert found.pop(2000) == b""
        assert len(found) == many
        for row_id, sealed in found.items():
            assert sealed.startswith(keyring.mark)
            assert keyring.unseal(sealed, sealed_for(kind, row_id)).reveal() == f"{kind} {row_id}"


async def no_wait(_seconds: float) -> None:
    """Do not wait: nobody else writes."""


def test_places_are_those_that_are_sealed_for() -> None:
    assert sealed_for(SealedKind.TOKEN, 7) == sealed_at(TokenId(7))
    assert sealed_for(SealedKind.WEBHOOK, 7) == place_of_webhook(WebhookId(7))


def test_every_table_with_sealed_values_is_sealed_anew() -> None:
    tables = {table.name for table in schema.metadata.tables.values() if "sealed" in table.c}
    assert tables == {kind.value for kind in SealedKind}


async def test_everything_is_sealed_with_a_new_key_and_the_old_one_is_gone(
    bench: SqlBench, keeper: KeyringFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches; a second run does it again, with a third key."""
    monkeypatch.setattr(module, "BATCH", 2)
    await fill(bench, keeper.read(), many=5)
    assert await reseal(store=bench.store.sealed, keeper=keeper, wait=no_wait) == 25
    assert repr(keeper.read()) == "Keyring(sealing_keys=['2'], seal_with='2')"
    await check_all(bench, keeper.read(), many=5)
    assert await reseal(store=bench.store.sealed, keeper=keeper, wait=no_wait) == 25
    assert repr(keeper.read()) == "Keyring(sealing_keys=['3'], seal_with='3')"
    await check_all(bench, keeper.read(), many=5)


async def test_sealing_anew_tells_nobody(bench: SqlBench, keeper: KeyringFile) -> None:
    """No view has anything to forget, so the revision stands."""
    await fill(bench, keeper.read())
    before = await bench.store.revision()
    await reseal(store=bench.store.sealed, keeper=keeper, wait=no_wait)
    assert await bench.store.revision() == before
    assert bench.heard.revisions == []


class Interrupted(Exception):
    """Stands for a process that is killed."""


class Failing:
    """A store and a keyring's file that fail at their n-th write, before it or just after it."""

    def __init__(self, store: SealedStore, keeper: KeyringFile, at: int, *, after: bool) -> None:
        self._store, self._keeper, self._left, self._after = store, keeper, at, after
        self.sealed = store.sealed
        self.read = keeper.read

    def _fails(self) -> bool:
        self._left -= 1
        return self._left == 0

    async def reseal(self, kind: SealedKind, values: Sequence[Resealed]) -> None:
        """Seal anew, or fail."""
        fails = self._fails()
        if self._after or not fails:
            await self._store.reseal(kind, values)
        if fails:
            raise Interrupted

    def replace(self, keyring: Keyring) -> None:
        """Replace the keyring, or fail."""
        fails = self._fails()
        if self._after or not fails:
            self._keeper.replace(keyring)
        if fails:
            raise Interrupted


@pytest.mark.parametrize("after", [False, True])
async def test_interrupted_anywhere_nothing_is_lost_and_the_next_run_finishes(
    bench: SqlBench, keeper: KeyringFile, *, after: bool
) -> None:
    """Whichever write was the last one: all values open with the keyring that is there, and then it is done again."""
    await fill(bench, keeper.read())
    at, interrupted = 1, True
    while interrupted:
        failing = Failing(bench.store.sealed, keeper, at, after=after)
        try:
            await reseal(store=failing, keeper=failing, wait=no_wait)
            interrupted = False
        except Interrupted:
            keyring = keeper.read()
            for kind in SealedKind:
                for row_id, sealed in (await contents(bench, kind)).items():
                    assert not sealed or keyring.unseal(sealed, sealed_for(kind, row_id)).reveal() == f"{kind} {row_id}"
            await reseal(store=bench.store.sealed, keeper=keeper, wait=no_wait)
            assert not keeper.read().is_resealing
            await check_all(bench, keeper.read())
        at += 1
    # Two writes of the keyring and one of each table.
    assert at == 9


async def test_a_value_that_is_renewed_meanwhile_does_not_get_its_old_one_back(
    bench: SqlBench, keeper: KeyringFile
) -> None:
    """It was read, then renewed by another, then sealed anew: what the other wrote stays."""
    old = keeper.read()
    await fill(bench, old, many=1)
    [read] = await bench.store.sealed.sealed(SealedKind.TOKEN, b"\x01x", 1000, 10)
    place = sealed_for(SealedKind.TOKEN, 1001)
    renewed = old.seal(Secret("renewed"), place)
    table = schema.token
    async with bench.writer.begin() as connection:
        await connection.execute(update(table).where(table.c.id == 1001).values(sealed=renewed))
    late = Resealed(1001, read.sealed, old.with_new_key().seal(Secret("old"), place))
    await bench.store.sealed.reseal(SealedKind.TOKEN, [late])
    assert (await contents(bench, SealedKind.TOKEN))[1001] == renewed


async def test_what_others_seal_with_the_old_key_meanwhile_is_sealed_anew_too(
    bench: SqlBench, keeper: KeyringFile
) -> None:
    """A write that was under way when the key changed comes to its end while we wait."""
    old = keeper.read()
    await fill(bench, old)

    async def late(seconds: float) -> None:
        assert seconds == module.SETTLE_SECONDS
        assert keeper.read().is_resealing
        sealed = old.seal(Secret("token 1500"), sealed_for(SealedKind.TOKEN, 1500))
        async with bench.writer.begin() as connection:
            await connection.execute(insert(schema.token).values(row(SealedKind.TOKEN, 1500, sealed)))

    await reseal(store=bench.store.sealed, keeper=keeper, wait=late)
    new = keeper.read()
    found = (await contents(bench, SealedKind.TOKEN))[1500]
    assert new.unseal(found, sealed_for(SealedKind.TOKEN, 1500)).reveal() == "token 1500"
    assert not new.is_resealing


async def test_a_value_that_does_not_open_keeps_the_old_keys(bench: SqlBench, keeper: KeyringFile) -> None:
    """It is named, all others are sealed anew, and nothing is dropped that might open it."""
    await fill(bench, keeper.read())
    bad = keeper.read().seal(Secret("x"), "elsewhere")
    async with bench.writer.begin() as connection:
        await connection.execute(insert(schema.webhook).values(row(SealedKind.WEBHOOK, 1700, bad)))
    with pytest.raises(ConfigError, match=r"1 values do not open.*webhook\.sealed:1700"):
        await reseal(store=bench.store.sealed, keeper=keeper, wait=no_wait)
    assert repr(keeper.read()) == "Keyring(sealing_keys=['1', '2'], seal_with='2')"
    assert (await contents(bench, SealedKind.WEBHOOK))[1700] == bad
    async with bench.writer.begin() as connection:
        await connection.execute(schema.webhook.delete().where(schema.webhook.c.id == 1700))
    await reseal(store=bench.store.sealed, keeper=keeper, wait=no_wait)
    await check_all(bench, keeper.read())


async def test_pages_of_values(bench: SqlBench, keeper: KeyringFile) -> None:
    """By id, from after one, without those that have the mark and those that are empty."""
    keyring = keeper.read()
    await fill(bench, keyring)
    store = bench.store.sealed
    first = await store.sealed(SealedKind.VERIFIER, b"\x01x", 0, 2)
    assert [value.id for value in first] == [1001, 1002]
    assert isinstance(first[0], SealedValue)
    assert [value.id for value in await store.sealed(SealedKind.VERIFIER, b"\x01x", 1002, 2)] == [1003]
    assert await store.sealed(SealedKind.VERIFIER, keyring.mark, 0, 2) == []
