"""API secrets: `sds_` + 43 characters of base64url (32 random bytes) + 6 of checksum.

The prefix and the checksum let a scanner tell a leaked secret from any other text without asking us; they are not a
defence. Only a keyed digest is kept, so a secret is shown once, when it is made.
"""

import os
import re
import zlib
from typing import Final

from stagedoor.model.secret import Secret
from stagedoor.tokens.keyring import base64url

PREFIX: Final = "sds_"
_FORM: Final = re.compile(rf"{PREFIX}(?P<body>[A-Za-z0-9_-]{{43}})(?P<checksum>[A-Za-z0-9_-]{{6}})")


def new_api_secret() -> Secret:
    """Make an API secret from the system's randomness."""
    body = base64url(os.urandom(32))
    return Secret(f"{PREFIX}{body}{checksum(body)}")


def hint_of(secret: Secret) -> str:
    """Return how a secret begins, by which its owner knows it again."""
    return secret.reveal()[: len(PREFIX) + 6]


def checksum(body: str) -> str:
    """Return the 6 characters that follow `body`: its CRC-32 as base64url."""
    return base64url(zlib.crc32(body.encode()).to_bytes(4))


def is_api_secret(text: str) -> bool:
    """Tell whether `text` has the form of an API secret, checksum included."""
    match = _FORM.fullmatch(text)
    return match is not None and checksum(match["body"]) == match["checksum"]
