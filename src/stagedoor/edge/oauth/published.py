"""What anybody may read of us: our public keys, and where tokens are got (RFC 8414)."""

from typing import Any, Final

import msgspec

from stagedoor.edge.oauth.tokens import GRANT
from stagedoor.edge.operation import Call, Operation, Page
from stagedoor.model.scope import KNOWN
from stagedoor.service.signing_keys import SigningKeys

KEYS_SECONDS: Final = 300
"""For how long our public keys may be kept by who reads them."""


_HEADERS: Final = ((b"cache-control", b"public, max-age=%d" % KEYS_SECONDS), (b"access-control-allow-origin", b"*"))
_METHODS: Final = ("client_secret_basic", "client_secret_post")


class JsonWebKeySet(msgspec.Struct, kw_only=True):
    """Public keys (RFC 7517 section 5)."""

    keys: list[dict[str, Any]]


class AuthorizationServer(msgspec.Struct, kw_only=True):
    """Where tokens are got, and how (RFC 8414 section 2)."""

    issuer: str
    token_endpoint: str
    introspection_endpoint: str
    revocation_endpoint: str
    jwks_uri: str
    service_documentation: str
    scopes_supported: list[str]
    grant_types_supported: list[str]
    response_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    introspection_endpoint_auth_methods_supported: list[str]
    revocation_endpoint_auth_methods_supported: list[str]


def published_operations(signing_keys: SigningKeys, url: str) -> tuple[Operation, ...]:
    """Return the operations; `url` is where we are reached, and whom our tokens name as their issuer."""

    async def keys(_call: Call) -> Page:
        content = msgspec.json.encode(await signing_keys.published())
        return Page("application/json", content, _HEADERS)

    async def metadata(_call: Call) -> Page:
        return Page("application/json", msgspec.json.encode(_metadata(url)), _HEADERS)

    return (
        Operation(
            method="GET",
            path="/.well-known/jwks.json",
            name="read_keys",
            tag="Keys",
            summary="Read the public keys that our signed tokens are checked with",
            handle=keys,
            answer=JsonWebKeySet,
            public=True,
            refusals=(),
            text="A JWK set (RFC 7517). A key that was revoked is not in it, and nothing that it signed is good any more.",
        ),
        Operation(
            method="GET",
            path="/.well-known/oauth-authorization-server",
            name="read_authorization_server",
            tag="API tokens",
            summary="Read where API tokens are got, and how",
            handle=metadata,
            answer=AuthorizationServer,
            public=True,
            refusals=(),
        ),
    )


def _metadata(url: str) -> AuthorizationServer:
    return AuthorizationServer(
        issuer=url,
        token_endpoint=f"{url}/v1/auth/token",
        introspection_endpoint=f"{url}/v1/auth/introspect",
        revocation_endpoint=f"{url}/v1/auth/revoke",
        jwks_uri=f"{url}/.well-known/jwks.json",
        service_documentation=f"{url}/openapi",
        scopes_supported=sorted(KNOWN),
        grant_types_supported=[GRANT],
        response_types_supported=[],
        token_endpoint_auth_methods_supported=[*_METHODS],
        introspection_endpoint_auth_methods_supported=[*_METHODS],
        revocation_endpoint_auth_methods_supported=[*_METHODS],
    )
