"""The ports in memory: for tests, held to the same contract as the SQL ones."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from stagedoor.model.access import Action
from stagedoor.model.account import OPEN, AccountPolicy
from stagedoor.model.engine import Engine
from stagedoor.model.errors import Conflict, NotFound
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord, what_is
from stagedoor.service.child_ports import Asked, Former
from stagedoor.service.ports import (
    IDEMPOTENCY_SECONDS,
    Announce,
    Change,
    ChangeKind,
    Facts,
    FilterBy,
    FormerUse,
    Idempotency,
    NewAccount,
    NewToken,
    Page,
    SortBy,
    TokenChange,
)
from stagedoor.store.codec import lower_ascii, publisher_names, searched_names
from stagedoor.store.memory_api_secrets import MemoryApiSecrets
from stagedoor.store.memory_children import MemoryChildren
from stagedoor.store.memory_sessions import MemorySessions


class MemoryStore:
    """All the ports, in dictionaries. A write happens between two awaits, so it is atomic."""

    def __init__(self, *, announce: Announce) -> None:
        """Start empty, at revision 0."""
        self._announce = announce
        self._n = 0
        self._changes: list[Change] = []
        self._accounts: dict[AccountId, AccountPolicy] = {}
        self._engines: dict[EngineId, Engine] = {}
        self._tokens: dict[TokenId, TokenRecord] = {}
        self._requests: dict[tuple[AccountId, str], tuple[Idempotency, int, TokenId]] = {}
        self.api_secrets = MemoryApiSecrets(note=self.note, is_account=self._accounts.__contains__)
        self.sessions = MemorySessions(note=self.note, digest_of=self.digest_of, publishes=self.publishes)
        self._children = MemoryChildren(tokens=self._tokens, sessions=lambda: self.sessions, note=self.note)
        self.keep_children, self.revoke_child = self._children.keep_children, self._children.revoke_child
        self.revoked_children, self.forget_children = self._children.revoked_children, self._children.forget_children
        self._former: dict[TokenId, list[Former]] = {}
        self._replaced: dict[bytes, int] = {}

    async def facts(
        self, digest: bytes | None, account: AccountId, name: str, *, with_publishers: bool, asked: Asked | None = None
    ) -> Facts:
        """Read the token with `digest` and, if asked, the publishers of stream `name`."""
        former = next(((of, each) for of, all_ in self._former.items() for each in all_ if each.digest == digest), None)
        record = next((record for record in self._tokens.values() if record.digest == digest), None)
        if record is None and former is not None:
            record = self._tokens[former[0]]
        parentage = None
        if record is None and asked is not None:
            parentage = self._children.parentage(asked, lambda of: self._former.get(of, ()))
        known = record or (parentage.record if parentage is not None else None)
        owner = account or (known.account if known is not None else AccountId(""))
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
            and opened.start.shown
            and (opened.start.account, opened.start.stream, opened.start.action) == (owner, name, Action.PUBLISH)
        }
        return Facts(
            record,
            owner,
            tuple(publishers),
            self._n,
            tuple(self._tokens[token_id] for token_id in sorted(live) if token_id in self._tokens),
            dict(self.sessions.use(record.id).bound) if record is not None else {},
            parentage,
            former[1].until if former is not None else None,
            shown=digest if digest is not None and former is not None else b"",
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
        request = new.idempotency
        if request is not None:
            earlier, at, made = self._requests.get((new.account, request.key), (request, 0, TokenId(0)))
            if made and new.added_on < at + IDEMPOTENCY_SECONDS:
                return self._made(made, same=earlier == request)
        token_id = TokenId(max(self._tokens, default=0) + 1)
        record = TokenRecord(
            id=token_id,
            account=new.account,
            kind=new.kind,
            terms=new.terms,
            digest=new.digest,
            sealed=new.seal(token_id),
            added_on=new.added_on,
            key_id=new.key_id,
        )
        async with self._writing(record):
            self._tokens[token_id] = record
            if request is not None:
                self._requests[new.account, request.key] = request, new.added_on, token_id
        return record

    def _made(self, token_id: TokenId, *, same: bool) -> TokenRecord:
        """Return the token that a request with that key made before."""
        record = self._tokens[token_id]
        if not same:
            raise Conflict("this Idempotency-Key came with another request; use a new key", field="Idempotency-Key")
        if record.revoked_at is not None:
            raise Conflict(
                "the token made with this Idempotency-Key is not there any more; use a new key", field="Idempotency-Key"
            )
        return record

    async def token(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> TokenRecord:
        """Return a token."""
        record = self._tokens.get(token_id)
        if record is None or record.account != account or record.kind is not kind or record.revoked_at is not None:
            raise NotFound(f"No {what_is(kind)} with id: {token_id}", field="tokenId")
        return record

    async def find_token(self, token: TokenId | bytes) -> TokenRecord:
        """Return a token by its id or its digest, of any account and kind, revoked ones too."""
        found = next((record for record in self._tokens.values() if token in (record.id, record.digest)), None)
        if found is None:
            raise NotFound("there is no such token", field="tokenId")
        return found

    async def tokens(self, account: AccountId, kind: TokenKind, page: Page) -> Sequence[TokenRecord]:
        """Return one page of the account's tokens; empty past the end."""
        return _page(self._standing(account, kind), page)

    async def count_tokens(self, account: AccountId, kind: TokenKind) -> int:
        """Return how many tokens the account has."""
        return len(self._standing(account, kind))

    async def tokens_by_name(
        self, account: AccountId, kind: TokenKind, name: str, by: FilterBy | None, page: Page
    ) -> Sequence[TokenRecord]:
        """Return one page of the tokens with `name` as a part of their label or of a stream name."""
        wanted = lower_ascii(name)

        def has(record: TokenRecord) -> bool:
            names: tuple[str, ...] = (record.terms.label,) if by is not FilterBy.STREAM_NAME else ()
            if by is not FilterBy.TOKEN_NAME:
                names += searched_names(record.terms)
            return by in (None, FilterBy.NONE) or any(wanted in lower_ascii(each) for each in names)

        return _page(filter(has, self._standing(account, kind)), page)

    async def tokens_by_cluster(
        self, account: AccountId, kind: TokenKind, cluster: str, default_cluster: str, page: Page
    ) -> Sequence[TokenRecord]:
        """Return one page of the tokens that name `cluster`, or name none if it is the `default_cluster`."""
        names = {cluster, ""} if cluster == default_cluster else {cluster}
        found = (record for record in self._standing(account, kind) if record.terms.origin_cluster in names)
        return _page(found, page)

    def _standing(self, account: AccountId, kind: TokenKind) -> list[TokenRecord]:
        return [
            record
            for record in self._tokens.values()
            if record.account == account and record.kind is kind and record.revoked_at is None
        ]

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
            if new.digest != old.digest and change.former is None:
                self.sessions.forget_use(token_id)
                await self._end_former(token_id)
            elif new.digest != old.digest and change.former is not None:
                self._former.setdefault(token_id, []).insert(0, change.former(old))
                self._replaced[old.digest] = int(change.at)
            if new.terms.binding != old.terms.binding:
                self.sessions.forget_bound(token_id)
        return new

    async def revoke_token(self, account: AccountId, kind: TokenKind, token_id: TokenId, at: int) -> None:
        """Put the tombstone `at` (seconds since the epoch)."""
        record = await self.token(account, kind, token_id)
        async with self._writing(record):
            self._tokens[token_id] = replace(record, revoked_at=at)

    async def former_uses(self, token_id: TokenId) -> Sequence[FormerUse]:
        """Return what is known of the values that a token had before, newest first."""
        uses = self.sessions.former_uses
        return [
            FormerUse(self._replaced[former.digest], former.until, *uses.get(former.digest, (0, None)))
            for former in self._former.get(token_id, ())
        ]

    async def end_former(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> None:
        """Refuse from now on all values that a token had before."""
        async with self._writing(await self.token(account, kind, token_id)):
            await self._end_former(token_id)

    async def _end_former(self, token_id: TokenId) -> None:
        for former in self._former.pop(token_id, ()):
            await self.note(ChangeKind.TOKEN, self._tokens[token_id].account, former.digest)

    async def add_first_account(self, new: NewAccount) -> None:
        """Keep the first account."""
        if self._accounts:
            raise Conflict(f"there is an account already: {next(iter(self._accounts))}")
        async with self._writing(account=new.id):
            self._accounts[new.id] = OPEN
            self.api_secrets.keep(new.id, "first", new.api_secret_digest, new.api_secret_hint, new.added_on)

    async def accounts(self) -> Sequence[AccountId]:
        """Return all account ids, oldest first."""
        return list(self._accounts)

    async def account_of_api_secret(self, digest: bytes) -> AccountId | None:
        """Return the open account whose API secret has `digest`; None when there is none."""
        account = self.api_secrets.account_of(digest)
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
        """Number a write of the sessions' or the API secrets' and note what it touches."""
        self._n += 1
        self._changes.append(Change(self._n, kind, account, key))
        await self._announce(self._n)

    def digest_of(self, token_id: TokenId) -> bytes:
        """Return the digest of a token."""
        return self._tokens[token_id].digest

    def publishes(self, token_id: TokenId) -> bool:
        """Tell whether a token is a publish token."""
        record = self._tokens.get(token_id)
        return record is not None and record.kind is TokenKind.PUBLISH

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


def _page(records: Iterable[TokenRecord], page: Page) -> Sequence[TokenRecord]:
    """Return one page of records; empty past the end."""
    by_name = page.sort_by is SortBy.NAME
    found = sorted(
        records,
        key=lambda record: (record.terms.label if by_name else record.added_on, record.id),
        reverse=page.descending,
    )
    return found[(page.number - 1) * page.size :][: page.size]
