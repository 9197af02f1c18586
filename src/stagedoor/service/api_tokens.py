"""API tokens: what an application gets for its key and secret, and what it hands on to its clients.

A token is a JWT that whoever has our public keys can read (RFC 9068). We ourselves know a token by the digest of its whole
text, so one that was altered, or signed by anybody else, is never found; and we see at once what was revoked.
"""

import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from stagedoor.model.application import (
    ApiToken,
    ApiTokenFacts,
    ApiTokenKind,
    Application,
    Caller,
    CallerKind,
)
from stagedoor.model.errors import (
    InvalidClient,
    InvalidInput,
    InvalidScope,
    NotFound,
    NotPermitted,
    OutOfScope,
)
from stagedoor.model.key import Algorithm
from stagedoor.model.scope import Scopes, both, covers_all, parse_scopes, write_scopes
from stagedoor.model.secret import Secret
from stagedoor.service.key_ports import Signer
from stagedoor.service.oauth_ports import ApiTokenStore, ApplicationStore
from stagedoor.service.ports import Clock
from stagedoor.service.slowdown import Slowdown
from stagedoor.tokens.keyring import Keyring, base64url

_log = logging.getLogger(__name__)

DEFAULT_SECONDS: Final = 1800
MAX_SECONDS: Final = 86_400

MAX_TOKEN: Final = 8192
"""Longest text that is looked up, in characters; ours are shorter."""

MAX_EXTERNAL_ID: Final = 128
"""Longest external id, in characters."""

CLIENT_TOKENS: Final = "live:client_access_token:create"
"""What an application needs to hand on tokens to its clients."""

_TYPE: Final = "at+jwt"
_KEPT_SECONDS: Final = 7 * 86_400

FactsOf = Callable[[bytes], Awaitable[ApiTokenFacts | None]]
"""Return what is known of the API token that has a digest, never older than the newest acknowledged write."""


@dataclass(frozen=True, slots=True)
class IssuedApiToken:
    """An API token and its text, which is not kept."""

    record: ApiToken
    text: Secret

    @property
    def seconds(self) -> int:
        """For how long it is good."""
        return self.record.expires_at - self.record.issued_at


class ApiTokens:
    """The API tokens of all applications."""

    def __init__(
        self,
        *,
        store: ApiTokenStore,
        applications: ApplicationStore,
        facts_of: FactsOf,
        signer: Signer,
        keyring: Keyring,
        clock: Clock,
        slowdown: Slowdown,
        issuer: str,
    ) -> None:
        """Take the collaborators; `issuer` is the address of this system, which tokens are from and for."""
        self._store = store
        self._applications = applications
        self._facts_of = facts_of
        self._signer = signer
        self._keyring = keyring
        self._clock = clock
        self._slowdown = slowdown
        self.issuer = issuer

    async def issue(self, application: Application, expires_in: int | None, scope: str | None) -> IssuedApiToken:
        """Issue a token to an application; without a `scope` it may do all that the application may.

        Raises: InvalidInput; InvalidScope for one that the application has not, or that there is not.
        """
        seconds = _seconds(expires_in)
        scopes = application.scopes if scope is None else parse_scopes(scope)
        if not covers_all(application.scopes, scopes):
            raise InvalidScope(f"the application has only {write_scopes(application.scopes)}", field="scope")
        return await self._issue(application, ApiTokenKind.ACCESS, scopes, seconds, "")

    async def issue_to_client(
        self, caller: Caller, session_scope: str, external_id: str, expires_in: int | None
    ) -> IssuedApiToken:
        """Issue a token that an application hands on; it may do no more than the application and the token shown for it.

        Raises: InvalidInput; InvalidScope; OutOfScope when it is no application's own token that is shown.
        """
        if caller.kind is not CallerKind.ACCESS_TOKEN:
            raise OutOfScope(
                "only an application, with its own access token, gets tokens for clients", scope=CLIENT_TOKENS
            )
        seconds = _seconds(expires_in)
        if len(external_id) > MAX_EXTERNAL_ID or not external_id.isprintable():
            raise InvalidInput(f"externalId has up to {MAX_EXTERNAL_ID} printable characters", field="externalId")
        scopes = parse_scopes(session_scope, field="sessionScope")
        if not covers_all(caller.scopes, scopes):
            raise InvalidScope(f"the access token has only {write_scopes(caller.scopes)}", field="sessionScope")
        application = await self._applications.application(caller.account, caller.application_id)
        return await self._issue(application, ApiTokenKind.CLIENT, scopes, seconds, external_id)

    async def authenticate(self, text: str, client_ip: str) -> Caller:
        """Return whom an API token speaks for, shown from an address: what both it and its application may do.

        Raises: NotPermitted whatever is wrong with it, and later each time when it is none of ours; TooMany.
        """
        facts = await self._facts(text)
        if facts is None:
            await self._slowdown.failed(client_ip)
            raise NotPermitted("Unauthorized")
        token = facts.token
        if not self._good(facts):
            raise NotPermitted("Unauthorized")
        kind = CallerKind.CLIENT_TOKEN if token.kind is ApiTokenKind.CLIENT else CallerKind.ACCESS_TOKEN
        return Caller(token.account, both(token.scopes, facts.application_scopes), kind, token.application_id)

    async def introspect(self, application: Application, text: str) -> dict[str, Any]:
        """Tell an application of a token of its own (RFC 7662 section 2.2); of any other, that it is not active."""
        facts = await self._facts(text)
        if facts is None or facts.token.application_id != application.id or not self._good(facts):
            return {"active": False}
        token = facts.token
        scopes = both(token.scopes, facts.application_scopes)
        claims = self._claims(token, application.key) | {"scope": write_scopes(scopes)}
        return {"active": True, "token_type": "Bearer", **claims}

    async def revoke(self, application: Application, text: str) -> None:
        """Revoke a token of an application's own; what is none is as if it were revoked already (RFC 7009 section 2.2)."""
        if len(text) <= MAX_TOKEN:
            await self._store.revoke(application.id, self._digest(text), int(self._clock()))

    async def tidy(self) -> int:
        """Delete tokens that have been over for a week, and return how many there were.

        Raises: Unavailable.
        """
        return await self._store.forget(int(self._clock()) - _KEPT_SECONDS)

    async def _issue(
        self, application: Application, kind: ApiTokenKind, scopes: Scopes, seconds: int, external_id: str
    ) -> IssuedApiToken:
        now = int(self._clock())
        token = ApiToken(
            jti=base64url(os.urandom(16)),
            account=application.account,
            application_id=application.id,
            key_id=0,
            kind=kind,
            scopes=scopes,
            external_id=external_id,
            issued_at=now,
            expires_at=now + seconds,
        )
        signed = await self._signer.sign(self._claims(token, application.key), algorithm=Algorithm.ES256, typ=_TYPE)
        token = replace(token, key_id=signed.key_id)
        try:
            await self._store.add(token, self._digest(signed.text.reveal()), application.key)
        except NotFound:
            raise InvalidClient("the application's key and secret are not known") from None
        return IssuedApiToken(token, signed.text)

    def _claims(self, token: ApiToken, client_id: str) -> dict[str, Any]:
        """Return the claims of RFC 9068 section 2.2."""
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.issuer,
            "sub": client_id,
            "client_id": client_id,
            "scope": write_scopes(token.scopes),
            "iat": token.issued_at,
            "exp": token.expires_at,
            "jti": token.jti,
        }
        return claims | ({"external_id": token.external_id} if token.external_id else {})

    async def _facts(self, text: str) -> ApiTokenFacts | None:
        return await self._facts_of(self._digest(text)) if len(text) <= MAX_TOKEN else None

    def _good(self, facts: ApiTokenFacts) -> bool:
        return facts.open and facts.token.issued_at <= self._clock() < facts.token.expires_at

    def _digest(self, text: str) -> bytes:
        return self._keyring.digest(text.encode())


def _seconds(expires_in: int | None) -> int:
    if expires_in is None:
        return DEFAULT_SECONDS
    if not 1 <= expires_in <= MAX_SECONDS:
        raise InvalidInput(f"expires_in goes from 1 to {MAX_SECONDS} seconds", field="expires_in")
    return expires_in
