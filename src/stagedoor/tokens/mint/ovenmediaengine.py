"""OvenMediaEngine: SignedPolicy (docs/contracts/engine-tokens.md, "OvenMediaEngine"). Its instants are in milliseconds."""

import hashlib
import hmac

import msgspec

from stagedoor.model.secret import Secret
from stagedoor.tokens.keyring import base64url


class Policy(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What OvenMediaEngine checks. `url_expire` stops new starts, `stream_expire` ends what runs; both in milliseconds.

    `allow_ip` is an IPv4 network of the socket's peer, `real_ip` one of the client behind a proxy.
    """

    url_expire: int
    url_activate: int | None = None
    stream_expire: int | None = None
    allow_ip: str | None = None
    real_ip: str | None = None


def signed_policy(
    url: str, policy: Policy, secret: Secret, *, policy_query: str = "policy", signature_query: str = "signature"
) -> str:
    """Return `url` with a policy and its signature. The URL is the one that the server will put together again.

    So it has its port, even the default one, and its other parameters are signed with it.
    """
    encoded = base64url(msgspec.json.encode(policy))
    return sign(f"{url}{'&' if '?' in url else '?'}{policy_query}={encoded}", secret, signature_query=signature_query)


def sign(url: str, secret: Secret, *, signature_query: str = "signature") -> str:
    """Return `url`, which has its policy, with the signature: HMAC-SHA1 as unpadded base64url."""
    signature = hmac.new(secret.reveal().encode(), url.encode(), hashlib.sha1).digest()
    return f"{url}&{signature_query}={base64url(signature)}"
