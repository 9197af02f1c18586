"""Keys that an account trusts: what they sign is a token of the account's, within what the key may sign.

A key is kept among the tokens, as the parent of all that it signs: its terms hold for each of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Final

from stagedoor.model.errors import Conflict
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms
from stagedoor.service.children import Children
from stagedoor.service.ports import Clock, NewToken, Page, SortBy, TokenChange, TokenStore
from stagedoor.service.terms import check_terms
from stagedoor.service.token_admin import ChangeTerms
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.public_keys import PublicKey, parse_public_key, read_public_key
from stagedoor.tokens.sealed import sealed_at

_PREFIX: Final = "tk_"
MOST_KEYS: Final = 100
"""How many keys an account may trust at a time."""

_ALL: Final = Page(1, 2 * MOST_KEYS, SortBy.ADDED_ON, descending=False)
"""More than there may be: what is added at the same time may be counted too late."""


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key that an account trusts, and all that it may sign."""

    record: TokenRecord
    public: PublicKey


class TrustedKeys:
    """What owners do with the keys that they trust."""

    def __init__(self, *, store: TokenStore, children: Children, keyring: Keyring, clock: Clock) -> None:
        """Take the collaborators."""
        self._store = store
        self._children = children
        self._keyring = keyring
        self._clock = clock

    async def add(self, account: AccountId, terms: TokenTerms, public_key: str) -> TrustedKey:
        """Trust a key, as JWK or PEM, to sign within `terms`.

        Raises: InvalidInput for what is no public key, or terms that cannot be right; Conflict when there are too many.
        """
        kid = f"{_PREFIX}{token_hex(12)}"
        key = parse_public_key(public_key, kid)
        check_terms(terms, TokenKind.ISSUER)
        if await self._store.count_tokens(account, TokenKind.ISSUER) >= MOST_KEYS:
            raise Conflict(f"the account trusts {MOST_KEYS} keys; revoke one that signs nothing any more")
        record = await self._store.add_token(
            NewToken(
                account=account,
                kind=TokenKind.ISSUER,
                terms=terms,
                digest=self._children.key_digest(kid),
                seal=lambda token_id: self._keyring.seal(key, sealed_at(token_id)),
                added_on=int(self._clock()),
            )
        )
        return self._opened(record)

    async def list(self, account: AccountId) -> Sequence[TrustedKey]:
        """Return the account's keys that are not revoked, oldest first."""
        return [self._opened(record) for record in await self._store.tokens(account, TokenKind.ISSUER, _ALL)]

    async def read(self, account: AccountId, token_id: TokenId) -> TrustedKey:
        """Return a key.

        Raises: NotFound.
        """
        return self._opened(await self._store.token(account, TokenKind.ISSUER, token_id))

    async def change(self, account: AccountId, token_id: TokenId, change: ChangeTerms) -> TrustedKey:
        """Change what a key may sign, or switch it off and on: what it has signed is judged by that from now on.

        Raises: NotFound; InvalidInput, with nothing changed.
        """

        def checked(terms: TokenTerms) -> TokenTerms:
            changed = change(terms)
            check_terms(changed, TokenKind.ISSUER)
            return changed

        change_ = TokenChange(at=self._clock(), terms=checked)
        return self._opened(await self._store.change_token(account, TokenKind.ISSUER, token_id, change_))

    async def revoke(self, account: AccountId, token_id: TokenId) -> None:
        """Trust a key no more: when this returns, nothing that it signed is let in.

        Raises: NotFound.
        """
        await self._store.revoke_token(account, TokenKind.ISSUER, token_id, int(self._clock()))

    def _opened(self, record: TokenRecord) -> TrustedKey:
        public = read_public_key(self._keyring.unseal(record.sealed, sealed_at(record.id)))
        return TrustedKey(record, public)
