"""Administer tokens: issue, read, list, change, renew, revoke."""

import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from stagedoor.model.account import AccountPolicy
from stagedoor.model.cluster import AUTO
from stagedoor.model.errors import Conflict, InvalidInput, NotFound, Unavailable
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms
from stagedoor.service.child_ports import Former
from stagedoor.service.clusters import ClusterNames, check_cluster
from stagedoor.service.ports import (
    Clock,
    FilterBy,
    FormerUse,
    Idempotency,
    NewToken,
    Page,
    PolicyReader,
    TokenChange,
    TokenReader,
    TokenStore,
)
from stagedoor.service.terms import check_lifetime, check_shadow, check_terms
from stagedoor.service.unsure import Request, Unsure
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.opaque import new_token, parse_opaque
from stagedoor.tokens.sealed import former_at, sealed_at
from stagedoor.tokens.shown import shown_digest
from stagedoor.tokens.srt import srt_passphrase

EVERY_STREAM: Final = ".*"
"""The regular expression of a token that may use any stream name."""

MAX_IDEMPOTENCY_KEY: Final = 255

MOST_OVERLAP_SECONDS: Final = 90 * 86400
"""How long a value may be good beside the one that took its place."""

_NAME_LENGTH: Final = 10
_NAME_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_LONGEST_ID: Final = 18

ChangeTerms = Callable[[TokenTerms], TokenTerms]
MakeTerms = Callable[[int], TokenTerms]


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token, its value, what its account sets, and its SRT passphrase if it is to be shown."""

    record: TokenRecord
    secret: Secret
    policy: AccountPolicy
    srt_passphrase: Secret | None = None


class TokenAdmin:
    """What owners do with their tokens. Every call is for one account and sees no other."""

    def __init__(
        self,
        *,
        store: TokenStore,
        accounts: PolicyReader,
        keyring: Keyring,
        clock: Clock,
        reads: TokenReader | None = None,
        clusters: ClusterNames | None = None,
        end_streams: Callable[[AccountId, TokenId], Awaitable[None]] | None = None,
    ) -> None:
        """Take the collaborators. `reads`: where single tokens are read, if not from the store itself.

        `clusters`: the names that `originCluster` may have; left out, any. `end_streams` ends what runs with a publish token
        that was revoked, and never raises; left out, that is left to those who look after it.
        """
        self._store = store
        self._read = (reads or store).token
        self._policy = accounts.account_policy
        self._keyring = keyring
        self._clock = clock
        self._clusters = clusters
        self._end_streams = end_streams
        self._unsure = Unsure(clock)

    async def issue(
        self, account: AccountId, kind: TokenKind, terms: TokenTerms | MakeTerms, request: Request | None = None
    ) -> IssuedToken:
        """Make a token, from terms or from what makes them of the present (seconds since the epoch).

        A `request` that comes again makes no second token: by its own key within 24 hours, or by what was sent when the first
        answer was that the store did not say whether it kept the token.

        Raises: InvalidInput when the terms cannot be right; Conflict when the key was used for something else; Unavailable.
        """
        now = int(self._clock())
        terms = terms if isinstance(terms, TokenTerms) else terms(now)
        policy = await self._policy(account)
        check_terms(terms, kind)
        check_lifetime(terms, policy, now)
        check_shadow(terms.shadow_until, now)
        if terms.origin_cluster:
            check_cluster(await self._known_clusters(), terms.origin_cluster)
        value = self._unsure.take(account, request)
        secret = value or new_token()
        if value is not None:
            found = await self._kept(account, kind, secret, request)
            if found is not None:
                return self._shown(found, secret, policy)
        try:
            record = await self._store.add_token(
                NewToken(
                    account=account,
                    kind=kind,
                    terms=terms,
                    digest=self._digest(secret),
                    seal=lambda token_id: self._keyring.seal(secret, sealed_at(token_id)),
                    added_on=now,
                    idempotency=_idempotency(request),
                )
            )
        except (Conflict, InvalidInput):
            raise
        except Exception:
            # Whatever went wrong, the token may have been kept: the caller is told that we failed, and asks again.
            self._unsure.remember(account, request, secret)
            raise
        return self._opened(record, policy)

    async def read(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> IssuedToken:
        """Return a token.

        Raises: NotFound.
        """
        return self._opened(await self._read(account, kind, token_id), await self._policy(account))

    async def find(self, token: str) -> TokenRecord:
        """Return a token of any account by its id or by its text, for the operator.

        Raises: NotFound.
        """
        digest = shown_digest(self._keyring.digest, token)
        if digest is not None:
            return await self._store.find_token(digest)
        if not (token.isascii() and token.isdigit()) or len(token) > _LONGEST_ID:
            raise NotFound("there is no such token", field="tokenId")
        return await self._store.find_token(TokenId(int(token)))

    async def list(self, account: AccountId, kind: TokenKind, page: Page) -> Sequence[IssuedToken]:
        """Return one page of the account's tokens."""
        policy = await self._policy(account)
        return [self._opened(record, policy) for record in await self._store.tokens(account, kind, page)]

    async def list_by_name(
        self, account: AccountId, kind: TokenKind, name: str, by: FilterBy, page: Page
    ) -> Sequence[IssuedToken]:
        """Return one page of those of the account's tokens that a name is found in."""
        policy = await self._policy(account)
        found = await self._store.tokens_by_name(account, kind, name, by, page)
        return [self._opened(record, policy) for record in found]

    async def list_by_cluster(
        self, account: AccountId, kind: TokenKind, cluster: str, page: Page
    ) -> Sequence[IssuedToken]:
        """Return one page of those of the account's tokens that a cluster applies to."""
        policy = await self._policy(account)
        default = policy.origin_cluster or AUTO
        found = await self._store.tokens_by_cluster(account, kind, cluster, default, page)
        return [self._opened(record, policy) for record in found]

    async def sync_restream(self, account: AccountId, token_id: TokenId) -> None:
        """Have what runs with a publish token take over the targets it is sent on to, as they are now.

        Raises: NotFound.
        """

        def synced(terms: TokenTerms) -> TokenTerms:
            options = terms.publishing
            return replace(terms, publishing=replace(options, restream_sync=options.restream_sync + 1))

        await self.change(account, TokenKind.PUBLISH, token_id, synced)

    async def change(
        self, account: AccountId, kind: TokenKind, token_id: TokenId, change: ChangeTerms, *, renew: bool = False
    ) -> IssuedToken:
        """Change the terms and, with `renew`, give the token a new value: the old one is dead when this returns.

        Raises: NotFound; InvalidInput when the new terms cannot be right, with nothing changed.
        """
        clusters = await self._known_clusters()

        def checked(terms: TokenTerms) -> TokenTerms:
            changed = change(terms)
            check_terms(changed, kind)
            if changed.origin_cluster not in {"", terms.origin_cluster}:
                check_cluster(clusters, changed.origin_cluster)
            if changed.shadow_until != terms.shadow_until:
                check_shadow(changed.shadow_until, int(self._clock()))
            return changed

        digest = sealed = None
        if renew:
            secret = new_token()
            digest, sealed = self._digest(secret), self._keyring.seal(secret, sealed_at(token_id))
        record = await self._store.change_token(
            account, kind, token_id, TokenChange(at=self._clock(), terms=checked, digest=digest, sealed=sealed)
        )
        return self._opened(record, await self._policy(account))

    async def rotate(self, account: AccountId, kind: TokenKind, token_id: TokenId, overlap_seconds: int) -> IssuedToken:
        """Give the token a new value, with the old one good for `overlap_seconds` yet. What was used of it stays counted.

        Raises: NotFound; InvalidInput for an overlap of more than 90 days.
        """
        if not 0 <= overlap_seconds <= MOST_OVERLAP_SECONDS:
            raise InvalidInput(
                f"the overlap goes from 0 to {MOST_OVERLAP_SECONDS} seconds (90 days)", field="overlapSeconds"
            )
        secret = new_token()
        now = int(self._clock())

        def former(old: TokenRecord) -> Former:
            value = self._keyring.unseal(old.sealed, sealed_at(token_id))
            return Former(old.digest, self._keyring.seal(value, former_at(old.digest)), now + overlap_seconds)

        change = TokenChange(
            at=now,
            digest=self._digest(secret),
            sealed=self._keyring.seal(secret, sealed_at(token_id)),
            former=former if overlap_seconds else None,
        )
        record = await self._store.change_token(account, kind, token_id, change)
        return self._opened(record, await self._policy(account))

    async def former_uses(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> Sequence[FormerUse]:
        """Return how the values were used that the token had before it was rotated, newest first.

        Raises: NotFound.
        """
        await self._read(account, kind, token_id)
        return await self._store.former_uses(token_id)

    async def end_former(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> None:
        """End the overlap: the values that the token had before are refused when this returns.

        Raises: NotFound.
        """
        await self._store.end_former(account, kind, token_id)

    async def revoke(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> None:
        """Revoke a token for ever: when this returns, no worker lets it in. What a publish token runs is ended.

        Raises: NotFound.
        """
        await self._store.revoke_token(account, kind, token_id, int(self._clock()))
        if kind is TokenKind.PUBLISH and self._end_streams is not None:
            await self._end_streams(account, token_id)

    def _opened(self, record: TokenRecord, policy: AccountPolicy) -> IssuedToken:
        return self._shown(record, self._keyring.unseal(record.sealed, sealed_at(record.id)), policy)

    def _shown(self, record: TokenRecord, secret: Secret, policy: AccountPolicy) -> IssuedToken:
        shown = record.kind is TokenKind.PUBLISH and record.terms.publishing.display_srt_passphrase
        passphrase = srt_passphrase(self._keyring.digest, record.digest) if shown else None
        return IssuedToken(record, secret, policy, passphrase)

    async def _known_clusters(self) -> Collection[str]:
        """Return the names that `originCluster` may have; none where any goes."""
        return () if self._clusters is None else await self._clusters()

    async def _kept(
        self, account: AccountId, kind: TokenKind, secret: Secret, request: Request | None
    ) -> TokenRecord | None:
        """Return the token that was kept with that value after all.

        Raises: Unavailable.
        """
        try:
            record = await self._store.find_token(self._digest(secret))
        except NotFound:
            return None
        except Unavailable:
            self._unsure.remember(account, request, secret)
            raise
        return record if record.account == account and record.kind is kind else None

    def _digest(self, secret: Secret) -> bytes:
        value = parse_opaque(secret.reveal())
        assert value is not None  # noqa: S101  what new_token makes is a token
        return self._keyring.digest(value)


def new_stream_name() -> str:
    """Make a stream name that nobody else has, and that is easily typed."""
    return "".join(secrets.choice(_NAME_LETTERS) for _ in range(_NAME_LENGTH))


def _idempotency(request: Request | None) -> Idempotency | None:
    """Return what the store is to keep of a request with a key of its own.

    Raises: InvalidInput for a key that is too long, or empty.
    """
    if request is None or request.idempotency_key is None:
        return None
    if not 1 <= len(request.idempotency_key) <= MAX_IDEMPOTENCY_KEY or not request.idempotency_key.isprintable():
        raise InvalidInput(f"Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} characters", field="Idempotency-Key")
    return Idempotency(request.idempotency_key, request.fingerprint)
