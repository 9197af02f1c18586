"""Playback tokens: tokens to watch that we sign, so that others can read them. We find them by their digest, like all our own.

So nothing that was changed is ever found, each can be revoked however long it lives, and one that is shown costs no more than
any other. Their value is shown once and not kept.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple
from uuid import uuid4

from stagedoor.model.account import AccountPolicy
from stagedoor.model.decision import Reason
from stagedoor.model.errors import InvalidInput, NotFound
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.key import Algorithm
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind, TokenRecord, TokenState, TokenTerms
from stagedoor.service.groups import Groups
from stagedoor.service.key_ports import Signer
from stagedoor.service.ports import Clock, NewToken, Page, PolicyReader, TokenStore
from stagedoor.service.terms import check_lifetime, check_terms, latest_expiry
from stagedoor.tokens.carriers import check_fits, longest_name
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.opaque import new_token, parse_opaque
from stagedoor.tokens.shown import shown_digest

DEFAULT_SECONDS: Final = 14 * 86400
"""How long a token is good of which nobody says it: two weeks, as the vendor's are."""

_OF_STATE: Final[Mapping[TokenState, Reason]] = {
    TokenState.REVOKED: Reason.TOKEN_REVOKED,
    TokenState.DISABLED: Reason.TOKEN_DISABLED,
}
_BEFORE_KEYS: Final = frozenset({Reason.ACCOUNT_DISABLED, Reason.TOKEN_REVOKED})


@dataclass(frozen=True, slots=True)
class IssuedPlayback:
    """A playback token and its value, to be shown once. `kid` is empty for one that is not signed."""

    record: TokenRecord
    secret: Secret
    kid: str = ""


class CheckedPlayback(NamedTuple):
    """A playback token that was shown, and the reason for which it lets nobody in now; OK when it does."""

    record: TokenRecord
    reason: Reason


class PlaybackTokens:
    """What owners do with playback tokens. Every call is for one account and sees no other."""

    def __init__(
        self,
        *,
        store: TokenStore,
        accounts: PolicyReader,
        groups: Groups,
        signer: Signer,
        keyring: Keyring,
        clock: Clock,
        issuer: str,
        key_revoked: Callable[[int], Awaitable[bool]],
    ) -> None:
        """Take the collaborators. `issuer` is what tokens say of who signed them: where we are reached.

        `key_revoked` tells of the id of one of our signing keys whether it is revoked.
        """
        self._store = store
        self._policy = accounts.account_policy
        self._groups = groups
        self._signer = signer
        self._keyring = keyring
        self._clock = clock
        self._issuer = issuer
        self._key_revoked = key_revoked

    async def issue(
        self, account: AccountId, terms: TokenTerms, claims: Mapping[str, object], algorithm: Algorithm | None
    ) -> IssuedPlayback:
        """Make a token with these terms; `claims` are what it says of them. With no `algorithm` it is an opaque one, and short.

        Raises: InvalidInput when the terms cannot be right, or the token is too long for a protocol that it is limited to;
            NotFound for a group that there is not; Unavailable.
        """
        now = int(self._clock())
        policy = await self._policy(account)
        check_terms(terms, TokenKind.PLAYBACK)
        check_lifetime(terms, policy, now)
        if terms.expires_at is not None and terms.expires_at <= now:
            raise InvalidInput("the expiry lies in the past", field="expiresOn")
        for group in terms.groups:
            await self._groups.read(account, group)
        kid, key_id = "", 0
        if algorithm is None:
            secret = new_token()
        else:
            said = {"iss": self._issuer, "iat": now, "jti": str(uuid4()), **claims}
            secret, key_id, kid = await self._signer.sign(said, algorithm=algorithm)
            check_fits(terms.allowed_protocols, len(secret.reveal()), longest_name(terms))
        record = await self._store.add_token(
            NewToken(
                account=account,
                kind=TokenKind.PLAYBACK,
                terms=terms,
                digest=self._digest(secret),
                seal=lambda _: b"",
                added_on=now,
                key_id=key_id,
            )
        )
        return IssuedPlayback(record, secret, kid)

    async def list(self, account: AccountId, page: Page) -> Sequence[TokenRecord]:
        """Return one page of the account's tokens that are not revoked."""
        return await self._store.tokens(account, TokenKind.PLAYBACK, page)

    async def read(self, account: AccountId, token_id: TokenId) -> TokenRecord:
        """Return a token.

        Raises: NotFound.
        """
        return await self._store.token(account, TokenKind.PLAYBACK, token_id)

    async def check(self, text: str) -> CheckedPlayback:
        """Tell whether a token lets anybody in now, whoever's it is; what else its rules ask depends on who shows it.

        Raises: NotFound for what is no playback token of ours.
        """
        record = await self._find(text)
        reason = self._reason(record, await self._policy(record.account))
        # As the policy orders them: a revoked token is that first, and a token of a revoked key is not asked for its times.
        if record.key_id and reason not in _BEFORE_KEYS and await self._key_revoked(record.key_id):
            reason = Reason.KEY_REVOKED
        return CheckedPlayback(record, reason)

    async def revoke(self, account: AccountId, token_id: TokenId) -> None:
        """Revoke a token for ever: when this returns, no worker lets it in. One that is revoked stays so.

        Raises: NotFound when the account has no such token.
        """
        record = await self._store.find_token(token_id)
        if record.account != account or record.kind is not TokenKind.PLAYBACK:
            raise NotFound(f"No playback token with id: {token_id}", field="tokenId")
        if record.revoked_at is None:
            await self._store.revoke_token(account, TokenKind.PLAYBACK, token_id, int(self._clock()))

    def _reason(self, record: TokenRecord, policy: AccountPolicy) -> Reason:
        now, terms = self._clock(), record.terms
        ends = [at for at in (terms.expires_at, latest_expiry(policy, record.added_on)) if at is not None]
        if not policy.enabled:
            return Reason.ACCOUNT_DISABLED
        if record.state is not TokenState.ACTIVE:
            return _OF_STATE[record.state]
        if terms.not_before is not None and now < terms.not_before:
            return Reason.TOKEN_NOT_YET_VALID
        return Reason.TOKEN_EXPIRED if ends and now >= min(ends) else Reason.OK

    async def _find(self, text: str) -> TokenRecord:
        digest = shown_digest(self._keyring.digest, text)
        if digest is None:
            raise InvalidInput("this is no token", field="token")
        record = await self._store.find_token(digest)
        if record.kind is not TokenKind.PLAYBACK:
            raise NotFound("there is no such playback token", field="token")
        return record

    def _digest(self, secret: Secret) -> bytes:
        return self._keyring.digest(parse_opaque(secret.reveal()) or secret.reveal().encode())


def two_weeks_from(now: float, terms: TokenTerms) -> TokenTerms:
    """Return terms with an expiry, where they have none."""
    return terms if terms.expires_at is not None else replace(terms, expires_at=int(now) + DEFAULT_SECONDS)
