"""The port `ChildStore` in memory: for tests, held to the same contract as the SQL one."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence

from stagedoor.model.errors import NotFound
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord
from stagedoor.service.child_ports import MOST_FORMER, Asked, Former, NewChild, Parentage
from stagedoor.service.ports import ChangeKind
from stagedoor.store.memory_sessions import MemorySessions


class MemoryChildren:
    """What is known of tokens that others signed."""

    def __init__(
        self,
        *,
        tokens: MutableMapping[TokenId, TokenRecord],
        sessions: Callable[[], MemorySessions],
        note: Callable[[ChangeKind, AccountId, bytes], Awaitable[None]],
    ) -> None:
        """Take the tokens, their sessions, and how a write is numbered and noted."""
        self._tokens = tokens
        self._sessions = sessions
        self._note = note
        self._revoked: dict[TokenId, dict[str, int]] = {}

    def parentage(self, asked: Asked, former: Callable[[TokenId], Sequence[Former]]) -> Parentage:
        """Return what is known of the parent that a signed token names, and of that token."""
        record = next((r for r in self._tokens.values() if asked.parent in (r.id, r.digest)), None)
        if asked.parent is None or record is None:
            return Parentage(None)
        kept = {
            child.digest: (child.id, self._sessions().use(child.id).bound)
            for child in self._tokens.values()
            if child.parent == record.id and child.digest in asked.digests
        }
        revoked = {name: at for name, at in self._revoked.get(record.id, {}).items() if name in asked.names}
        newest = sorted(former(record.id), key=lambda each: -each.until)
        return Parentage(record, self._sessions().use(record.id).bound, kept, revoked, tuple(newest[:MOST_FORMER]))

    async def keep_children(self, children: Sequence[NewChild]) -> None:
        """Give tokens ids of their own, under which they are counted."""
        for child in children:
            if all(record.digest != child.digest for record in self._tokens.values()):
                token_id = TokenId(max(self._tokens, default=0) + 1)
                self._tokens[token_id] = TokenRecord(
                    id=token_id,
                    account=child.account,
                    kind=TokenKind.CHILD,
                    terms=child.terms,
                    digest=child.digest,
                    sealed=child.seal(token_id),
                    added_on=child.added_on,
                    parent=child.parent,
                )
                await self._note(ChangeKind.TOKEN, child.account, child.digest)

    async def revoke_child(self, account: AccountId, parent: TokenId, child: str, at: int) -> None:
        """Refuse from now on what has that name."""
        record = self._parent(account, parent)
        self._revoked.setdefault(parent, {})[child] = at
        await self._note(ChangeKind.TOKEN, account, record.digest)

    async def revoked_children(self, account: AccountId, parent: TokenId) -> Mapping[str, int]:
        """Return what is refused, and since when."""
        self._parent(account, parent)
        return dict(sorted(self._revoked.get(parent, {}).items(), key=lambda item: (item[1], item[0])))

    async def forget_children(self, before: int, most: int) -> int:
        """Delete what is kept of up to `most` that were over before an instant, or their parent was revoked; return how many."""
        running = {session.start.token_id for session in self._sessions().opened}
        over = [
            child
            for child in self._tokens.values()
            if child.parent is not None
            and child.id < max(self._tokens)  # the next one would get its id
            and child.id not in running
            and (
                (child.terms.expires_at or before) < before
                or (self._tokens[child.parent].revoked_at or before) < before
            )
        ]
        for child in over[:most]:
            del self._tokens[child.id]
            self._sessions().forget_use(child.id)
            await self._note(ChangeKind.TOKEN, child.account, child.digest)
        return len(over[:most])

    def _parent(self, account: AccountId, parent: TokenId) -> TokenRecord:
        record = self._tokens.get(parent)
        if record is None or record.account != account or record.kind not in (TokenKind.SUBSCRIBE, TokenKind.ISSUER):
            raise NotFound(f"No subscribe token or trusted key with id: {parent}", field="tokenId")
        return record
