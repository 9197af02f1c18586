"""Janus: signed tokens (docs/contracts/engine-tokens.md, "Janus")."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from stagedoor.model.errors import InvalidInput
from stagedoor.model.secret import Secret

VIDEOROOM: Final = "janus.plugin.videoroom"
"""The realm of a room's token, and the plugin that a token of the core names."""

CORE: Final = "janus"
"""The realm of a token of the core."""


def signed_token(*, last_second: int, realm: str, descriptors: Sequence[str], secret: Secret) -> Secret:
    """Return `expiry,realm,descriptor...:signature`, good through `last_second` (seconds since the epoch).

    The signature is HMAC-SHA1 as base64 with padding.

    Raises: InvalidInput for a part with a comma or a colon, which would make other parts of it.
    """
    parts = (realm, *descriptors)
    # Security: a stream named "a,room=b" must not become a token for the room b.
    if any("," in part or ":" in part for part in parts):
        raise InvalidInput("a token of Janus has no room for names with a comma or a colon", field="stream")
    data = ",".join((str(last_second), *parts))
    signature = hmac.new(secret.reveal().encode(), data.encode(), hashlib.sha1).digest()
    return Secret(f"{data}:{base64.b64encode(signature).decode()}")
