"""nginx: `secure_link` (ngx_http_secure_link_module). The configuration that verifies it: docs/contracts/engine-tokens.md.

The expression that is hashed is `$secure_link_expires /$stream $remote_addr SECRET`, without the address where links are not
bound to one. Parts are kept apart by spaces, which no stream name has; the secret stands last, so that nothing can be added.
"""

import hashlib

from stagedoor.model.secret import Secret
from stagedoor.tokens.keyring import base64url


def link(*, path: str, last_second: int, secret: Secret, address: str = "") -> str:
    """Return `MD5/EXPIRES` for the directory `path`, good through `last_second` (seconds since the epoch).

    It goes before the path in a URL, so what a playlist there names by relative addresses carries it too.
    """
    parts = [str(last_second), f"/{path}", *([address] if address else []), secret.reveal()]
    # Security: MD5 is what nginx offers; with an unknown key at the end its collisions do not help a forger.
    digest = hashlib.md5(" ".join(parts).encode(), usedforsecurity=False).digest()
    return f"{base64url(digest)}/{last_second}"
