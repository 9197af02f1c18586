"""This process's memory of the store: tokens by digest, publishers by stream, engines, what accounts set.

Invariants:

- `revision` is the newest change applied. Applying evicts; it runs on the event loop, never beside a decision.
- A row read from the store is kept only if it was read at or after `revision`: no change that could touch it was applied
  in the meantime. Otherwise it is used once and not kept, which is right too, since it was read after the question came.
- Answers of "no such token" are kept by the same rule, apart from the others and bounded, so that guessing neither
  reaches the database twice nor pushes good tokens out.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from stagedoor.model.account import OPEN, AccountPolicy
from stagedoor.model.engine import Engine
from stagedoor.model.errors import Unavailable
from stagedoor.model.ids import AccountId
from stagedoor.service.child_ports import Asked
from stagedoor.service.ports import Change, ChangeKind, Facts, FactSource, Publishers, TokenFacts

_MOST_ROUNDS = 5

Listener = Callable[[Sequence[Change] | None], None]


class Announced(Protocol):
    """Where the newest announced revision is read."""

    def read(self) -> int:
        """Return the newest announced revision."""


class CachedView:
    """The `View` of one process, filled from the store on demand and emptied by its changes."""

    def __init__(
        self,
        *,
        source: FactSource,
        announced: Announced,
        token_facts: Callable[[Facts], TokenFacts],
        child_facts: Callable[[Facts, Asked], TokenFacts],
        publishers_of: Callable[[Facts, str], Publishers],
        capacity: int,
    ) -> None:
        """Take the store, the announced revision, and how records become facts.

        `capacity` bounds the tokens kept, the streams kept, and the misses kept, each by itself.
        """
        self._source = source
        self._announced = announced
        self._token_facts = token_facts
        self._child_facts = child_facts
        self._publishers_of = publishers_of
        self._capacity = capacity
        self._applied = -1
        self._tokens: dict[bytes, TokenFacts] = {}
        self._unknown: dict[bytes, TokenFacts] = {}
        self._dependents: dict[bytes, set[bytes]] = {}
        self._in_groups: dict[AccountId, set[bytes]] = {}
        self._publishers: dict[tuple[AccountId, str], Publishers] = {}
        self._names: dict[AccountId, set[str]] = {}
        self._engines: dict[bytes, Engine] = {}
        self._accounts: Mapping[AccountId, AccountPolicy] = {}
        self._applying = asyncio.Lock()
        self._listeners: list[Listener] = []

    @property
    def revision(self) -> int:
        """The revision this view has caught up to."""
        return self._applied

    def behind(self) -> bool:
        """Tell whether a newer revision was announced."""
        return self._announced.read() > self._applied

    def listen(self, listener: Listener) -> None:
        """Call `listener` with the changes that are applied from now on, at the instant they are; None for any change."""
        self._listeners.append(listener)

    async def catch_up(self) -> None:
        """Ask the store and apply its changes, until nothing newer was announced.

        Raises: Unavailable when the store does not answer, or changes faster than it can be followed; what was applied
            stays applied.
        """
        behind = self.behind()
        async with self._applying:
            if behind and not self.behind():
                return  # somebody else has done it meanwhile, for all who waited
            for _ in range(_MOST_ROUNDS):
                await self._apply()
                if not self.behind():
                    return
            raise Unavailable("the database changes faster than it can be followed")

    async def _apply(self) -> None:
        """Apply the changes that the store has now."""
        newest, changes = await self._source.changes_after(self._applied)
        if newest <= self._applied:
            return
        everything = changes is None
        kinds = {change.kind for change in changes or ()}
        engines = await self._source.engines() if everything or ChangeKind.ENGINE in kinds else None
        accounts = await self._source.account_policies() if everything or ChangeKind.ACCOUNT in kinds else None
        # From here on nothing is awaited: a decision sees all of this or none.
        if changes is None:
            self._forget_all()
        else:
            for change in changes:
                self._evict(change)
        if engines is not None:
            self._engines = {engine.secret_digest: engine for engine in engines}
        if accounts is not None:
            self._accounts = accounts
        for listener in self._listeners:
            listener(changes)
        self._applied = newest

    def engine(self, secret_digest: bytes) -> Engine | None:
        """Return the engine with that hook secret."""
        return self._engines.get(secret_digest)

    def engines(self) -> Collection[Engine]:
        """Return all engines."""
        return self._engines.values()

    def account(self, account: AccountId) -> AccountPolicy:
        """Return what an account sets; one that does not exist sets nothing."""
        return self._accounts.get(account, OPEN)

    def token(self, digest: bytes) -> TokenFacts | None:
        """Return what is known of a token; None when the store has to be asked."""
        return self._tokens.get(digest) or self._unknown.get(digest)

    def publishers(self, account: AccountId, name: str) -> Publishers | None:
        """Return who covers a stream; None when the store has to be asked."""
        return self._publishers.get((account, name))

    async def load(
        self, digest: bytes | None, account: AccountId, name: str, *, with_publishers: bool, asked: Asked | None = None
    ) -> tuple[TokenFacts, Publishers, int]:
        """Ask the store, keep the answer while that is safe, and return it with the revision it was read at.

        Raises: Unavailable when the store does not answer.
        """
        read = await self._source.facts(digest, account, name, with_publishers=with_publishers, asked=asked)
        facts = self._token_facts(read) if asked is None or read.record is not None else self._child_facts(read, asked)
        publishers = self._publishers_of(read, name)
        if read.revision >= self._applied:
            self._keep(digest, facts, read, name, publishers if with_publishers else None)
        return facts, publishers, read.revision

    def _keep(
        self, digest: bytes | None, facts: TokenFacts, read: Facts, name: str, publishers: Publishers | None
    ) -> None:
        if digest is not None:
            kept = self._tokens if facts.token is not None else self._unknown
            if len(kept) >= self._capacity:
                self._forget(next(iter(kept)))
            kept[digest] = facts
            for other in facts.depends:
                self._dependents.setdefault(other, set()).add(digest)
            if read.record is not None and read.record.terms.groups:
                self._in_groups.setdefault(read.record.account, set()).add(digest)
        if publishers is not None and read.account:
            if len(self._publishers) >= self._capacity:
                oldest = next(iter(self._publishers))
                del self._publishers[oldest]
                self._names[oldest[0]].discard(oldest[1])
            self._publishers[read.account, name] = publishers
            self._names.setdefault(read.account, set()).add(name)

    def _evict(self, change: Change) -> None:
        if change.kind is ChangeKind.TOKEN:
            for digest in (change.key, *self._dependents.pop(change.key, ())):
                self._forget(digest)
        elif change.kind is ChangeKind.GROUP:
            for digest in self._in_groups.pop(change.account, ()):
                self._forget(digest)
        elif change.kind is ChangeKind.KEY:
            # What was signed with a key that is refused now; keys change seldom.
            self._tokens.clear()
            self._unknown.clear()
            self._dependents.clear()
            self._in_groups.clear()
        elif change.kind is ChangeKind.PUBLISHERS:
            for name in self._names.pop(change.account, ()):
                del self._publishers[change.account, name]
        elif change.kind is ChangeKind.LIVE:
            name = change.key.decode()
            if self._publishers.pop((change.account, name), None) is not None:
                self._names[change.account].discard(name)

    def _forget(self, digest: bytes) -> None:
        """Forget a token, and that others were to take it with them."""
        facts = self._tokens.pop(digest, None) or self._unknown.pop(digest, None)
        if facts is not None:
            if facts.token is not None and facts.token.account in self._in_groups:
                self._in_groups[facts.token.account].discard(digest)
            for other in facts.depends:
                dependents = self._dependents.get(other)
                if dependents is not None:
                    dependents.discard(digest)
                    if not dependents:
                        del self._dependents[other]
            in_groups = self._in_groups.get(facts.token.account) if facts.token is not None else None
            if in_groups is not None:
                in_groups.discard(digest)

    def _forget_all(self) -> None:
        self._dependents.clear()
        self._in_groups.clear()
        self._tokens.clear()
        self._unknown.clear()
        self._publishers.clear()
        self._names.clear()
