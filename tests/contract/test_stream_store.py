# ruff: noqa: D103
"""What ending and picturing streams asks of the SQL store, on SQLite and PostgreSQL: broadcasts, passes, turns."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from stagedoor.config import Settings
from stagedoor.model.access import Action, Protocol
from stagedoor.model.engine import AddressTrust
from stagedoor.model.errors import NotFound
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId
from stagedoor.model.session import OpenSession, SessionStart
from stagedoor.model.token import PublishOptions, TokenKind, TokenRecord, TokenState, TokenTerms
from stagedoor.service.ports import Change, ChangeKind, Page
from tests.contract.test_store import (
    ALICE,
    AT,
    BOB,
    PUBLISH,
    SQL_BACKENDS,
    SUBSCRIBE,
    SqlBench,
    engine,
    new_token,
    place_of,
    populated,
)

PASS = TokenTerms(label="thumbnail", streams=(StreamPattern("studio"),), expires_at=AT + 60)


@pytest.fixture(params=SQL_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return place_of(backend, request, settings)


@pytest.fixture
async def bench(backend: str, place: Settings) -> AsyncIterator[SqlBench]:
    async with populated(backend, place) as made:
        assert isinstance(made, SqlBench)
        yield made


async def token(bench: SqlBench, account: AccountId = ALICE, **options: Any) -> TokenRecord:
    label = str(options.pop("label", "a label"))
    terms = TokenTerms(label=label, streams=(StreamPattern("studio"),), publishing=PublishOptions(**options))
    return await bench.store.add_token(new_token(terms, account=account))


async def begun(
    bench: SqlBench, record: TokenRecord, session: str, stream: str = "studio", action: Action = Action.PUBLISH
) -> None:
    whose = record.account, record.id, ""
    start = SessionStart(*whose, engine().id, session, stream, action, Protocol.RTMP, "192.0.2.1", float(AT))
    await bench.store.sessions.begin_sessions([start])


def names(sessions: Any) -> list[str]:
    assert all(isinstance(session, OpenSession) for session in sessions)
    return [session.start.session for session in sessions]


# -- broadcasts


async def test_broadcasts_are_found_by_account_by_stream_and_by_token(bench: SqlBench) -> None:
    """Oldest first; viewers are none, and what has ended is none."""
    one, two, bobs = await token(bench), await token(bench), await token(bench, BOB)
    await begun(bench, one, "a")
    await begun(bench, one, "b", "stage")
    await begun(bench, two, "c")
    await begun(bench, bobs, "d")
    await begun(bench, one, "e", action=Action.SUBSCRIBE)
    await begun(bench, one, "f")
    find = bench.store.broadcasts.broadcasts
    await bench.store.broadcasts.end_session(engine().id, "f", AT + 1.0)
    assert names(await find(ALICE)) == ["a", "b", "c"]
    assert names(await find(ALICE, stream="studio")) == ["a", "c"]
    assert names(await find(ALICE, token_id=one.id)) == ["a", "b"]
    assert names(await find(ALICE, stream="stage", token_id=two.id)) == []
    assert names(await find(ALICE, stream="")) == []
    assert names(await find(BOB)) == ["d"]
    assert names(await find(BOB, token_id=one.id)) == []
    assert list(await bench.store.broadcasts.active_tokens(ALICE, "studio")) == [one.id, two.id]


async def test_broadcasts_are_found_whose_tokens_ask_for_thumbnails(bench: SqlBench) -> None:
    """Of every account; a label that looks like the setting is none, and a revoked token asks for nothing."""
    asks, bobs = await token(bench, enable_thumbnails=True), await token(bench, BOB, enable_thumbnails=True)
    plain, revoked = await token(bench, label='"enable_thumbnails":true'), await token(bench, enable_thumbnails=True)
    for record, session in ((asks, "a"), (plain, "b"), (bobs, "c"), (revoked, "d")):
        await begun(bench, record, session)
    await begun(bench, asks, "e", action=Action.SUBSCRIBE)
    await bench.store.revoke_token(ALICE, PUBLISH, revoked.id, AT)
    assert names(await bench.store.broadcasts.asking_for_thumbnails()) == ["a", "c"]
    await bench.store.broadcasts.end_session(engine().id, "a", AT + 1.0)
    assert names(await bench.store.broadcasts.asking_for_thumbnails()) == ["c"]


# -- passes


async def test_a_pass_is_found_by_its_digest_and_no_list_shows_it(bench: SqlBench) -> None:
    """No owner sees it: not by its id, in no list, and nothing is told of it."""
    digest = os.urandom(32)
    pass_id = await bench.store.passes.add_pass(ALICE, PASS, digest, AT)
    record = (await bench.store.facts(digest, ALICE, "studio", with_publishers=True)).record
    assert record is not None
    assert (record.id, record.account, record.kind, record.terms) == (pass_id, ALICE, TokenKind.INTERNAL, PASS)
    assert record.state is TokenState.ACTIVE
    for kind in (PUBLISH, SUBSCRIBE):
        assert list(await bench.store.tokens(ALICE, kind, Page(1, 100))) == []
        with pytest.raises(NotFound):
            await bench.store.token(ALICE, kind, pass_id)
        with pytest.raises(NotFound):
            await bench.store.revoke_token(ALICE, kind, pass_id, AT)
    assert (await bench.store.facts(None, ALICE, "studio", with_publishers=True)).publishers == ()
    # Nobody can have asked for it before, so no view has to forget anything.
    assert bench.heard.revisions == []


async def test_a_revoked_pass_is_announced_to_every_view(bench: SqlBench) -> None:
    """So that none lets it in any more; a token of an owner's cannot be revoked this way."""
    digest, owners = os.urandom(32), await token(bench)
    pass_id = await bench.store.passes.add_pass(ALICE, PASS, digest, AT)
    before = await bench.store.revision()
    bench.heard.revisions.clear()
    await bench.store.passes.revoke_pass(owners.id, AT)
    assert bench.heard.revisions == []
    await bench.store.passes.revoke_pass(pass_id, AT + 1)
    assert bench.heard.revisions == [(before + 1, before + 1)]
    _, changes = await bench.store.changes_after(before)
    assert changes == [Change(before + 1, ChangeKind.TOKEN, ALICE, digest)]
    record = (await bench.store.facts(digest, ALICE, "studio", with_publishers=False)).record
    assert record is not None
    assert record.state is TokenState.REVOKED
    assert (await bench.store.find_token(owners.id)).state is TokenState.ACTIVE


async def test_old_passes_are_deleted_and_no_token_ever_gets_their_ids(bench: SqlBench) -> None:
    """Tokens of owners stay, also revoked ones; and the newest row of all stays, whose id would be given again."""
    owners = await token(bench)
    await bench.store.revoke_token(ALICE, PUBLISH, owners.id, AT)
    passes = [await bench.store.passes.add_pass(ALICE, PASS, os.urandom(32), at) for at in (AT, AT + 9, AT + 10)]
    await bench.store.passes.forget_passes(AT + 10)
    for gone in passes[:2]:
        with pytest.raises(NotFound):
            await bench.store.find_token(gone)
    assert (await bench.store.find_token(passes[2])).kind is TokenKind.INTERNAL
    await bench.store.passes.forget_passes(AT + 100)
    assert (await bench.store.find_token(passes[2])).kind is TokenKind.INTERNAL
    assert (await token(bench)).id > passes[2]
    await bench.store.passes.forget_passes(AT + 100)
    with pytest.raises(NotFound):
        await bench.store.find_token(passes[2])
    assert (await bench.store.find_token(owners.id)).state is TokenState.REVOKED


# -- turns


async def take(bench: SqlBench, now: float, what: str = "thumbnail studio", account: AccountId = ALICE) -> float | None:
    return await bench.store.turns.take_turn(account, what, now, most=2, seconds=60)


async def test_so_many_turns_are_given_in_any_span_and_no_more(bench: SqlBench) -> None:
    """The span slides: a turn is over when its own time is; one that was refused takes none away."""
    assert await take(bench, AT) is None
    assert await take(bench, AT + 10) is None
    assert await take(bench, AT + 20) == 40
    assert await take(bench, AT + 59) == 1
    assert await take(bench, AT + 59.5) == pytest.approx(0.5)
    assert await take(bench, AT + 60) is None
    assert await take(bench, AT + 69) == 1
    assert await take(bench, AT + 70) is None


async def test_turns_are_counted_by_what_and_by_account(bench: SqlBench) -> None:
    """Neither shares with the other, and no name is another's beginning."""
    for _ in range(2):
        assert await take(bench, AT) is None
    assert await take(bench, AT) is not None
    assert await take(bench, AT, "thumbnail studio2") is None
    assert await take(bench, AT, "thumbnail studi") is None
    assert await take(bench, AT, account=BOB) is None


async def test_turns_taken_at_the_same_time_are_all_counted(bench: SqlBench) -> None:
    """Of ten who ask at once, two may."""
    answers = await asyncio.gather(*(take(bench, AT) for _ in range(10)))
    assert [answer for answer in answers if answer is None] == [None, None]


# -- engines


async def test_an_engine_keeps_where_it_plays(bench: SqlBench) -> None:
    """From the beginning, and when it is changed."""
    kept = replace(engine(), media_url="rtmp://127.0.0.1:1935", control_url="http://127.0.0.1:8088")
    await bench.store.add_engine(kept)
    assert list(await bench.store.engines()) == [kept]
    changed = replace(kept, media_url="", address_trust=AddressTrust.ACCEPTED)
    assert await bench.store.change_engine(kept.id, lambda _: changed) == changed
    assert list(await bench.store.engines()) == [changed]
