"""Administer tokens: issue, read, list, change, renew, revoke."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from stagedoor.model.addresses import parse_network
from stagedoor.model.errors import InvalidInput
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms
from stagedoor.service.ports import Clock, NewToken, Page, TokenChange, TokenStore
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.opaque import new_token, parse_opaque
from stagedoor.tokens.patterns import check_pattern

MAX_LABEL = 128
"""Longest label, in characters."""

_COUNTRY: Final = re.compile(r"[A-Z]{2}")

ChangeTerms = Callable[[TokenTerms], TokenTerms]
MakeTerms = Callable[[int], TokenTerms]

LATEST: Final = 253_402_300_799
"""The last second that a date can name (9999-12-31T23:59:59Z), in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token and its value."""

    record: TokenRecord
    secret: Secret


class TokenAdmin:
    """What owners do with their tokens. Every call is for one account and sees no other."""

    def __init__(self, *, store: TokenStore, keyring: Keyring, clock: Clock) -> None:
        """Take the collaborators."""
        self._store = store
        self._keyring = keyring
        self._clock = clock

    async def issue(self, account: AccountId, kind: TokenKind, terms: TokenTerms | MakeTerms) -> IssuedToken:
        """Make a token, from terms or from what makes them of the present (seconds since the epoch).

        Raises: InvalidInput when the terms cannot be right.
        """
        now = int(self._clock())
        terms = terms if isinstance(terms, TokenTerms) else terms(now)
        check_terms(terms)
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
        return IssuedToken(record, secret)

    async def read(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> IssuedToken:
        """Return a token.

        Raises: NotFound.
        """
        return self._opened(await self._store.token(account, kind, token_id))

    async def list(self, account: AccountId, kind: TokenKind, page: Page) -> Sequence[IssuedToken]:
        """Return one page of the account's tokens."""
        return [self._opened(record) for record in await self._store.tokens(account, kind, page)]

    async def change(
        self, account: AccountId, kind: TokenKind, token_id: TokenId, change: ChangeTerms, *, renew: bool = False
    ) -> IssuedToken:
        """Change the terms and, with `renew`, give the token a new value: the old one is dead when this returns.

        Raises: NotFound; InvalidInput when the new terms cannot be right, with nothing changed.
        """

        def checked(terms: TokenTerms) -> TokenTerms:
            changed = change(terms)
            check_terms(changed)
            return changed

        digest = sealed = None
        if renew:
            secret = new_token()
            digest, sealed = self._digest(secret), self._keyring.seal(secret, _place(token_id))
        record = await self._store.change_token(
            account, kind, token_id, TokenChange(terms=checked, digest=digest, sealed=sealed)
        )
        return self._opened(record)

    async def revoke(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> None:
        """Revoke a token for ever: when this returns, no worker lets it in.

        Raises: NotFound.
        """
        await self._store.revoke_token(account, kind, token_id, int(self._clock()))

    def _opened(self, record: TokenRecord) -> IssuedToken:
        return IssuedToken(record, self._keyring.unseal(record.sealed, _place(record.id)))

    def _digest(self, secret: Secret) -> bytes:
        value = parse_opaque(secret.reveal())
        assert value is not None  # noqa: S101  what new_token makes is a token
        return self._keyring.digest(value)


def check_terms(terms: TokenTerms) -> None:
    """Refuse terms that cannot be right.

    Raises: InvalidInput, naming the field at fault.
    """
    if not 1 <= len(terms.label) <= MAX_LABEL:
        raise InvalidInput(f"label has 1 to {MAX_LABEL} characters", field="label")
    if not terms.streams:
        raise InvalidInput("name at least one stream", field="streams")
    for pattern in terms.streams:
        check_pattern(pattern)
    _check_addresses(terms)
    _check_window(terms)
    if terms.allowed_addresses and terms.bind_ips_on_usage:
        raise InvalidInput("set allowedIpAddresses or bindIpsOnUsage, not both", field="bindIpsOnUsage")
    _check_countries(terms)
    if terms.publishing.record and terms.publishing.clip:
        raise InvalidInput("set record or clip, not both", field="clip")


def _check_addresses(terms: TokenTerms) -> None:
    for text in terms.allowed_addresses:
        try:
            parse_network(text)
        except InvalidInput as error:
            raise InvalidInput(error.message, field="allowedIpAddresses") from None


def _check_countries(terms: TokenTerms) -> None:
    for name, countries in (("allowedCountries", terms.allowed_countries), ("deniedCountries", terms.denied_countries)):
        for country in countries:
            if not _COUNTRY.fullmatch(country):
                raise InvalidInput(f"{country[:20]!r} is not an ISO 3166-1 alpha-2 code such as PL", field=name)
    if terms.allowed_countries and terms.denied_countries:
        raise InvalidInput("set allowedCountries or deniedCountries, not both", field="deniedCountries")


def _check_window(terms: TokenTerms) -> None:
    for name, instant in (("notBefore", terms.not_before), ("expires", terms.expires_at)):
        if instant is not None and not 0 <= instant <= LATEST:
            raise InvalidInput(f"{name} lies outside the years 1970 to 9999", field=name)
    if terms.not_before is not None and terms.expires_at is not None and terms.not_before >= terms.expires_at:
        raise InvalidInput(
            "notBefore lies at or after the expiry, so the token would never be valid", field="notBefore"
        )


def _place(token_id: TokenId) -> str:
    return f"token.sealed:{token_id}"
