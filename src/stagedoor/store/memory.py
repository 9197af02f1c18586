"""The ports in memory: for tests, held to the same contract as the SQL ones."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from stagedoor.model.access import Action
from stagedoor.model.account import OPEN, AccountPolicy
from stagedoor.model.caveats import Per
from stagedoor.model.decision import Decision, Reason
from stagedoor.model.engine import Engine
from stagedoor.model.errors import Conflict, NotFound
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import SILENCE_SECONDS, OpenSession, SessionStart, TokenUse, usage_of, without_silent
from stagedoor.model.token import TokenKind, TokenRecord
from stagedoor.model.usage import Effects, Usage
from stagedoor.service.ports import (
    Admission,
    Announce,
    Change,
    ChangeKind,
    Facts,
    NewAccount,
    NewToken,
    Page,
    Shadowed,
    SortBy,
    TokenChange,
)
from stagedoor.store.codec import publisher_names


class MemoryStore:
    """All the ports, in dictionaries. A write happens between two awaits, so it is atomic."""

    def __init__(self, *, announce: Announce) -> None:
        """Start empty, at revision 0."""
        self._announce = announce
        self._n = 0
        self._changes: list[Change] = []
        self._accounts: dict[AccountId, AccountPolicy] = {}
        self._api_secrets: dict[bytes, AccountId] = {}
        self._engines: dict[EngineId, Engine] = {}
        self._tokens: dict[TokenId, TokenRecord] = {}
        self.sessions = MemorySessions(self)

    async def facts(self, digest: bytes | None, account: AccountId, name: str, *, with_publishers: bool) -> Facts:
        """Read the token with `digest` and, if asked, the publishers of stream `name`."""
        record = next((record for record in self._tokens.values() if record.digest == digest), None)
        owner = account or (record.account if record is not None else AccountId(""))
        publishers = (
            record
            for record in self._tokens.values()
            if with_publishers
            and record.kind is TokenKind.PUBLISH
            and record.account == owner
            and record.revoked_at is None
            and not {name, ""}.isdisjoint(publisher_names(record.terms))
        )
        live = {
            opened.start.token_id
            for opened in self.sessions.opened
            if with_publishers
            and (opened.start.account, opened.start.stream, opened.start.action) == (owner, name, Action.PUBLISH)
        }
        return Facts(
            record,
            owner,
            tuple(publishers),
            self._n,
            tuple(self._tokens[token_id] for token_id in sorted(live) if token_id in self._tokens),
            dict(self.sessions.use(record.id).bound) if record is not None else {},
        )

    async def changes_after(self, revision: int) -> tuple[int, Sequence[Change] | None]:
        """Return the newest revision and what changed after `revision`, oldest first; None when that is not kept."""
        if revision < 0:
            return self._n, None
        return self._n, [change for change in self._changes if change.revision > revision]

    async def revision(self) -> int:
        """Return the number of the last write."""
        return self._n

    async def account_policies(self) -> Mapping[AccountId, AccountPolicy]:
        """Return the policies of all accounts."""
        return dict(self._accounts)

    async def add_token(self, new: NewToken) -> TokenRecord:
        """Keep a new token and return it with its id."""
        token_id = TokenId(len(self._tokens) + 1)
        record = TokenRecord(
            id=token_id,
            account=new.account,
            kind=new.kind,
            terms=new.terms,
            digest=new.digest,
            sealed=new.seal(token_id),
            added_on=new.added_on,
        )
        async with self._writing(record):
            self._tokens[token_id] = record
        return record

    async def token(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> TokenRecord:
        """Return a token."""
        record = self._tokens.get(token_id)
        if record is None or record.account != account or record.kind is not kind or record.revoked_at is not None:
            raise NotFound(f"No {kind} token with id: {token_id}", field="tokenId")
        return record

    async def find_token(self, token: TokenId | bytes) -> TokenRecord:
        """Return a token by its id or its digest, of any account and kind, revoked ones too."""
        found = next((record for record in self._tokens.values() if token in (record.id, record.digest)), None)
        if found is None:
            raise NotFound("there is no such token", field="tokenId")
        return found

    async def tokens(self, account: AccountId, kind: TokenKind, page: Page) -> Sequence[TokenRecord]:
        """Return one page of the account's tokens; empty past the end."""
        found = [
            record
            for record in self._tokens.values()
            if record.account == account and record.kind is kind and record.revoked_at is None
        ]
        found.sort(
            key=lambda record: (record.terms.label if page.sort_by is SortBy.NAME else record.added_on, record.id),
            reverse=page.descending,
        )
        return found[(page.number - 1) * page.size :][: page.size]

    async def change_token(
        self, account: AccountId, kind: TokenKind, token_id: TokenId, change: TokenChange
    ) -> TokenRecord:
        """Apply `change` and return the token as it is now."""
        old = await self.token(account, kind, token_id)
        new = replace(
            old,
            terms=change.terms(old.terms) if change.terms is not None else old.terms,
            digest=change.digest or old.digest,
            sealed=change.sealed or old.sealed,
        )
        async with self._writing(new, old):
            self._tokens[token_id] = new
            if new.digest != old.digest:
                self.sessions.forget_use(token_id)
            if new.terms.binding != old.terms.binding:
                self.sessions.forget_bound(token_id)
        return new

    async def revoke_token(self, account: AccountId, kind: TokenKind, token_id: TokenId, at: int) -> None:
        """Put the tombstone `at` (seconds since the epoch)."""
        record = await self.token(account, kind, token_id)
        async with self._writing(record):
            self._tokens[token_id] = replace(record, revoked_at=at)

    async def add_first_account(self, new: NewAccount) -> None:
        """Keep the first account."""
        if self._accounts:
            raise Conflict(f"there is an account already: {next(iter(self._accounts))}")
        async with self._writing(account=new.id):
            self._accounts[new.id] = OPEN
            self._api_secrets[new.api_secret_digest] = new.id

    async def accounts(self) -> Sequence[AccountId]:
        """Return all account ids, oldest first."""
        return list(self._accounts)

    async def account_of_api_secret(self, digest: bytes) -> AccountId | None:
        """Return the open account whose API secret has `digest`; None when there is none."""
        account = self._api_secrets.get(digest)
        return account if account is not None and self._accounts[account].enabled else None

    async def account_policy(self, account: AccountId) -> AccountPolicy:
        """Return what an account sets for its tokens."""
        if account not in self._accounts:
            raise NotFound(f"there is no account {account!r}", field="account")
        return self._accounts[account]

    async def change_account(
        self, account: AccountId, change: Callable[[AccountPolicy], AccountPolicy]
    ) -> AccountPolicy:
        """Apply `change` and return the account's policy as it is now."""
        policy = change(await self.account_policy(account))
        async with self._writing(account=account):
            self._accounts[account] = policy
        return policy

    async def add_engine(self, engine: Engine) -> None:
        """Keep a new engine."""
        if engine.account and engine.account not in self._accounts:
            raise NotFound(f"there is no account {engine.account!r}", field="account")
        if any(other.name == engine.name for other in self._engines.values()):
            raise Conflict(f"there is an engine {engine.name!r} already; choose another name", field="name")
        async with self._writing():
            self._engines[engine.id] = engine

    async def engines(self) -> Sequence[Engine]:
        """Return all engines, by name."""
        return sorted(self._engines.values(), key=lambda engine: engine.name)

    async def remove_engine(self, name: str) -> None:
        """Forget an engine."""
        found = next((engine.id for engine in self._engines.values() if engine.name == name), None)
        if found is None:
            raise NotFound(f"there is no engine {name!r}", field="name")
        async with self._writing():
            del self._engines[found]

    async def change_engine(self, engine_id: EngineId, change: Callable[[Engine], Engine]) -> Engine:
        """Apply `change` and return the engine as it is now."""
        if engine_id not in self._engines:
            raise NotFound(f"there is no engine {engine_id!r}")
        engine = change(self._engines[engine_id])
        async with self._writing():
            self._engines[engine_id] = engine
        return engine

    async def note(self, kind: ChangeKind, account: AccountId, key: bytes) -> None:
        """Number a write of the sessions' and note what it touches."""
        self._n += 1
        self._changes.append(Change(self._n, kind, account, key))
        await self._announce(self._n)

    def digest_of(self, token_id: TokenId) -> bytes:
        """Return the digest of a token."""
        return self._tokens[token_id].digest

    @asynccontextmanager
    async def _writing(self, *records: TokenRecord, account: AccountId | None = None) -> AsyncIterator[None]:
        """Number one write and note what it touches: the `records`, else the `account`, else the engines."""
        yield
        self._n += 1
        for record in records:
            self._changes.append(Change(self._n, ChangeKind.TOKEN, record.account, record.digest))
            if record.kind is TokenKind.PUBLISH:
                self._changes.append(Change(self._n, ChangeKind.PUBLISHERS, record.account))
        if not records:
            kind = ChangeKind.ENGINE if account is None else ChangeKind.ACCOUNT
            self._changes.append(Change(self._n, kind, account or AccountId("")))
        await self._announce(self._n)


class MemorySessions:
    """The port `SessionStore`. What is judged and written between two awaits is atomic."""

    def __init__(self, store: MemoryStore) -> None:
        """Take the store whose changes these are."""
        self._store = store
        self._next_id = 1
        self._opened: dict[int, OpenSession] = {}
        self._uses: dict[TokenId, TokenUse] = {}
        self._ended: dict[tuple[EngineId, str], float] = {}
        self._shadowed: dict[Shadowed, int] = {}

    @property
    def opened(self) -> Collection[OpenSession]:
        """The sessions that are open."""
        return self._opened.values()

    def use(self, token_id: TokenId) -> TokenUse:
        """Return what is kept of a token's use."""
        return self._uses.get(token_id, TokenUse())

    def forget_use(self, token_id: TokenId) -> None:
        """Make a token as good as new: what runs with its old secret is nobody's."""
        self._uses.pop(token_id, None)
        for opened in list(self._opened.values()):
            if opened.start.token_id == token_id:
                nobodys = opened.start._replace(token_id=TokenId(0), subject="")
                self._opened[opened.id] = replace(opened, start=nobodys)

    def forget_bound(self, token_id: TokenId) -> None:
        """Bind a token to nothing any more."""
        self._uses[token_id] = replace(self.use(token_id), bound={})

    async def admit(self, admission: Admission) -> Decision:
        """Judge an admission by what is known now, and write down what it changes."""
        start = admission.start
        touched: list[tuple[ChangeKind, AccountId, bytes]] = []
        for opened in self._of(start, admission.per):
            if opened.gone(start.at) and not (admission.running and opened.goes_on_with(start)):
                self._end(opened, opened.seen_at, touched)
        usage, own = usage_of(self.use(start.token_id), self._of(start, admission.per), start, admission.per)
        decision, effects = admission.judge(usage)
        if decision.allowed:
            self._apply(admission, own, effects, touched)
        for change in touched:
            await self._store.note(*change)
        return decision

    async def usage(self, start: SessionStart, per: Per) -> Usage:
        """Return the usage that `start` would be judged by; nothing is changed."""
        use, awake = without_silent(self.use(start.token_id), self._of(start, per), start)
        return usage_of(use, awake, start, per)[0]

    async def begin_sessions(self, starts: Sequence[SessionStart]) -> None:
        """Keep sessions that were admitted from memory."""
        touched: list[tuple[ChangeKind, AccountId, bytes]] = []
        for start in starts:
            if self._ended.get((start.engine, start.session), 0.0) <= start.at:
                self._begin(start, touched)
        for change in touched:
            await self._store.note(*change)

    async def end_session(self, engine: EngineId, session: str, at: float, action: Action | None = None) -> None:
        """End what is open of an engine's session, and count it."""
        touched: list[tuple[ChangeKind, AccountId, bytes]] = []
        for opened in list(self._opened.values()):
            own = opened.start
            if (own.engine, own.session) == (engine, session) and action in (None, own.action):
                self._end(opened, at, touched)
        self._ended[engine, session] = at
        for change in touched:
            await self._store.note(*change)

    async def end_silent(self, engines: Collection[EngineId], now: float) -> None:
        """End the sessions on these engines of which nothing was heard for too long."""
        touched: list[tuple[ChangeKind, AccountId, bytes]] = []
        for opened in list(self._opened.values()):
            if opened.start.engine in engines and opened.seen_at < now - SILENCE_SECONDS:
                self._end(opened, opened.seen_at, touched)
        for change in touched:
            await self._store.note(*change)

    async def open_sessions(self, engine: EngineId) -> Sequence[OpenSession]:
        """Return what is open on an engine."""
        return [opened for opened in self._opened.values() if opened.start.engine == engine]

    async def saw_sessions(self, engine: EngineId, seen: Mapping[str, int], at: float) -> None:
        """Note signs of life of an engine's sessions, with the bytes they carried so far."""
        for opened in list(self._opened.values()):
            if opened.start.engine == engine and opened.start.session in seen and opened.seen_at < at:
                carried = max(opened.bytes, seen[opened.start.session])
                self._opened[opened.id] = replace(opened, seen_at=at, bytes=carried)

    async def forget_sessions(self, before: float) -> None:
        """Delete what is kept of sessions that ended before an instant."""
        self._ended = {key: at for key, at in self._ended.items() if at >= before}

    async def count_shadowed(self, counts: Mapping[Shadowed, int], at: float) -> None:  # noqa: ARG002  it keeps no times
        """Add to the counts of what shadow mode let through."""
        for what, times in counts.items():
            self._shadowed[what] = self._shadowed.get(what, 0) + times

    async def shadowed(self, account: AccountId, token_id: TokenId | None) -> Mapping[Reason, int]:
        """Return what shadow mode let through, of a token or of the whole account."""
        counts: dict[Reason, int] = {}
        for what, times in self._shadowed.items():
            if what.account == account and token_id in (None, what.token_id):
                counts[what.reason] = counts.get(what.reason, 0) + times
        return counts

    def _of(self, start: SessionStart, per: Per) -> list[OpenSession]:
        """Return what is open of a token, or of its subject too, oldest first."""
        found = [
            opened
            for opened in self._opened.values()
            if opened.start.token_id == start.token_id
            or (per is Per.SUBJECT and opened.start[:1] == start[:1] and opened.start.subject == start.subject)
        ]
        return sorted(found, key=lambda opened: (opened.start.at, opened.id))

    def _apply(
        self,
        admission: Admission,
        own: OpenSession | None,
        effects: Effects,
        touched: list[tuple[ChangeKind, AccountId, bytes]],
    ) -> None:
        start = admission.start
        if own is not None:
            again = own.start._replace(session=start.session)
            self._opened[own.id] = replace(self._opened[own.id], seen_at=start.at, start=again)
        use = self.use(start.token_id)
        if effects.bind is not None:
            bound = {network: at for network, at in use.bound.items() if network not in (*effects.unbind, effects.bind)}
            use = replace(use, bound=bound | {effects.bind: start.at})
            if effects.unbind:
                use = replace(use, rebinds=(*use.rebinds, start.at))
            touched.append((ChangeKind.TOKEN, start.account, self._store.digest_of(start.token_id)))
        for session_id, at in effects.ends:
            self._opened[session_id] = replace(self._opened[session_id], end_at=at)
        if effects.starts:
            use = replace(use, starts=use.starts + 1)
        self._uses[start.token_id] = replace(use, last_ip=start.client_ip if effects.starts else use.last_ip)
        if (effects.starts or effects.resumes) and admission.told:
            self._begin(start, touched)

    def _begin(self, start: SessionStart, touched: list[tuple[ChangeKind, AccountId, bytes]]) -> None:
        """Open a session; what an engine begins anew under an id has ended before."""
        for opened in list(self._opened.values()):
            own = opened.start
            if (own.engine, own.session, own.action) == (start.engine, start.session, start.action):
                self._end(opened, start.at, touched)
        self._opened[self._next_id] = OpenSession(id=self._next_id, start=start, seen_at=start.at)
        self._next_id += 1
        if start.action is Action.PUBLISH:
            touched.append((ChangeKind.LIVE, start.account, start.stream.encode()))

    def _end(self, opened: OpenSession, at: float, touched: list[tuple[ChangeKind, AccountId, bytes]]) -> None:
        at = max(at, opened.start.at)
        del self._opened[opened.id]
        if opened.start.token_id in self._uses:
            use = self._uses[opened.start.token_id]
            self._uses[opened.start.token_id] = replace(
                use,
                watched_seconds=use.watched_seconds + at - opened.start.at,
                bytes=use.bytes + opened.bytes,
                last_at=at,
            )
        if opened.start.action is Action.PUBLISH:
            touched.append((ChangeKind.LIVE, opened.start.account, opened.start.stream.encode()))
