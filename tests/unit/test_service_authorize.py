"""The use case that answers engines."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from stagedoor.cluster.view import CachedView
from stagedoor.engines.dialect import OwnSecrets
from stagedoor.engines.mediamtx.hook import MediaMtx
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import AccountPolicy
from stagedoor.model.decision import Decision, Reason
from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.errors import Unavailable
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId, EngineId, StreamId
from stagedoor.model.token import PublishOptions, TokenKind, TokenTerms
from stagedoor.service.authorize import _MOST_READS, Attempt, Authorizer, Notice
from stagedoor.service.child_ports import Asked
from stagedoor.service.children import Children
from stagedoor.service.ports import AccessEvent, Change, Facts, NewAccount
from stagedoor.service.session_ports import Admission
from stagedoor.service.sessions import Sessions
from stagedoor.service.standing import publishers_of, token_facts
from stagedoor.service.token_admin import IssuedToken, TokenAdmin
from stagedoor.store.memory import MemoryStore
from stagedoor.store.memory_sessions import MemorySessions
from stagedoor.tokens.keyring import Keyring, base64url

NOW = 1_000_000
ACCT = AccountId("acct")
SECRET = "the hook secret of edge-1"


class Source:
    """A source of facts that counts, can be down, and lets something happen between a read and its return."""

    def __init__(self, store: MemoryStore) -> None:
        """Pass everything on to `store`."""
        self.store = store
        self.calls: list[str] = []
        self.down = False
        self.after_read: Callable[[], Awaitable[None]] | None = None
        self.after_changes: Callable[[], Awaitable[None]] | None = None

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
        read = await self.store.changes_after(revision)
        after, self.after_changes = self.after_changes, None
        if after is not None:
            await after()
        return read

    async def engines(self) -> Sequence[Engine]:
        self._called("engines")
        return await self.store.engines()

    async def account_policies(self) -> Mapping[AccountId, AccountPolicy]:
        self._called("account_policies")
        return await self.store.account_policies()


class Announcements:
    """The newest announced revision."""

    def __init__(self) -> None:
        self.newest = 0

    def read(self) -> int:
        return self.newest

    async def announce(self, revision: int) -> None:
        self.newest = max(self.newest, revision)


class Clock:
    """A clock that stands, and counts who looks at it."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now


class Log:
    """An access log in memory."""

    def __init__(self) -> None:
        self.events: list[AccessEvent] = []

    def record(self, event: AccessEvent) -> None:
        self.events.append(event)


class Countries:
    """Where addresses are: as many as are put in."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def country(self, address: str) -> str:
        return self.known.get(address, "")


class Claims(MemorySessions):
    """Sessions in memory that can be down, and let something happen between an admission and its return."""

    def __init__(self, store: MemoryStore) -> None:
        """Keep the sessions of `store`."""
        super().__init__(note=store.note, digest_of=store.digest_of, publishes=store.publishes)
        self.down = False
        self.after_admission: Callable[[], Awaitable[None]] | None = None

    async def admit(self, admission: Admission) -> Decision:
        """Admit as ever."""
        if self.down:
            raise Unavailable("the database does not answer")
        decision = await super().admit(admission)
        after, self.after_admission = self.after_admission, None
        if after is not None:
            await after()
        return decision


class World:
    """An authorizer with everything it needs, and short ways to use it."""

    def __init__(self, keyring: Keyring) -> None:
        announced = Announcements()
        self.store = MemoryStore(announce=announced.announce)
        self.claims = Claims(self.store)
        self.store.sessions = self.claims
        self.source = Source(self.store)
        self.clock = Clock()
        self.log = Log()
        self.children = Children(keyring=keyring, source=self.source, store=self.store, clock=self.clock)
        self.view = CachedView(
            source=self.source,
            announced=announced,
            token_facts=token_facts,
            child_facts=self.children.facts,
            publishers_of=publishers_of,
            capacity=100,
        )
        self.sessions = Sessions(store=self.store.sessions, clock=self.clock, telling_engines=list)
        self.countries = Countries()
        self.authorizer = Authorizer(
            view=self.view,
            keyring=keyring,
            clock=self.clock,
            access_log=self.log,
            sessions=self.sessions,
            countries=self.countries,
            children=self.children,
        )
        self.tokens = TokenAdmin(store=self.store, accounts=self.store, keyring=keyring, clock=self.clock)
        self.engine = self.engine_of("")
        self.digest = keyring.digest

    @staticmethod
    def engine_of(account: str, digest: bytes = b"") -> Engine:
        return Engine(
            id=EngineId("e1"),
            kind=EngineKind.MEDIAMTX,
            name="edge-1",
            account=AccountId(account),
            secret_digest=digest,
            added_on=0,
        )

    async def issue(
        self, kind: TokenKind = TokenKind.PUBLISH, account: AccountId = ACCT, *, auth: bool = False, **terms: Any
    ) -> IssuedToken:
        values = {"label": "t", "streams": (StreamPattern("show"),)} | terms
        values.setdefault("publishing", PublishOptions(subscribe_requires_auth=auth))
        return await self.tokens.issue(account, kind, TokenTerms(**values))

    async def ask(
        self,
        token: IssuedToken | str = "",
        action: Action = Action.PUBLISH,
        name: str = "show",
        account: str = "acct",
        engine: Engine | None = None,
        *,
        will_ask: bool = False,
    ) -> Reason:
        return (
            await self.authorizer.authorize(
                engine or self.engine, attempt(token, action, name, account, will_ask=will_ask)
            )
        ).reason

    async def watch(self, token: IssuedToken | str = "", **rest: Any) -> Reason:
        return await self.ask(token, Action.SUBSCRIBE, **rest)

    async def costs(self, ask: Awaitable[Reason]) -> list[str]:
        self.source.calls.clear()
        await ask
        return self.source.calls


def attempt(
    token: IssuedToken | str, action: Action, name: str = "show", account: str = "acct", *, will_ask: bool = False
) -> Attempt:
    """Return an attempt from 192.0.2.1 by RTMP."""
    text = token if isinstance(token, str) else token.secret.reveal()
    access = Access(action, StreamId(AccountId(account), name), Protocol.RTMP, "192.0.2.1")
    return Attempt(access, text, "session-1", will_ask)


@pytest.fixture
async def world(keyring: Keyring) -> World:
    """Return a world with the account `acct` in it."""
    world = World(keyring)
    await world.store.add_first_account(
        NewAccount(id=ACCT, admin_email="a@b", admin_password_hash="", api_secret_digest=b"", added_on=0)
    )
    world.store._accounts[AccountId("other")] = AccountPolicy()
    return world


async def test_a_publisher_with_its_token_is_let_in(world: World) -> None:
    """In both texts of the token."""
    token = await world.issue()
    assert await world.ask(token) is Reason.OK
    assert await world.ask(base64url(bytes.fromhex(token.secret.reveal()))) is Reason.OK


async def test_every_way_of_having_no_good_token_has_its_reason(world: World) -> None:
    """Missing, malformed, unknown, disabled, revoked."""
    disabled, revoked = await world.issue(active=False), await world.issue()
    await world.tokens.revoke(ACCT, TokenKind.PUBLISH, revoked.record.id)
    assert await world.ask("") is Reason.TOKEN_MISSING
    assert await world.ask("cut off") is Reason.TOKEN_MALFORMED
    assert await world.ask("ab" * 32) is Reason.TOKEN_UNKNOWN
    assert await world.ask(disabled) is Reason.TOKEN_DISABLED
    assert await world.ask(revoked) is Reason.TOKEN_REVOKED


@pytest.mark.parametrize(
    ("offset", "reason"),
    [(-1, Reason.TOKEN_NOT_YET_VALID), (0, Reason.OK), (9, Reason.OK), (10, Reason.TOKEN_EXPIRED)],
)
async def test_the_clock_is_the_injected_one(world: World, offset: int, reason: Reason) -> None:
    """Warm or cold; the log tells the same instant."""
    token = await world.issue(not_before=NOW, expires_at=NOW + 10)
    world.clock.now = NOW + offset
    for _ in range(2):
        assert await world.ask(token) is reason
        assert world.log.events[-1].at == NOW + offset


async def test_the_clock_is_looked_at_once_for_each_decision(world: World) -> None:
    """Warm or cold: what the log tells is the instant that was judged by, not a later one."""
    token = await world.issue()
    for _ in range(2):
        world.clock.looks = 0
        assert await world.ask(token) is Reason.OK
        assert world.clock.looks == 1


async def test_cold_costs_one_read_and_warm_costs_none(world: World) -> None:
    """For publishers: the token. The view is up to date before."""
    token = await world.issue()
    await world.view.catch_up()
    assert await world.costs(world.ask(token)) == ["facts"]
    assert await world.costs(world.ask(token)) == []


async def test_a_viewer_costs_one_read_for_token_and_stream_together(world: World) -> None:
    """And none when warm; another stream costs one again."""
    await world.issue(auth=True, streams=(StreamPattern("show"), StreamPattern("other")))
    viewer = await world.issue(TokenKind.SUBSCRIBE, streams=(StreamPattern(".*", True),))
    await world.view.catch_up()
    assert await world.costs(world.watch(viewer)) == ["facts"]
    assert await world.costs(world.watch(viewer)) == []
    assert await world.costs(world.watch(viewer, name="other")) == ["facts"]
    assert await world.costs(world.watch("")) == []


@pytest.mark.parametrize("token", ["", "malformed"])
async def test_publishers_without_a_token_never_reach_the_store(world: World, token: str) -> None:
    """There is nothing to look up."""
    await world.view.catch_up()
    assert await world.costs(world.ask(token)) == []


async def test_a_guessed_token_reaches_the_store_once(world: World) -> None:
    """The miss is kept; on an engine of no account too."""
    await world.view.catch_up()
    for account in ("acct", ""):
        guess = ("a" if account else "b") * 64
        assert await world.costs(world.ask(guess, account=account)) == ["facts"]
        assert await world.costs(world.ask(guess, account=account)) == []


async def test_an_engine_without_account_takes_the_tokens(world: World) -> None:
    """The stream is of the account whose token was shown, cold and warm."""
    await world.issue(auth=True)
    viewer = await world.issue(TokenKind.SUBSCRIBE)
    for _ in range(2):
        assert await world.watch(viewer, account="") is Reason.OK
        access = world.log.events[-1].access
        assert access is not None
        assert str(access.stream) == "acct/show"


async def test_a_viewer_of_no_account_and_no_token_is_refused(world: World) -> None:
    """Whose stream it is is not known, so it is secured, though an open one of that name exists."""
    await world.issue()
    assert await world.watch("") is Reason.OK_OPEN_STREAM
    assert await world.watch("", account="") is Reason.TOKEN_MISSING
    assert await world.watch("ab" * 32, account="") is Reason.TOKEN_UNKNOWN


async def test_an_engine_with_an_account_gives_it_to_paths_without(world: World) -> None:
    """And an open stream of it is open there."""
    token = await world.issue()
    engine = world.engine_of("acct")
    assert await world.ask(token, account="", engine=engine) is Reason.OK
    assert await world.watch("", account="", engine=engine) is Reason.OK_OPEN_STREAM


async def test_an_engine_with_an_account_refuses_the_paths_of_another(world: World) -> None:
    """Whatever the token, before the store is asked; also for a viewer of an open stream."""
    token = await world.issue(account=AccountId("other"))
    engine = world.engine_of("acct")
    await world.view.catch_up()
    world.source.calls.clear()
    assert await world.ask(token, account="other", engine=engine) is Reason.ACCOUNT_MISMATCH
    assert await world.watch("", account="other", engine=engine) is Reason.ACCOUNT_MISMATCH
    assert world.source.calls == []


async def test_a_token_of_another_account_is_refused(world: World) -> None:
    """On a path that names the account."""
    token = await world.issue(account=AccountId("other"))
    assert await world.ask(token) is Reason.ACCOUNT_MISMATCH


async def test_another_accounts_publish_token_does_not_open_a_stream(world: World) -> None:
    """The secured stream of one account stays secured, though another has an open one of that name."""
    await world.issue(auth=True)
    await world.issue(account=AccountId("other"))
    assert await world.watch("") is Reason.TOKEN_MISSING
    assert await world.watch("", account="other") is Reason.OK_OPEN_STREAM


async def test_a_name_that_is_none_is_refused_without_the_store(world: World) -> None:
    """And recorded."""
    token = await world.issue(streams=(StreamPattern(".*", True),))
    await world.view.catch_up()
    assert await world.costs(world.ask(token, name="")) == []
    assert world.log.events[-1].decision.reason is Reason.STREAM_NAME_INVALID


async def test_open_secured_and_nobodys_streams(world: World) -> None:
    """The secure viewer rule, through the store."""
    await world.issue()
    await world.issue(streams=(StreamPattern("secured"),), auth=True)
    assert await world.watch("") is Reason.OK_OPEN_STREAM
    assert await world.watch("", name="secured") is Reason.TOKEN_MISSING
    assert await world.watch("", name="nobody") is Reason.TOKEN_MISSING


async def test_a_closed_account_refuses_at_once(world: World) -> None:
    """Warm, without asking for the token again; and it is let in again when it opens."""
    token = await world.issue()
    assert await world.ask(token) is Reason.OK
    await world.store.change_account(ACCT, lambda policy: replace(policy, enabled=False))
    assert await world.ask(token) is Reason.ACCOUNT_DISABLED
    assert await world.ask(token, account="") is Reason.ACCOUNT_DISABLED
    await world.store.change_account(ACCT, lambda policy: replace(policy, enabled=True))
    assert await world.ask(token) is Reason.OK


async def test_every_write_counts_from_the_next_decision_on(world: World) -> None:
    """Disable, enable, renew, revoke: each is seen by a view that was warm."""
    token = await world.issue()
    token_id = token.record.id
    assert await world.ask(token) is Reason.OK
    off = TokenTerms(label="t", streams=(StreamPattern("show"),), active=False)
    await world.tokens.change(ACCT, TokenKind.PUBLISH, token_id, lambda _: off)
    assert await world.ask(token) is Reason.TOKEN_DISABLED
    renewed = await world.tokens.change(ACCT, TokenKind.PUBLISH, token_id, lambda _: token.record.terms, renew=True)
    assert (await world.ask(token), await world.ask(renewed)) == (Reason.TOKEN_UNKNOWN, Reason.OK)
    await world.tokens.revoke(ACCT, TokenKind.PUBLISH, token_id)
    assert await world.ask(renewed) is Reason.TOKEN_REVOKED


async def test_a_cold_decision_does_not_let_in_after_the_revocation_has_returned(world: World) -> None:
    """Read, then revoked (`revoke` has returned: no worker lets it in), then decided."""
    token = await world.issue()
    await world.view.catch_up()
    world.source.after_read = lambda: world.tokens.revoke(ACCT, TokenKind.PUBLISH, token.record.id)
    assert await world.ask(token) is Reason.TOKEN_REVOKED


async def test_a_revocation_that_returns_during_a_catch_up_is_seen(world: World) -> None:
    """Warm; something else was written, and while that is applied the token is revoked."""
    token = await world.issue()
    assert await world.ask(token) is Reason.OK
    await world.issue()
    world.source.after_changes = lambda: world.tokens.revoke(ACCT, TokenKind.PUBLISH, token.record.id)
    assert await world.ask(token) is Reason.TOKEN_REVOKED


async def test_reads_that_are_overtaken_again_and_again_end_in_a_refusal(world: World) -> None:
    """Every read is overtaken by a write, the last one by the revocation: nothing is let in by a read that is old."""
    token = await world.issue()
    await world.view.catch_up()

    async def overtake() -> None:
        if world.source.calls.count("facts") == _MOST_READS:
            await world.tokens.revoke(ACCT, TokenKind.PUBLISH, token.record.id)
        else:
            await world.issue()
            world.source.after_read = overtake

    world.source.calls.clear()
    world.source.after_read = overtake
    assert not (await world.authorizer.authorize(world.engine, attempt(token, Action.PUBLISH))).allowed


async def test_a_store_that_does_not_answer_lets_nothing_new_in(world: World) -> None:
    """Neither with a token nor to an open stream; each has its own reason, and is recorded."""
    token = await world.issue()
    await world.view.catch_up()
    world.source.down = True
    assert await world.ask(token) is Reason.STORE_UNAVAILABLE
    assert await world.watch("") is Reason.STORE_UNAVAILABLE
    assert [event.decision.reason for event in world.log.events] == [Reason.STORE_UNAVAILABLE] * 2


async def test_what_is_known_goes_on_while_the_store_is_down(world: World) -> None:
    """Until something is announced that cannot be read."""
    token = await world.issue()
    assert await world.ask(token) is Reason.OK
    world.source.down = True
    assert await world.ask(token) is Reason.OK
    await world.issue()
    assert await world.ask(token) is Reason.STORE_UNAVAILABLE
    world.source.down = False
    assert await world.ask(token) is Reason.OK


async def test_an_engine_is_found_by_its_secret(world: World) -> None:
    """And by nothing else."""
    engine = world.engine_of("", world.digest(SECRET.encode()))
    await world.store.add_engine(engine)
    assert world.authorizer.behind()
    await world.authorizer.catch_up()
    assert world.authorizer.engine(world.authorizer.digest(SECRET)) == engine
    for wrong in ("", SECRET[:-1], SECRET + " ", SECRET.upper(), "\u00e9" * 10_000, "\x00", "\ud800"):
        assert world.authorizer.engine(world.authorizer.digest(wrong)) is None


async def test_engines_that_may_have_changed_and_no_store_is_unavailable(world: World) -> None:
    """Nobody is taken for an engine on old knowledge."""
    world.source.down = True
    with pytest.raises(Unavailable):
        await world.authorizer.catch_up()


async def test_a_decision_is_recorded_with_what_was_asked(world: World) -> None:
    """Everything but the token."""
    token = await world.issue()
    await world.ask(token)
    access = Access(Action.PUBLISH, StreamId(ACCT, "show"), Protocol.RTMP, "192.0.2.1")
    decision = Decision(Reason.OK, world.view.revision)
    assert world.log.events == [
        AccessEvent(NOW, decision, "publish", access, "192.0.2.1", token.record.id, "edge-1", "session-1")
    ]


@pytest.mark.parametrize("shown", ["ab" * 32, "not a token but a secret still"])
async def test_no_token_reaches_the_log(world: World, shown: str) -> None:
    """Good, unknown or malformed."""
    token = await world.issue()
    await world.ask(token)
    await world.ask(shown)
    assert shown not in repr(world.log.events)
    assert token.secret.reveal() not in repr(world.log.events)


async def test_a_refusal_that_will_be_asked_again_is_not_recorded(world: World) -> None:
    """The engine asks its client and calls again: recording it would make every viewer a refusal."""
    await world.issue(auth=True)
    assert await world.watch("", will_ask=True) is Reason.TOKEN_MISSING
    assert world.log.events == []


async def test_only_a_missing_token_is_left_out(world: World) -> None:
    """An open stream, a wrong name and a store that is down are recorded, asked again or not."""
    await world.issue()
    await world.watch("", will_ask=True)
    await world.watch("", name="", will_ask=True)
    await world.ask("malformed", will_ask=True)
    world.source.down = True
    await world.watch("", name="other", will_ask=True)
    assert [event.decision.reason for event in world.log.events] == [
        Reason.OK_OPEN_STREAM,
        Reason.STREAM_NAME_INVALID,
        Reason.TOKEN_MALFORMED,
        Reason.STORE_UNAVAILABLE,
    ]


@pytest.mark.parametrize(("protocol", "recorded"), [("rtsp", 0), ("hls", 0), ("webrtc", 0), ("rtmp", 1), ("srt", 1)])
async def test_the_first_call_of_mediamtx(world: World, protocol: str, recorded: int) -> None:
    """Without credentials: 401 for all, and a refusal in the log for clients that cannot be asked."""
    body = b'{"action":"read","path":"acct/show","protocol":"%s"}' % protocol.encode()
    asked = MediaMtx().read("", [], body, OwnSecrets(SECRET, "the control secret"))
    assert isinstance(asked, Attempt)
    decision = await world.authorizer.authorize(world.engine, asked)
    assert MediaMtx().answer(decision.reason).status == 401
    assert len(world.log.events) == recorded


@pytest.mark.parametrize("recorded", [True, False])
def test_a_notice_is_answered_with_its_reason(world: World, recorded: bool) -> None:
    """And recorded where it says so, without a stream."""
    notice = Notice("relay", Reason.OK_ENGINE, "192.0.2.1", "s", recorded)
    decision = world.authorizer.note(world.engine, notice)
    assert decision == Decision(Reason.OK_ENGINE, world.view.revision)
    event = AccessEvent(NOW, decision, "relay", None, "192.0.2.1", None, "edge-1", "s")
    assert world.log.events == ([event] if recorded else [])


async def test_from_memory_says_when_the_store_has_to_be_asked(world: World) -> None:
    """Then nothing is decided and nothing recorded; warm it decides as `authorize` does."""
    token = await world.issue()
    await world.view.catch_up()
    cold = world.authorizer.from_memory(world.engine, attempt(token, Action.PUBLISH))
    assert cold is None
    assert world.log.events == []
    decided = await world.authorizer.authorize(world.engine, attempt(token, Action.PUBLISH))
    assert world.authorizer.from_memory(world.engine, attempt(token, Action.PUBLISH)) == decided
