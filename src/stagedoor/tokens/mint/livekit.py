"""LiveKit: access tokens (docs/contracts/engine-tokens.md, "LiveKit")."""

import hashlib
import hmac
from typing import Final

import msgspec

from stagedoor.model.access import Action
from stagedoor.model.secret import Secret
from stagedoor.tokens.keyring import base64url

LEEWAY_SECONDS: Final = 60
"""How long after its end LiveKit still takes a token."""

_HEADER: Final = base64url(b'{"alg":"HS256","typ":"JWT"}')


def access_token(
    *, key: str, secret: Secret, action: Action, room: str, identity: str, now: int, expires_at: int
) -> Secret:
    """Return a JWT (HS256) that joins one room for one action. Times are in seconds.

    Everything it could do is said: what is left out of the grant LiveKit takes as allowed. `nbf` is what its own revocation
    goes by. A second participant of the same `identity` puts the first one out.
    """
    publishes = action is Action.PUBLISH
    claims = {
        "iss": key,
        "sub": identity,
        "nbf": now,
        "exp": expires_at,
        "video": {
            "roomJoin": True,
            "room": room,
            "canPublish": publishes,
            "canSubscribe": not publishes,
            "canPublishData": False,
            "canUpdateOwnMetadata": False,
        },
    }
    signed = f"{_HEADER}.{base64url(msgspec.json.encode(claims))}"
    signature = hmac.new(secret.reveal().encode(), signed.encode(), hashlib.sha256).digest()
    return Secret(f"{signed}.{base64url(signature)}")
