"""The operations on API tokens: get one (RFC 6749 section 4.4), ask about one (RFC 7662), revoke one (RFC 7009)."""

from functools import partial
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from stagedoor.edge.oauth.client import client_of
from stagedoor.edge.oauth.dialect import NO_STORE
from stagedoor.edge.operation import Call, Operation, Page
from stagedoor.model.errors import UnsupportedGrant
from stagedoor.model.scope import write_scopes
from stagedoor.service.api_tokens import CLIENT_TOKENS, MAX_SECONDS, ApiTokens, IssuedApiToken
from stagedoor.service.applications import Applications

GRANT: Final = "client_credentials"
_JSON: Final = "application/json"


class AskForToken(Struct, kw_only=True):
    """What an application sends for a token. Its key and secret stand here, or in `Authorization: Basic`."""

    grant_type: str
    expires_in: Annotated[str, Meta(pattern="^[0-9]{1,9}$")] | None = None
    scope: str | None = None
    client_id: str = ""
    client_secret: str = field(default="")


class OfToken(Struct, kw_only=True):
    """A token that is asked about, or to be revoked. `token_type_hint` is not needed, and not looked at."""

    token: str
    token_type_hint: str = ""
    client_id: str = ""
    client_secret: str = field(default="")


class AskForClientToken(Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """A token for a client of an application's: what it may do, and whom it is for."""

    session_scope: str
    external_id: str = ""
    expires_in: int | None = field(name="expires_in", default=None)


class TokenAnswer(Struct, kw_only=True):
    """A token; `expires_in` is in seconds."""

    access_token: str
    token_type: str = "Bearer"
    expires_in: int
    scope: str


class Introspection(Struct, kw_only=True):
    """What is known of a token. Of one that is not good, or not the application's own, only that it is not active."""

    active: bool
    token_type: str | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    sub: str | UnsetType = UNSET
    aud: str | UnsetType = UNSET
    iss: str | UnsetType = UNSET
    iat: int | UnsetType = UNSET
    exp: int | UnsetType = UNSET
    jti: str | UnsetType = UNSET
    external_id: str | UnsetType = UNSET


def token_operations(applications: Applications, tokens: ApiTokens) -> tuple[Operation, ...]:
    """Return the operations below /v1/auth."""

    async def issue(call: Call) -> Page:
        application = await client_of(call, applications)
        asked: AskForToken = call.body
        if asked.grant_type != GRANT:
            raise UnsupportedGrant(f"the grant_type is {GRANT}", field="grant_type")
        seconds = None if asked.expires_in is None else int(asked.expires_in)
        return _page(_answer(await tokens.issue(application, seconds, asked.scope)))

    async def introspect(call: Call) -> Page:
        application = await client_of(call, applications)
        asked: OfToken = call.body
        return _page(await tokens.introspect(application, asked.token))

    async def revoke(call: Call) -> Page:
        application = await client_of(call, applications)
        asked: OfToken = call.body
        await tokens.revoke(application, asked.token)
        return _page({})

    operation = partial(
        Operation, method="POST", tag="API tokens", public=True, by_application=True, form=True, refusals=(400,)
    )
    return (
        operation(
            path="/v1/auth/token",
            name="create_api_token",
            summary="Get an API token for an application",
            handle=issue,
            body=AskForToken,
            answer=TokenAnswer,
            example={"grant_type": GRANT, "expires_in": 1800},
            text=f"Good for 1800 seconds, or `expires_in`, up to {MAX_SECONDS}; for all that the application may do, or `scope`.",
        ),
        operation(
            path="/v1/auth/introspect",
            name="introspect_api_token",
            summary="Ask about an API token of the application's own",
            handle=introspect,
            body=OfToken,
            answer=Introspection,
            example={"token": "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"},
        ),
        operation(
            path="/v1/auth/revoke",
            name="revoke_api_token",
            summary="Revoke an API token of the application's own",
            handle=revoke,
            body=OfToken,
            answer=dict[str, Any],
            example={"token": "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"},
            text="It is refused when this returns. One that there is not is answered the same.",
        ),
    )


def client_token_operations(tokens: ApiTokens) -> tuple[Operation, ...]:
    """Return the operation below /v2."""

    async def issue(call: Call) -> Page:
        asked: AskForClientToken = call.body
        issued = await tokens.issue_to_client(call.caller, asked.session_scope, asked.external_id, asked.expires_in)
        return _page(_answer(issued))

    return (
        Operation(
            method="POST",
            path="/v2/client-access-token",
            name="create_client_access_token",
            tag="API tokens",
            scope=CLIENT_TOKENS,
            summary="Get a token for a client of the application",
            handle=issue,
            body=AskForClientToken,
            answer=TokenAnswer,
            example={"sessionScope": "live:publish_token:read", "externalId": "viewer-7", "expires_in": 600},
            text="It may do what stands in `sessionScope`, which the access token that is shown has to have."
            " An API secret, and a client's own token, are not taken here.",
        ),
    )


def _answer(issued: IssuedApiToken) -> TokenAnswer:
    return TokenAnswer(
        access_token=issued.text.reveal(), expires_in=issued.seconds, scope=write_scopes(issued.record.scopes)
    )


def _page(data: object) -> Page:
    return Page(_JSON, msgspec.json.encode(data), NO_STORE)
