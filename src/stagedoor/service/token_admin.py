"""Administer tokens: issue, read, list, change, renew, revoke."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from stagedoor.model.account import AccountPolicy
from stagedoor.model.errors import NotFound
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms
from stagedoor.service.ports import AccountStore, Clock, NewToken, Page, TokenChange, TokenStore
from stagedoor.service.terms import check_lifetime, check_shadow, check_terms
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.opaque import new_token, parse_opaque

_LONGEST_ID: Final = 18

ChangeTerms = Callable[[TokenTerms], TokenTerms]
MakeTerms = Callable[[int], TokenTerms]


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token, its value, and what its account sets."""

    record: TokenRecord
    secret: Secret
    policy: AccountPolicy


class TokenAdmin:
    """What owners do with their tokens. Every call is for one account and sees no other."""

    def __init__(self, *, store: TokenStore, accounts: AccountStore, keyring: Keyring, clock: Clock) -> None:
        """Take the collaborators."""
        self._store = store
        self._policy = accounts.account_policy
        self._keyring = keyring
        self._clock = clock

    async def issue(self, account: AccountId, kind: TokenKind, terms: TokenTerms | MakeTerms) -> IssuedToken:
        """Make a token, from terms or from what makes them of the present (seconds since the epoch).

        Raises: InvalidInput when the terms cannot be right.
        """
        now = int(self._clock())
        terms = terms if isinstance(terms, TokenTerms) else terms(now)
        policy = await self._policy(account)
        check_terms(terms, kind)
        check_lifetime(terms, policy, now)
        check_shadow(terms.shadow_until, now)
        secret = new_token()
        record = await self._store.add_token(
            NewToken(
                account=account,
                kind=kind,
                terms=terms,
                digest=self._digest(secret),
                seal=lambda token_id: self._keyring.seal(secret, _place(token_id)),
                added_on=now,
            )
        )
        return IssuedToken(record, secret, policy)

    async def read(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> IssuedToken:
        """Return a token.

        Raises: NotFound.
        """
        return self._opened(await self._store.token(account, kind, token_id), await self._policy(account))

    async def find(self, token: str) -> TokenRecord:
        """Return a token of any account by its id or by its text, for the operator.

        Raises: NotFound.
        """
        value = parse_opaque(token)
        if value is not None:
            return await self._store.find_token(self._keyring.digest(value))
        if not (token.isascii() and token.isdigit()) or len(token) > _LONGEST_ID:
            raise NotFound("there is no such token", field="tokenId")
        return await self._store.find_token(TokenId(int(token)))

    async def list(self, account: AccountId, kind: TokenKind, page: Page) -> Sequence[IssuedToken]:
        """Return one page of the account's tokens."""
        policy = await self._policy(account)
        return [self._opened(record, policy) for record in await self._store.tokens(account, kind, page)]

    async def change(
        self, account: AccountId, kind: TokenKind, token_id: TokenId, change: ChangeTerms, *, renew: bool = False
    ) -> IssuedToken:
        """Change the terms and, with `renew`, give the token a new value: the old one is dead when this returns.

        Raises: NotFound; InvalidInput when the new terms cannot be right, with nothing changed.
        """

        def checked(terms: TokenTerms) -> TokenTerms:
            changed = change(terms)
            check_terms(changed, kind)
            if changed.shadow_until != terms.shadow_until:
                check_shadow(changed.shadow_until, int(self._clock()))
            return changed

        digest = sealed = None
        if renew:
            secret = new_token()
            digest, sealed = self._digest(secret), self._keyring.seal(secret, _place(token_id))
        record = await self._store.change_token(
            account, kind, token_id, TokenChange(terms=checked, digest=digest, sealed=sealed)
        )
        return self._opened(record, await self._policy(account))

    async def revoke(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> None:
        """Revoke a token for ever: when this returns, no worker lets it in.

        Raises: NotFound.
        """
        await self._store.revoke_token(account, kind, token_id, int(self._clock()))

    def _opened(self, record: TokenRecord, policy: AccountPolicy) -> IssuedToken:
        return IssuedToken(record, self._keyring.unseal(record.sealed, _place(record.id)), policy)

    def _digest(self, secret: Secret) -> bytes:
        value = parse_opaque(secret.reveal())
        assert value is not None  # noqa: S101  what new_token makes is a token
        return self._keyring.digest(value)


def _place(token_id: TokenId) -> str:
    return f"token.sealed:{token_id}"
