"""Opaque tokens: 32 random bytes, written as 64 lower-case hexadecimal characters, and read in either case.

The same bytes are accepted as 43 characters of unpadded base64url (RFC 4648 section 5): RTMP and SRT clients send them so
in `t=`, where length is short. Nothing else is a token, so a cut-off copy is told from one that is merely unknown.
"""

import base64
import binascii
import os
import re
from typing import Final

from stagedoor.model.secret import Secret
from stagedoor.tokens.keyring import base64url

TOKEN_BYTES: Final = 32
_HEX_LENGTH: Final = 64
_BASE64_LENGTH: Final = 43
_BASE64 = re.compile(r"[A-Za-z0-9_-]{43}")


def new_token() -> Secret:
    """Make a token text from the system's randomness."""
    return Secret(os.urandom(TOKEN_BYTES).hex())


def parse_opaque(unverified_token: str) -> bytes | None:
    """Return the 32 bytes that a token text stands for; None when it is not a token text. Never raises."""
    if len(unverified_token) == _HEX_LENGTH:
        try:
            value = bytes.fromhex(unverified_token)
        except ValueError:
            return None
        # Security: fromhex skips spaces, so the length says whether every character was a digit.
        return value if len(value) == TOKEN_BYTES else None
    if len(unverified_token) == _BASE64_LENGTH and _BASE64.fullmatch(unverified_token):
        try:
            value = base64.urlsafe_b64decode(unverified_token + "=")
        except binascii.Error:
            return None
        # Security: the two spare bits must be zero, so that each token has exactly one such text.
        return value if base64url(value) == unverified_token else None
    return None
