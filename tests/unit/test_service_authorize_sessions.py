"""The use case that answers engines, where it matters what runs: sessions, bindings, countries, shadow mode."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import AccountPolicy
from stagedoor.model.addresses import parse_network
from stagedoor.model.caveats import Budgets, Countries, SessionLimit, SingleUse
from stagedoor.model.decision import Decision, Reason
from stagedoor.model.engine import AddressTrust, Engine, EngineKind
from stagedoor.model.ids import AccountId, EngineId, StreamId
from stagedoor.model.session import HLS_SILENCE_SECONDS
from stagedoor.model.token import TokenKind
from stagedoor.service.authorize import Attempt, Notice
from stagedoor.service.ports import NewAccount
from stagedoor.service.token_admin import IssuedToken
from stagedoor.service.viewers import CONFIRMED_SECONDS
from stagedoor.tokens.keyring import Keyring
from tests.unit.test_service_authorize import ACCT, NOW, World

NGINX = Engine(
    id=EngineId("nginx"),
    kind=EngineKind.NGINX_RTMP,
    name="nginx",
    account=AccountId(""),
    secret_digest=b"1",
    added_on=0,
)
UNTRUSTED = replace(NGINX, address_trust=AddressTrust.UNTRUSTED)
SILENT = replace(NGINX, id=EngineId("mtx"), kind=EngineKind.MEDIAMTX, name="mtx")
"""Tells of no session, since it has no control API."""
HOME = "192.0.2.1"


@pytest.fixture
async def world(keyring: Keyring) -> World:
    """Return a world with the account `acct` and a secured stream `show` in it."""
    world = World(keyring)
    await world.store.add_first_account(
        NewAccount(id=ACCT, admin_email="a@b", admin_password_hash="", api_secret_digest=b"", added_on=0)
    )
    await world.issue(auth=True)
    return world


def _attempt(
    token: IssuedToken | None,
    action: Action = Action.SUBSCRIBE,
    *,
    session: str = "s1",
    ip: str = HOME,
    protocol: Protocol = Protocol.RTMP,
    running: bool = False,
) -> Attempt:
    access = Access(action, StreamId(ACCT, "show"), protocol, ip)
    return Attempt(access, token.secret.reveal() if token is not None else "", session, running=running)


async def _ask(world: World, token: IssuedToken | None, engine: Engine = NGINX, **rest: Any) -> Reason:
    return (await world.authorizer.authorize(engine, _attempt(token, **rest))).reason


async def _publish(world: World, token: IssuedToken, engine: Engine = NGINX, **rest: Any) -> Reason:
    return await _ask(world, token, engine, action=Action.PUBLISH, **rest)


async def _viewer(world: World, **terms: Any) -> IssuedToken:
    return await world.issue(TokenKind.SUBSCRIBE, **terms)


async def _open(world: World, engine: Engine = NGINX) -> list[str]:
    await world.sessions.flush()
    return [opened.start.session for opened in await world.store.sessions.open_sessions(engine.id)]


# -- broadcasts


async def test_a_broadcast_is_written_down_a_moment_later(world: World) -> None:
    """Not before the answer: a plain publisher is let in from memory; asked twice it is one."""
    token = await world.issue()
    for _ in range(2):
        assert await _publish(world, token) is Reason.OK
    assert list(world.store.sessions.opened) == []
    assert await _open(world) == ["s1"]


async def test_a_refused_broadcast_is_none(world: World) -> None:
    """Neither is one without a token, nor watching."""
    token = await world.issue(expires_at=NOW)
    assert await _publish(world, token) is Reason.TOKEN_EXPIRED
    viewer = await _viewer(world)
    assert await _ask(world, viewer) is Reason.OK
    assert await _open(world) == []


async def test_a_broadcast_whose_end_nobody_tells_is_not_written_down(world: World) -> None:
    """It would be live for ever."""
    token = await world.issue()
    assert await _publish(world, token, SILENT) is Reason.OK
    assert await _open(world, SILENT) == []


async def test_who_publishes_decides_who_may_watch(world: World) -> None:
    """While that token's broadcast runs, and not after it."""
    opener = await world.issue()
    assert await _ask(world, None) is Reason.TOKEN_MISSING
    await _publish(world, opener)
    await world.sessions.flush()
    assert await _ask(world, None) is Reason.OK_OPEN_STREAM
    await world.authorizer.end(NGINX, Notice("publish_done", Reason.OK_ENGINE, HOME, "s1", False, Action.PUBLISH))
    assert await _ask(world, None) is Reason.TOKEN_MISSING


async def test_an_end_is_answered_and_written_down(world: World) -> None:
    """What was not written down yet is, before."""
    token = await world.issue()
    await _publish(world, token)
    notice = Notice("publish_done", Reason.OK_ENGINE, HOME, "s1", recorded=False, ends=Action.PUBLISH)
    assert await world.authorizer.end(NGINX, notice) == Decision(Reason.OK_ENGINE, world.view.revision)
    assert await _open(world) == []


# -- bound addresses


async def test_a_first_use_is_bound_by_the_store_and_the_next_ones_are_judged_in_memory(world: World) -> None:
    """The network is part of what the view knows."""
    token = await _viewer(world, bind_ips_on_usage=1)
    assert await _ask(world, token) is Reason.OK
    assert list(world.store.sessions.use(token.record.id).bound) == [parse_network(HOME)]
    attempt = _attempt(token, session="s2")
    assert await world.authorizer.authorize(NGINX, attempt) == world.authorizer.from_memory(NGINX, attempt)
    elsewhere = _attempt(token, session="s3", ip="192.0.2.2")
    refused = world.authorizer.from_memory(NGINX, elsewhere)
    assert refused is not None
    assert refused.reason is Reason.ADDRESS_NOT_BOUND


async def test_a_first_use_is_recorded_once(world: World) -> None:
    """Though the binding is a write that the view has to catch up with before the answer."""
    token = await _viewer(world, bind_ips_on_usage=1)
    assert await _ask(world, token) is Reason.OK
    assert [event.decision.reason for event in world.log.events] == [Reason.OK]


async def test_a_claim_is_not_answered_by_an_older_state_than_a_write_that_has_returned(world: World) -> None:
    """Granted, then revoked (`revoke` has returned: no worker lets it in), then answered."""
    token = await _viewer(world, session_limit=SessionLimit(1))
    world.claims.after_admission = lambda: world.tokens.revoke(ACCT, TokenKind.SUBSCRIBE, token.record.id)
    assert await _ask(world, token) is Reason.TOKEN_REVOKED
    assert await _open(world) == []
    assert [event.decision.reason for event in world.log.events] == [Reason.TOKEN_REVOKED]


# -- tokens that count


async def test_a_token_that_counts_is_never_let_in_from_memory(world: World) -> None:
    """Only the store knows what is open; nothing is recorded until it has said so."""
    token = await _viewer(world, session_limit=SessionLimit(1))
    await world.view.catch_up()
    await _ask(world, token, session="s0")
    world.log.events.clear()
    assert world.authorizer.from_memory(NGINX, _attempt(token)) is None
    assert world.log.events == []
    assert await _ask(world, token) is Reason.TOO_MANY_SESSIONS


async def test_a_token_that_counts_and_is_not_good_is_refused_from_memory(world: World) -> None:
    """The store is not asked what memory refuses."""
    token = await _viewer(world, session_limit=SessionLimit(1), not_before=NOW + 5)
    await _ask(world, token)
    refused = world.authorizer.from_memory(NGINX, _attempt(token))
    assert refused is not None
    assert refused.reason is Reason.TOKEN_NOT_YET_VALID


@pytest.mark.parametrize("terms", [{"session_limit": SessionLimit(9)}, {"single_use": SingleUse()}])
async def test_where_nobody_tells_of_sessions_what_counts_them_is_refused(world: World, terms: dict[str, Any]) -> None:
    """By an engine without a control API."""
    token = await _viewer(world, **terms)
    publisher = await world.issue(auth=True)
    await _publish(world, publisher)
    await world.sessions.flush()
    assert await _ask(world, token, SILENT) is Reason.USAGE_UNKNOWN


async def test_a_claim_that_the_store_does_not_answer_is_refused(world: World) -> None:
    """Nothing new is let in; what the engine says runs goes on."""
    token = await _viewer(world, session_limit=SessionLimit(1))
    assert await _ask(world, token) is Reason.OK
    world.claims.down = True
    assert await _ask(world, token, session="s2") is Reason.STORE_UNAVAILABLE
    assert await _ask(world, token, running=True) is Reason.OK


# -- what runs


@pytest.mark.parametrize("counts", [True, False])
async def test_what_runs_goes_on_though_the_token_was_switched_off(world: World, counts: bool) -> None:
    """And is not recorded each time it is asked about; it is a sign of life."""
    token = await _viewer(world, session_limit=SessionLimit(1) if counts else None)
    await _ask(world, token)
    await world.tokens.change(ACCT, TokenKind.SUBSCRIBE, token.record.id, lambda terms: replace(terms, active=False))
    world.log.events.clear()
    world.clock.now += 30
    assert await _ask(world, token, running=True) is Reason.OK
    assert world.log.events == []
    await world.sessions.flush()
    seen = [opened.seen_at for opened in world.store.sessions.opened]
    assert seen == ([NOW + 30] if counts else [])


@pytest.mark.parametrize("counts", [True, False])
async def test_what_runs_ends_when_its_token_is_revoked(world: World, counts: bool) -> None:
    """And that is recorded."""
    token = await _viewer(world, session_limit=SessionLimit(1) if counts else None)
    await _ask(world, token)
    await world.tokens.revoke(ACCT, TokenKind.SUBSCRIBE, token.record.id)
    world.log.events.clear()
    assert await _ask(world, token, running=True) is Reason.TOKEN_REVOKED
    assert [event.decision.reason for event in world.log.events] == [Reason.TOKEN_REVOKED]


@pytest.mark.parametrize(("after", "reason"), [(59, Reason.OK), (60, Reason.SESSION_TOO_LONG)])
async def test_what_runs_ends_when_its_budget_is_spent(world: World, after: int, reason: Reason) -> None:
    """-1 and 0 around its end."""
    token = await _viewer(world, budgets=Budgets(session_seconds=60))
    await _ask(world, token)
    world.clock.now += after
    assert await _ask(world, token, running=True) is reason


async def test_what_runs_is_resumed_when_it_was_taken_for_gone(world: World) -> None:
    """We may have been away; it is no new start."""
    token = await _viewer(world, budgets=Budgets(starts=1))
    await _ask(world, token)
    world.clock.now += 1000
    await world.store.sessions.end_silent([NGINX.id], world.clock.now)
    assert await _open(world) == []
    assert await _ask(world, token, running=True) is Reason.OK
    assert await _open(world) == ["s1"]
    assert world.store.sessions.use(token.record.id).starts == 1


async def test_what_runs_on_an_open_stream_goes_on(world: World) -> None:
    """Without a token."""
    opener = await world.issue()
    await _publish(world, opener)
    await world.sessions.flush()
    assert await _ask(world, None, session="s9", running=True) is Reason.OK


# -- HLS


async def test_an_hls_viewer_is_one_session_of_many_requests(world: World) -> None:
    """Told apart by token, stream and address."""
    token = await _viewer(world, session_limit=SessionLimit(1))
    for after in (0, 2, 6, 10):
        world.clock.now = float(NOW + after)
        assert await _ask(world, token, session="", protocol=Protocol.HLS) is Reason.OK
    assert await _ask(world, token, session="", protocol=Protocol.HLS, ip="192.0.2.2") is Reason.TOO_MANY_SESSIONS
    assert len(await _open(world)) == 1
    assert world.store.sessions.use(token.record.id).starts == 1


@pytest.mark.parametrize(("after", "asked"), [(-1, False), (0, True), (1, True)])
async def test_an_hls_viewer_that_was_counted_is_let_in_from_memory_for_a_while(
    world: World, after: float, asked: bool
) -> None:
    """-1, 0, +1 around the end of it."""
    token = await _viewer(world, session_limit=SessionLimit(1))
    await _ask(world, token, session="", protocol=Protocol.HLS)
    world.clock.now += CONFIRMED_SECONDS + after
    again = _attempt(token, session="", protocol=Protocol.HLS)
    assert (world.authorizer.from_memory(NGINX, again) is None) is asked


@pytest.mark.parametrize(("after", "reason"), [(-1, Reason.OK), (0, Reason.TOKEN_EXPIRED), (1, Reason.TOKEN_EXPIRED)])
async def test_an_hls_viewer_outlives_the_expiry_while_it_keeps_asking(
    world: World, after: float, reason: Reason
) -> None:
    """-1, 0, +1 around the silence after which it is a new one."""
    token = await _viewer(world, expires_at=NOW + 1)
    assert await _ask(world, token, session="", protocol=Protocol.HLS) is Reason.OK
    world.clock.now += HLS_SILENCE_SECONDS + after
    assert await _ask(world, token, session="", protocol=Protocol.HLS) is reason
    assert await _ask(world, token, session="", protocol=Protocol.HLS, ip="192.0.2.2") is Reason.TOKEN_EXPIRED


async def test_an_hls_viewer_of_a_revoked_token_is_refused_at_once(world: World) -> None:
    """Also where it was counted a moment ago."""
    token = await _viewer(world, session_limit=SessionLimit(1))
    assert await _ask(world, token, session="", protocol=Protocol.HLS) is Reason.OK
    await world.tokens.revoke(ACCT, TokenKind.SUBSCRIBE, token.record.id)
    assert await _ask(world, token, session="", protocol=Protocol.HLS) is Reason.TOKEN_REVOKED


# -- countries and addresses


@pytest.mark.parametrize(("ip", "reason"), [("192.0.2.1", Reason.OK), ("192.0.2.2", Reason.COUNTRY_NOT_ALLOWED)])
async def test_a_country_is_looked_up_by_the_clients_address(world: World, ip: str, reason: Reason) -> None:
    """For a token that sets some, for a stream whose publishers do, and for an account that does."""
    world.countries.known = {"192.0.2.1": "PL", "192.0.2.2": "DE"}
    token = await _viewer(world, allowed_countries=("PL",))
    assert await _ask(world, token, ip=ip) is reason
    policy = AccountPolicy(countries=Countries(allowed=("PL",)))
    await world.store.change_account(ACCT, lambda _: policy)
    assert await _ask(world, await _viewer(world), ip=ip) is reason
    await world.store.change_account(ACCT, lambda _: AccountPolicy())
    await world.issue(auth=True, allowed_countries=("PL",))
    assert await _ask(world, await _viewer(world), ip=ip) is reason


@pytest.mark.parametrize(("engine", "reason"), [(NGINX, Reason.OK), (UNTRUSTED, Reason.ADDRESS_NOT_TRUSTED)])
async def test_an_engine_whose_addresses_may_be_made_up_lets_no_rule_about_them_pass(
    world: World, engine: Engine, reason: Reason
) -> None:
    """Nothing is bound there either; the operator may accept them."""
    for terms in ({"allowed_addresses": (HOME,)}, {"bind_ips_on_usage": 1}):
        token = await _viewer(world, **terms)
        accepted = replace(engine, address_trust=AddressTrust.ACCEPTED)
        assert await _ask(world, token, engine) is reason
        assert await _ask(world, token, accepted, session="s2") is Reason.OK
    assert await _ask(world, await _viewer(world), engine) is Reason.OK


# -- shadow mode


async def test_what_shadow_mode_lets_through_is_recorded_and_counted(world: World) -> None:
    """With the reason that would have refused it."""
    token = await _viewer(world, allowed_addresses=("198.51.100.1",), shadow_until=NOW + 1)
    assert await _ask(world, token) is Reason.OK_SHADOW
    assert world.log.events[-1].decision.shadowed is Reason.ADDRESS_NOT_ALLOWED
    await world.sessions.flush()
    counts = await world.store.sessions.shadowed(ACCT, token.record.id)
    assert counts == {Reason.ADDRESS_NOT_ALLOWED: 1}
    world.clock.now += 1
    assert await _ask(world, token) is Reason.ADDRESS_NOT_ALLOWED


# -- many at once


async def test_of_many_attempts_at_once_as_many_are_let_in_as_the_limit_says(world: World) -> None:
    """Whatever memory says."""
    token = await _viewer(world, session_limit=SessionLimit(3))
    asks: list[Callable[[], Awaitable[Reason]]] = [
        lambda number=number: _ask(world, token, session=f"s{number}")  # type: ignore[misc]
        for number in range(50)
    ]
    decided = await asyncio.gather(*(ask() for ask in asks))
    assert decided.count(Reason.OK) == len(await _open(world)) == 3
