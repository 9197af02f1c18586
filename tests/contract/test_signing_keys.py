# ruff: noqa: D103
"""Our signing keys through the whole application: published, changed while workers sign, replaced by the schedule."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import jwt
import pytest

from stagedoor.app import Administration, administration, authority
from stagedoor.config import Settings
from stagedoor.model.errors import Conflict, InvalidInput, NotFound
from stagedoor.model.key import Algorithm, KeyState
from stagedoor.model.secret import Secret
from stagedoor.service import rounds
from stagedoor.service.signing_keys import place_of
from tests.answers import Checked

STANDBY, IN_USE, PREVIOUSLY_USED, REVOKED = KeyState
RS256, ES256, EDDSA = Algorithm
DAY = 24 * 3600


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def administered(settings: Settings) -> AsyncIterator[tuple[Administration, Hands]]:
    clock = Hands()
    async with administration(settings, clock) as admin:
        yield admin, clock


async def states(admin: Administration) -> list[KeyState]:
    return [key.state for key in await admin.signing_keys.list()]


async def published(app: Any) -> Any:
    transport = Checked(httpx.ASGITransport(app=app))
    async with httpx.AsyncClient(transport=transport, base_url="http://authority") as client:
        answer = await client.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=300"
    return answer.json()


async def test_the_keys_are_published_to_anybody_and_what_we_sign_is_verified_by_them(settings: Settings) -> None:
    async with authority(settings) as running, administration(settings) as admin:
        assert sorted(key["alg"] for key in (await published(running.app))["keys"]) == ["ES256", "EdDSA", "RS256"]
        texts = [(await admin.signing_keys.sign({"n": 1}, algorithm=a)).text.reveal() for a in Algorithm]
        found = await published(running.app)
        assert found == await published(running.app)
        assert len(found["keys"]) == 3
        assert not any({"d", "p", "q", "dp", "dq", "qi", "k"} & set(key) for key in found["keys"])
        keys = jwt.PyJWKSet.from_dict(found)
        for text in texts:
            header = jwt.get_unverified_header(text)
            assert jwt.decode(text, keys[header["kid"]].key, algorithms=[header["alg"]]) == {"n": 1}


async def es256(app: Any) -> list[str]:
    return [key["kid"] for key in (await published(app))["keys"] if key["alg"] == "ES256"]


async def test_a_revoked_key_is_published_by_no_worker_until_it_is_restored(settings: Settings) -> None:
    async with authority(settings) as one, authority(settings) as two, administration(settings) as admin:
        signed = await admin.signing_keys.sign({}, algorithm=ES256)
        for worker in (one, two):
            assert await es256(worker.app) == [signed.kid]
        await admin.signing_keys.revoke(signed.kid)
        for worker in (one, two):
            assert await es256(worker.app) == []
        other = await admin.signing_keys.sign({}, algorithm=ES256)
        assert other.kid != signed.kid
        with pytest.raises(Conflict):
            await admin.signing_keys.use(signed.kid)
        await admin.signing_keys.restore(signed.kid)
        for worker in (one, two):
            assert await es256(worker.app) == [signed.kid, other.kid]
        assert (await admin.signing_keys.sign({}, algorithm=ES256)).kid == other.kid
        await admin.signing_keys.use(signed.kid)
        assert (await admin.signing_keys.sign({}, algorithm=ES256)).kid == signed.kid


async def test_a_standby_signs_when_the_key_in_use_is_gone(settings: Settings) -> None:
    async with administration(settings) as admin:
        first = await admin.signing_keys.sign({}, algorithm=ES256)
        standby = await admin.signing_keys.make(ES256)
        assert (await admin.signing_keys.sign({}, algorithm=ES256)).kid == first.kid
        await admin.signing_keys.retire(first.kid)
        signed = await admin.signing_keys.sign({}, algorithm=ES256)
        assert (signed.kid, signed.key_id) == (standby.kid, standby.id)
        assert await states(admin) == [PREVIOUSLY_USED, IN_USE]


async def test_a_key_is_named_by_how_it_begins_if_that_is_one(settings: Settings) -> None:
    async with administration(settings) as admin:
        key = await admin.signing_keys.make(ES256)
        assert (await admin.signing_keys.use(key.kid[:8])).state is IN_USE
        for name in ("", "nope", key.kid + "x"):
            with pytest.raises(NotFound):
                await admin.signing_keys.use(name)
        with pytest.raises(InvalidInput, match="only a revoked one is restored"):
            await admin.signing_keys.restore(key.kid)


async def test_private_keys_are_kept_sealed_each_for_its_own_row(settings: Settings) -> None:
    async with administration(settings) as admin:
        key = await admin.signing_keys.make(ES256)
        opened = admin.keyring.unseal(key.sealed, place_of(key.kid))
        assert isinstance(opened, Secret)
        assert "PRIVATE KEY" in opened.reveal()
    assert b"PRIVATE KEY" not in settings.database_file.read_bytes()
    assert "d" not in json.loads(key.public_jwk)


async def test_the_schedule_publishes_a_successor_a_day_before_it_signs(settings: Settings) -> None:
    """Boundaries to the second; each step once; another algorithm has its own time."""
    async with administered(settings) as (admin, clock):
        begun = clock.now
        await admin.signing_keys.sign({}, algorithm=ES256)
        clock.now = begun + 9 * DAY - 1
        await admin.signing_keys.rotate(10)
        assert await states(admin) == [IN_USE]
        await admin.signing_keys.sign({}, algorithm=EDDSA)
        for _ in range(2):
            clock.now = begun + 9 * DAY
            await admin.signing_keys.rotate(10)
            assert await states(admin) == [IN_USE, IN_USE, STANDBY]
        clock.now = begun + 10 * DAY - 1
        await admin.signing_keys.rotate(10)
        assert await states(admin) == [IN_USE, IN_USE, STANDBY]
        for _ in range(2):
            clock.now = begun + 10 * DAY
            await admin.signing_keys.rotate(10)
            assert await states(admin) == [PREVIOUSLY_USED, IN_USE, IN_USE]


async def test_a_schedule_that_was_asleep_still_gives_everyone_a_day(settings: Settings) -> None:
    async with administered(settings) as (admin, clock):
        await admin.signing_keys.sign({}, algorithm=ES256)
        clock.now += 1000 * DAY
        await admin.signing_keys.rotate(0)
        assert await states(admin) == [IN_USE]
        await admin.signing_keys.rotate(10)
        clock.now += DAY - 1
        await admin.signing_keys.rotate(10)
        assert await states(admin) == [IN_USE, STANDBY]
        clock.now += 1
        await admin.signing_keys.rotate(10)
        assert await states(admin) == [PREVIOUSLY_USED, IN_USE]


async def test_one_process_keeps_the_schedule(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may not work leaves it; whoever may makes the successor."""
    monkeypatch.setattr(rounds, "ROUND_SECONDS", 0.001)
    async with administered(settings) as (admin, clock):
        await admin.signing_keys.sign({}, algorithm=ES256)
        clock.now += 10 * DAY
        asked = 0

        def may_work() -> bool:
            nonlocal asked
            asked += 1
            return asked > 20

        running = asyncio.create_task(
            rounds.every_minute(partial(admin.signing_keys.rotate, 10), may_work, undone="none is made")
        )
        while asked <= 20:
            assert await states(admin) == [IN_USE]
            await asyncio.sleep(0.001)
        async with asyncio.timeout(30):
            while await states(admin) != [IN_USE, STANDBY]:
                await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
