"""Keys and secrets of applications: `sdk_` + 22 characters, and `sda_` + 43 characters + 6 of checksum, all base64url.

The checksum lets a scanner tell a leaked secret from any other text without asking us; it is not a defence.
"""

import os
import re
from typing import Final

from stagedoor.model.secret import Secret
from stagedoor.tokens.api_secret import checksum
from stagedoor.tokens.keyring import base64url

KEY_PREFIX: Final = "sdk_"
SECRET_PREFIX: Final = "sda_"
_KEY: Final = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{22}}")
_SECRET: Final = re.compile(rf"{SECRET_PREFIX}(?P<body>[A-Za-z0-9_-]{{43}})(?P<checksum>[A-Za-z0-9_-]{{6}})")


def new_application_key() -> str:
    """Make a key: it names an application, and opens nothing."""
    return f"{KEY_PREFIX}{base64url(os.urandom(16))}"


def new_application_secret() -> Secret:
    """Make a secret from the system's randomness."""
    body = base64url(os.urandom(32))
    return Secret(f"{SECRET_PREFIX}{body}{checksum(body)}")


def is_application_key(text: str) -> bool:
    """Tell whether `text` has the form of a key."""
    return _KEY.fullmatch(text) is not None


def is_application_secret(text: str) -> bool:
    """Tell whether `text` has the form of a secret, checksum included."""
    match = _SECRET.fullmatch(text)
    return match is not None and checksum(match["body"]) == match["checksum"]
