"""The cached view."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from stagedoor.cluster.view import CachedView
from stagedoor.model.access import Action, Protocol
from stagedoor.model.account import OPEN, AccountPolicy
from stagedoor.model.caveats import Countries
from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.errors import Unavailable
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import SessionStart
from stagedoor.model.token import PublishOptions, TokenKind, TokenRecord, TokenState, TokenTerms
from stagedoor.service.child_ports import Asked
from stagedoor.service.ports import Change, ChangeKind, Facts, NewAccount, NewToken, TokenChange, TokenFacts
from stagedoor.service.standing import publishers_of, token_facts
from stagedoor.store.memory import MemoryStore

ACCT = AccountId("acct")
EDGE = EngineId("edge")


class Source:
    """A source of facts that counts, can be down, and lets something happen between a read and its return."""

    def __init__(self, store: MemoryStore) -> None:
        """Pass everything on to `store`."""
        self.store = store
        self.calls: list[str] = []
        self.down = False
        self.forgotten = False
        self.after_read: Callable[[], Awaitable[None]] | None = None

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.down:
            raise Unavailable("the database does not answer")

    async def facts(
        self, digest: bytes | None, account: AccountId, name: str, *, with_publishers: bool, asked: Asked | None = None
    ) -> Facts:
        self._called("facts")
        read = await self.store.facts(digest, account, name, with_publishers=with_publishers, asked=asked)
        after, self.after_read = self.after_read, None
        if after is not None:
            await after()
        return read

    async def changes_after(self, revision: int) -> tuple[int, Sequence[Change] | None]:
        self._called("changes_after")
        newest, changes = await self.store.changes_after(revision)
        return newest, None if self.forgotten else changes

    async def engines(self) -> Sequence[Engine]:
        self._called("engines")
        return await self.store.engines()

    async def account_policies(self) -> Mapping[AccountId, AccountPolicy]:
        self._called("account_policies")
        return await self.store.account_policies()


def no_children(_read: Facts, _asked: Asked) -> TokenFacts:
    """Fail: no signed token is shown here."""
    raise AssertionError


class Announcements:
    """The newest announced revision."""

    def __init__(self) -> None:
        self.newest = 0

    def read(self) -> int:
        return self.newest

    async def announce(self, revision: int) -> None:
        self.newest = max(self.newest, revision)


class World:
    """A store, a view of it, and short ways to change the store."""

    def __init__(self, capacity: int = 100, child_facts: Callable[[Facts, Asked], TokenFacts] = no_children) -> None:
        self.announced = Announcements()
        self.store = MemoryStore(announce=self.announced.announce)
        self.source = Source(self.store)
        self.view = CachedView(
            source=self.source,
            announced=self.announced,
            token_facts=token_facts,
            child_facts=child_facts,
            publishers_of=publishers_of,
            capacity=capacity,
        )

    async def add(self, digest: bytes, *names: str, kind: TokenKind = TokenKind.PUBLISH, auth: bool = False) -> TokenId:
        terms = TokenTerms(
            label="t",
            streams=tuple(StreamPattern(name) for name in names or ("show",)),
            publishing=PublishOptions(subscribe_requires_auth=auth),
        )
        record = await self.store.add_token(
            NewToken(account=ACCT, kind=kind, terms=terms, digest=digest, seal=lambda _: b"", added_on=0)
        )
        return record.id

    async def revoke(self, token: TokenId) -> None:
        await self.store.revoke_token(ACCT, TokenKind.PUBLISH, token, 1)

    async def load(self, digest: bytes | None, name: str = "show", *, publishers: bool = True) -> TokenState:
        facts, _, _ = await self.view.load(digest, ACCT, name, with_publishers=publishers)
        return facts.state

    def state(self, digest: bytes) -> TokenState | None:
        facts = self.view.token(digest)
        return None if facts is None else facts.state


@pytest.fixture
def world() -> World:
    """Return a world with an empty store."""
    return World()


async def test_a_new_view_is_behind_until_it_has_caught_up(world: World) -> None:
    """Also where the store is still empty."""
    assert world.view.behind()
    assert world.view.revision == -1
    await world.view.catch_up()
    assert not world.view.behind()
    assert world.view.revision == 0


async def test_it_is_behind_as_soon_as_a_write_is_announced(world: World) -> None:
    """And no longer when the write is applied."""
    await world.view.catch_up()
    await world.add(b"a")
    assert world.view.behind()
    await world.view.catch_up()
    assert (world.view.behind(), world.view.revision) == (False, 1)


async def test_what_was_loaded_is_kept(world: World) -> None:
    """Token and publishers, read once."""
    await world.add(b"a", auth=True)
    await world.view.catch_up()
    assert (world.view.token(b"a"), world.view.publishers(ACCT, "show")) == (None, None)
    assert await world.load(b"a") is TokenState.ACTIVE
    assert world.state(b"a") is TokenState.ACTIVE
    publishers = world.view.publishers(ACCT, "show")
    assert publishers is not None
    assert [publisher.requires_auth for publisher in publishers] == [True]


async def test_a_load_returns_the_revision_it_was_read_at(world: World) -> None:
    """Not the one applied."""
    await world.view.catch_up()
    await world.add(b"a")
    assert (await world.view.load(b"a", ACCT, "show", with_publishers=False))[2] == 1
    assert world.view.revision == 0


async def test_publishers_that_were_not_asked_for_are_not_kept(world: World) -> None:
    """Not asked is not none."""
    await world.add(b"a")
    await world.view.catch_up()
    await world.load(b"a", publishers=False)
    assert world.view.publishers(ACCT, "show") is None


async def test_a_stream_that_nobody_covers_is_kept_as_such(world: World) -> None:
    """None that cover it is an answer, another than not known."""
    await world.view.catch_up()
    await world.load(None, "nobody")
    assert world.view.publishers(ACCT, "nobody") == ()


async def test_the_streams_of_one_account_are_not_anothers(world: World) -> None:
    """The same name is another stream."""
    await world.add(b"a")
    await world.view.catch_up()
    await world.load(b"a")
    assert world.view.publishers(AccountId("other"), "show") is None


async def test_without_an_account_the_stream_is_of_the_tokens_account(world: World) -> None:
    """And is kept there; where there is none, nothing is kept."""
    await world.add(b"a")
    await world.view.catch_up()
    await world.view.load(b"a", AccountId(""), "show", with_publishers=True)
    assert world.view.publishers(ACCT, "show") is not None
    await world.view.load(b"nobody", AccountId(""), "show", with_publishers=True)
    assert world.view.publishers(AccountId(""), "show") is None


async def test_a_row_read_before_a_change_was_applied_is_used_and_not_kept(world: World) -> None:
    """The race: read, then revoked and applied, then returned. Keeping it would let a revoked token in for ever."""
    token = await world.add(b"a", auth=True)
    await world.view.catch_up()

    async def revoke_and_apply() -> None:
        await world.revoke(token)
        await world.view.catch_up()

    world.source.after_read = revoke_and_apply
    facts, publishers, revision = await world.view.load(b"a", ACCT, "show", with_publishers=True)
    assert (facts.state, len(publishers), revision) == (TokenState.ACTIVE, 1, 1)
    assert world.view.revision == 2
    assert (world.view.token(b"a"), world.view.publishers(ACCT, "show")) == (None, None)
    assert await world.load(b"a") is TokenState.REVOKED


async def test_a_miss_read_before_the_token_was_made_is_not_kept(world: World) -> None:
    """The same race with an answer of "no such token"."""
    await world.view.catch_up()

    async def add_and_apply() -> None:
        await world.add(b"a")
        await world.view.catch_up()

    world.source.after_read = add_and_apply
    assert await world.load(b"a") is TokenState.UNKNOWN
    assert world.view.token(b"a") is None
    assert await world.load(b"a") is TokenState.ACTIVE


async def test_a_row_read_before_a_change_that_is_applied_later_is_evicted_then(world: World) -> None:
    """Read, then revoked, then returned and kept, then applied: the change finds it."""
    token = await world.add(b"a")
    await world.view.catch_up()
    world.source.after_read = lambda: world.revoke(token)
    await world.load(b"a")
    assert world.state(b"a") is TokenState.ACTIVE
    assert world.view.behind()
    await world.view.catch_up()
    assert world.view.token(b"a") is None


async def test_a_row_read_ahead_of_the_view_is_kept_until_the_view_gets_there(world: World) -> None:
    """It is newer than the view; the change that made it evicts it once more, which does no harm."""
    await world.view.catch_up()
    await world.add(b"a")
    await world.load(b"a")
    assert world.state(b"a") is TokenState.ACTIVE
    await world.view.catch_up()
    assert world.view.token(b"a") is None


async def test_a_changed_token_is_evicted_and_others_stay(world: World) -> None:
    """Only what was touched is read again."""
    token = await world.add(b"a", kind=TokenKind.SUBSCRIBE)
    await world.add(b"b", kind=TokenKind.SUBSCRIBE)
    await world.view.catch_up()
    await world.load(b"a")
    await world.load(b"b")
    await world.store.revoke_token(ACCT, TokenKind.SUBSCRIBE, token, 1)
    await world.view.catch_up()
    assert (world.state(b"a"), world.state(b"b")) == (None, TokenState.ACTIVE)
    assert world.view.publishers(ACCT, "show") is not None


async def test_a_renewed_token_is_evicted_by_its_old_value_and_its_new_one(world: World) -> None:
    """The old one was known, the new one was a miss."""
    token = await world.add(b"old")
    await world.view.catch_up()
    await world.load(b"old")
    await world.load(b"new")
    assert (world.state(b"old"), world.state(b"new")) == (TokenState.ACTIVE, TokenState.UNKNOWN)
    await world.store.change_token(ACCT, TokenKind.PUBLISH, token, TokenChange(at=1, digest=b"new", sealed=b"x"))
    await world.view.catch_up()
    assert (world.state(b"old"), world.state(b"new")) == (None, None)
    assert (await world.load(b"old"), await world.load(b"new")) == (TokenState.UNKNOWN, TokenState.ACTIVE)


async def test_a_changed_publish_token_evicts_the_publishers_of_its_account(world: World) -> None:
    """Any of its streams may be another now; the next read sees it."""
    await world.add(b"a")
    await world.view.catch_up()
    await world.load(None, "show")
    await world.load(None, "other")
    await world.add(b"b", auth=True)
    await world.view.catch_up()
    assert (world.view.publishers(ACCT, "show"), world.view.publishers(ACCT, "other")) == (None, None)
    await world.load(None, "show")
    assert [publisher.requires_auth for publisher in world.view.publishers(ACCT, "show") or ()] == [False, True]


async def test_a_miss_is_kept_and_evicted_when_the_token_is_made(world: World) -> None:
    """Guessing does not reach the database twice, and a new token is good at once."""
    await world.view.catch_up()
    assert await world.load(b"a") is TokenState.UNKNOWN
    assert world.state(b"a") is TokenState.UNKNOWN
    await world.add(b"a")
    await world.view.catch_up()
    assert world.state(b"a") is None
    assert await world.load(b"a") is TokenState.ACTIVE


async def test_misses_do_not_push_tokens_out() -> None:
    """They are kept apart, each bounded by the capacity."""
    world = World(capacity=3)
    for digest in (b"1", b"2", b"3"):
        await world.add(digest)
    await world.view.catch_up()
    for digest in (b"1", b"2", b"3"):
        await world.load(digest)
    for guess in range(100):
        await world.load(b"guess%d" % guess)
    assert [world.state(digest) for digest in (b"1", b"2", b"3")] == [TokenState.ACTIVE] * 3
    assert len(world.view._unknown) == 3


@pytest.mark.parametrize("capacity", [1, 2, 5])
async def test_capacity_bounds_everything_that_is_kept(capacity: int) -> None:
    """Tokens, misses and streams never grow beyond it, and the newest is there."""
    world = World(capacity)
    for number in range(10):
        await world.add(b"t%d" % number, f"s{number}")
    await world.view.catch_up()
    for number in range(10):
        await world.load(b"t%d" % number, f"s{number}")
        await world.load(b"miss%d" % number, f"n{number}")
        assert len(world.view._tokens) <= capacity
        assert len(world.view._unknown) <= capacity
        assert sum(map(len, world.view._publishers.values())) <= capacity
        assert world.state(b"t%d" % number) is TokenState.ACTIVE
        assert world.view.publishers(ACCT, f"n{number}") == ()


@pytest.mark.parametrize("capacity", [1, 2, 5])
async def test_capacity_bounds_what_is_noted_of_tokens_too(capacity: int) -> None:
    """Which of them groups, and others' changes, take with them: not of those that were pushed out."""
    world = World(
        capacity, child_facts=lambda _read, asked: TokenFacts(None, TokenState.UNKNOWN, depends=asked.digests)
    )
    for number in range(10):
        terms = TokenTerms(label="t", streams=(), groups=("all",))
        new = NewToken(
            account=ACCT,
            kind=TokenKind.PLAYBACK,
            terms=terms,
            digest=b"t%d" % number,
            seal=lambda _: b"",
            added_on=0,
        )
        await world.store.add_token(new)
    await world.view.catch_up()
    for number in range(10):
        await world.load(b"t%d" % number)
        asked = Asked(TokenId(1), (b"parent", b"level%d" % number), (), None)
        await world.view.load(b"made up %d" % number, ACCT, "show", with_publishers=True, asked=asked)
        assert sum(map(len, world.view._in_groups.values())) <= capacity
        assert sum(map(len, world.view._dependents.values())) <= 2 * capacity
        assert world.state(b"made up %d" % number) is TokenState.UNKNOWN


async def test_a_miss_goes_with_what_it_depends_on_after_a_key_was_changed_too() -> None:
    """A change of our keys empties the memory of tokens; what is left must still be found."""
    world = World(child_facts=lambda _read, asked: TokenFacts(None, TokenState.UNKNOWN, depends=asked.digests))
    await world.view.catch_up()
    asked = Asked(TokenId(1), (b"parent",), (), None)
    await world.view.load(b"child", ACCT, "show", with_publishers=True, asked=asked)
    assert world.state(b"child") is TokenState.UNKNOWN
    await world.store.note(ChangeKind.KEY, AccountId(""), b"")
    await world.view.catch_up()
    await world.store.note(ChangeKind.TOKEN, ACCT, b"parent")
    await world.view.catch_up()
    assert world.state(b"child") is None


async def test_a_stream_that_is_loaded_again_takes_no_more_room() -> None:
    """Two viewers of one stream load it at once: it is one stream, and pushes no other one out."""
    world = World(capacity=2)
    await world.view.catch_up()
    await world.load(None, "a")
    await world.load(None, "a")
    await world.load(None, "b")
    assert (world.view.publishers(ACCT, "a"), world.view.publishers(ACCT, "b")) == ((), ())


async def test_changes_that_are_no_longer_kept_empty_the_view(world: World) -> None:
    """Nothing is known to be untouched then; engines and accounts are read again."""
    token = await world.add(b"a")
    await world.view.catch_up()
    await world.load(b"a")
    await world.load(b"miss")
    await world.revoke(token)
    world.source.forgotten = True
    world.source.calls.clear()
    await world.view.catch_up()
    assert (world.state(b"a"), world.state(b"miss"), world.view.publishers(ACCT, "show")) == (None, None, None)
    assert world.source.calls == ["changes_after", "engines", "account_policies"]
    assert world.view.revision == 2


async def test_catching_up_asks_only_for_what_changed(world: World) -> None:
    """A token alone reads no engines and no accounts; nothing new reads nothing more."""
    await world.view.catch_up()
    await world.add(b"a")
    world.source.calls.clear()
    await world.view.catch_up()
    await world.view.catch_up()
    assert world.source.calls == ["changes_after", "changes_after"]


async def test_engines_come_and_go(world: World) -> None:
    """Each by its secret; a removed one is refused as soon as that is applied."""
    engine = Engine(
        id=EngineId("e"), kind=EngineKind.MEDIAMTX, name="edge", account=AccountId(""), secret_digest=b"s", added_on=0
    )
    await world.view.catch_up()
    assert world.view.engine(b"s") is None
    await world.store.add_engine(engine)
    await world.view.catch_up()
    assert world.view.engine(b"s") == engine
    await world.store.change_engine(EngineId("e"), lambda engine: replace(engine, secret_digest=b"t"))
    await world.view.catch_up()
    assert (world.view.engine(b"s"), world.view.engine(b"t")) == (None, replace(engine, secret_digest=b"t"))
    await world.store.remove_engine("edge")
    await world.view.catch_up()
    assert world.view.engine(b"t") is None


async def test_accounts_are_closed_and_opened(world: World) -> None:
    """One that does not exist sets nothing."""
    await _add_account(world)
    for enabled in (False, True):
        await world.store.change_account(ACCT, _setting(enabled=enabled))
        await world.view.catch_up()
        assert world.view.account(ACCT).enabled is enabled
    assert world.view.account(AccountId("nobody")) == OPEN


async def test_what_an_account_sets_is_known_when_the_change_is_applied(world: World) -> None:
    """And not before; what it lifts is gone."""
    await _add_account(world)
    await world.view.catch_up()
    countries = Countries(denied=("DE",))
    for wanted in (countries, None):
        before = world.view.account(ACCT)
        await world.store.change_account(ACCT, _setting(countries=wanted))
        assert world.view.account(ACCT) == before
        await world.view.catch_up()
        assert world.view.account(ACCT).countries == wanted


async def test_a_store_that_does_not_answer_leaves_the_view_behind(world: World) -> None:
    """What was applied stays applied, nothing is kept, and the next try goes through."""
    await world.add(b"a")
    await world.view.catch_up()
    await world.load(b"a")
    await world.add(b"b")
    world.source.down = True
    with pytest.raises(Unavailable):
        await world.view.catch_up()
    with pytest.raises(Unavailable):
        await world.load(b"b")
    assert (world.view.behind(), world.view.revision, world.state(b"b")) == (True, 1, None)
    world.source.down = False
    await world.view.catch_up()
    assert not world.view.behind()


async def test_a_store_that_stops_answering_half_way_applies_nothing(world: World) -> None:
    """The engines could not be read, so the change is not counted as applied."""

    class HalfWay(Source):
        async def engines(self) -> Sequence[Engine]:
            raise Unavailable("the database does not answer")

    view = CachedView(
        source=HalfWay(world.store),
        announced=world.announced,
        token_facts=token_facts,
        child_facts=no_children,
        publishers_of=publishers_of,
        capacity=9,
    )
    with pytest.raises(Unavailable):
        await view.catch_up()
    assert view.revision == -1


async def test_a_stream_that_goes_on_or_off_the_air_is_evicted_and_others_stay(world: World) -> None:
    """Who publishes it decides who may watch it; tokens and other streams are untouched, in other accounts too."""
    token = await world.add(b"a", "show", "other")
    await world.view.catch_up()
    for name in ("show", "other"):
        await world.load(b"a", name)
    begun = _broadcast(token, "show")
    for change in (world.store.sessions.begin_sessions([begun]), world.store.sessions.end_session(EDGE, "s", 2.0)):
        await change
        await world.view.catch_up()
        assert world.view.publishers(ACCT, "show") is None
        assert (world.view.publishers(ACCT, "other") is None, world.state(b"a")) == (False, TokenState.ACTIVE)
        await world.load(b"a", "show")
        assert world.view.publishers(ACCT, "show") is not None


async def test_a_broadcast_of_a_stream_that_nobody_asked_about_changes_nothing(world: World) -> None:
    """There is nothing to forget, also when the account has other streams in memory or none."""
    token = await world.add(b"a")
    await world.view.catch_up()
    await world.store.sessions.begin_sessions([_broadcast(token, "show")])
    await world.view.catch_up()
    await world.load(b"a", "other")
    await world.store.sessions.end_session(EDGE, "s", 2.0)
    await world.view.catch_up()
    assert world.view.publishers(ACCT, "other") is not None


def test_all_engines_are_listed(world: World) -> None:
    """A new view knows of none."""
    assert list(world.view.engines()) == []


def test_changes_name_what_a_view_knows() -> None:
    """A new kind of change needs a place where it evicts something."""
    known = {"token", "publishers", "account", "engine", "live", "group", "key", "credential"}
    assert {kind.value for kind in ChangeKind} == known


def test_facts_of_a_record_are_true_values(make_record: Callable[..., TokenRecord]) -> None:
    """`token` relies on that to tell facts from nothing."""
    assert token_facts(Facts(None, ACCT, (), 1))
    assert token_facts(Facts(make_record(), ACCT, (), 1))


async def _add_account(world: World) -> None:
    await world.store.add_first_account(
        NewAccount(id=ACCT, admin_email="a@b", admin_password_hash="", api_secret_digest=b"", added_on=0)
    )


def _broadcast(token: TokenId, name: str) -> SessionStart:
    return SessionStart(ACCT, token, "", EDGE, "s", name, Action.PUBLISH, Protocol.RTMP, "192.0.2.1", 1.0)


def _setting(**given: Any) -> Callable[[AccountPolicy], AccountPolicy]:
    return lambda policy: replace(policy, **given)


async def test_callers_that_wait_together_ask_the_store_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them catches up for all; who is not behind is still answered by the store (a check of health)."""
    await world.view.catch_up()
    await world.add(b"a" * 32, "show")
    world.source.calls.clear()
    at_once = world.source.store.changes_after

    async def later(revision: int) -> tuple[int, Sequence[Change] | None]:
        await asyncio.sleep(0)
        return await at_once(revision)

    monkeypatch.setattr(world.source.store, "changes_after", later)
    assert world.view.behind()
    await asyncio.gather(*(world.view.catch_up() for _ in range(20)))
    assert world.source.calls.count("changes_after") == 1
    assert not world.view.behind()
    await world.view.catch_up()
    assert world.source.calls.count("changes_after") == 2
