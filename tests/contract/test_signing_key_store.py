# ruff: noqa: D103
"""The port `SigningKeyStore`, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from stagedoor.config import Settings
from stagedoor.model.errors import Conflict, NotFound
from stagedoor.model.ids import AccountId
from stagedoor.model.key import Algorithm, KeyState, SigningKey
from stagedoor.service.key_ports import NewSigningKey, SigningKeyStore
from stagedoor.service.ports import Change, ChangeKind
from tests.contract.test_store import AT, SQL_BACKENDS, Bench, place_of, populated

STANDBY, IN_USE, PREVIOUSLY_USED, REVOKED = KeyState
RS256, ES256, EDDSA = Algorithm


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


def keys_of(bench: Bench) -> SigningKeyStore:
    keys: SigningKeyStore = bench.store.signing_keys  # type: ignore[attr-defined]
    return keys


async def added(bench: Bench, kid: str, state: KeyState = STANDBY, algorithm: Algorithm = ES256) -> SigningKey:
    new = NewSigningKey(kid=kid, algorithm=algorithm, public_jwk=f'{{"kid":"{kid}"}}', sealed=kid.encode(), added_on=AT)
    return await keys_of(bench).add(new, state, lambda _: False)


async def states(bench: Bench) -> dict[str, KeyState]:
    return {key.kid: key.state for key in await keys_of(bench).keys()}


async def test_keys_are_read_as_they_were_kept(bench: Bench) -> None:
    first = await added(bench, "b", IN_USE, RS256)
    second = await added(bench, "a", STANDBY, EDDSA)
    assert first == SigningKey(
        id=first.id,
        kid="b",
        algorithm=RS256,
        state=IN_USE,
        public_jwk='{"kid":"b"}',
        sealed=b"b",
        added_on=AT,
        changed_on=AT,
    )
    assert list(await keys_of(bench).keys()) == [first, second]


async def test_one_key_of_an_algorithm_is_in_use(bench: Bench) -> None:
    await added(bench, "a", IN_USE)
    await added(bench, "other", IN_USE, RS256)
    await added(bench, "b", IN_USE)
    await added(bench, "c")
    assert await states(bench) == {"a": PREVIOUSLY_USED, "other": IN_USE, "b": IN_USE, "c": STANDBY}
    used = await keys_of(bench).change("c", IN_USE, AT + 5)
    assert (used.state, used.changed_on, used.added_on) == (IN_USE, AT + 5, AT)
    assert await states(bench) == {"a": PREVIOUSLY_USED, "other": IN_USE, "b": PREVIOUSLY_USED, "c": IN_USE}


async def test_workers_that_all_want_a_first_key_get_the_same(bench: Bench) -> None:
    def new(kid: str) -> NewSigningKey:
        return NewSigningKey(kid=kid, algorithm=ES256, public_jwk="{}", sealed=b"", added_on=AT)

    made = await asyncio.gather(
        *(keys_of(bench).add(new(f"k{n}"), IN_USE, lambda key: key.state is IN_USE) for n in range(5))
    )
    assert len({key.kid for key in made}) == 1
    assert len(await keys_of(bench).keys()) == 1


MAY = {
    STANDBY: {STANDBY, IN_USE, PREVIOUSLY_USED, REVOKED},
    IN_USE: {IN_USE, PREVIOUSLY_USED, REVOKED},
    PREVIOUSLY_USED: {STANDBY, IN_USE, PREVIOUSLY_USED, REVOKED},
    REVOKED: {PREVIOUSLY_USED, REVOKED},
}


@pytest.mark.parametrize("state", KeyState)
@pytest.mark.parametrize("wanted", KeyState)
async def test_a_key_goes_from_state_to_state(bench: Bench, state: KeyState, wanted: KeyState) -> None:
    """A revoked one signs again in two steps; what is refused changes nothing."""
    await added(bench, "k", state)
    if wanted in MAY[state]:
        assert (await keys_of(bench).change("k", wanted, AT + 1)).state is wanted
    else:
        with pytest.raises(Conflict, match=f"is {state} and cannot become {wanted}"):
            await keys_of(bench).change("k", wanted, AT + 1)
        assert await states(bench) == {"k": state}


async def test_every_worker_learns_of_every_change(bench: Bench) -> None:
    await added(bench, "a", IN_USE)
    await added(bench, "b")
    await keys_of(bench).change("b", IN_USE, AT)
    await keys_of(bench).change("b", IN_USE, AT)
    nobody = AccountId("")
    assert await bench.store.changes_after(bench.start) == (
        bench.start + 3,
        [
            Change(bench.start + 1, ChangeKind.KEY, nobody, b"a"),
            Change(bench.start + 2, ChangeKind.KEY, nobody, b"b"),
            Change(bench.start + 3, ChangeKind.KEY, nobody, b"a"),
            Change(bench.start + 3, ChangeKind.KEY, nobody, b"b"),
        ],
    )


async def test_a_key_that_is_not_there_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFound, match="there is no signing key 'nope'"):
        await keys_of(bench).change("nope", REVOKED, AT)
    assert bench.heard.revisions == []
