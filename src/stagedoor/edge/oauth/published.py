"""What anybody may read of us: our public keys."""

from typing import Any, Final

import msgspec

from stagedoor.edge.operation import Call, Operation, Page
from stagedoor.service.signing_keys import SigningKeys

KEYS_SECONDS: Final = 300
"""For how long our public keys may be kept by who reads them."""


class JsonWebKeySet(msgspec.Struct, kw_only=True):
    """Public keys (RFC 7517 section 5)."""

    keys: list[dict[str, Any]]


def published_operations(signing_keys: SigningKeys) -> tuple[Operation, ...]:
    """Return the operations."""

    async def keys(_call: Call) -> Page:
        content = msgspec.json.encode(await signing_keys.published())
        headers = ((b"cache-control", b"public, max-age=%d" % KEYS_SECONDS), (b"access-control-allow-origin", b"*"))
        return Page("application/json", content, headers)

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
    )
