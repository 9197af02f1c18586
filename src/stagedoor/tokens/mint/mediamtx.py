"""MediaMTX: claims of a JWT that it checks against our JWKS (docs/contracts/engine-tokens.md, "MediaMTX")."""

from collections.abc import Mapping
from typing import Any, Final

from stagedoor.model.access import Action
from stagedoor.model.errors import InvalidInput
from stagedoor.model.ids import StreamId

CLAIM: Final = "mediamtx_permissions"
"""Its default of `authJWTClaimKey`."""

_ACTIONS: Final = {Action.PUBLISH: "publish", Action.SUBSCRIBE: "read"}


def claims(
    *, action: Action, stream: StreamId, subject: str, now: int, expires_at: int, issuer: str = "", audience: str = ""
) -> Mapping[str, Any]:
    """Return claims for one action on one path, `ACCOUNT/STREAM` as our hook reads it. Times are in seconds.

    `subject` is what its API lists show as the user: a stable id, never a secret.

    Raises: InvalidInput for a path that MediaMTX reads as an expression.
    """
    path = str(stream)
    # Security: an empty path is any path to it, and one that begins with ~ a regular expression.
    if path.startswith("~") or not stream.account or not stream.name:
        raise InvalidInput("the path of the stream is not an exact one", field="stream")
    made: dict[str, Any] = {
        CLAIM: [{"action": _ACTIONS[action], "path": path}],
        "sub": subject,
        "iat": now,
        "nbf": now,
        "exp": expires_at,
    }
    if issuer:
        made["iss"] = issuer
    if audience:
        made["aud"] = audience
    return made
