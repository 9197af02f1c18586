"""SRT passphrases of publish tokens: made of the token's value, so nothing is kept and a renewed token has another one."""

from collections.abc import Callable
from typing import Final

from stagedoor.model.secret import Secret

_LENGTH: Final = 32
"""Characters of hexadecimal: 128 bits. SRT takes 10 to 79 characters (haivision srt, SRTO_PASSPHRASE)."""


def srt_passphrase(digest: Callable[[bytes], bytes], token_digest: bytes) -> Secret:
    """Return the passphrase of the token whose value has `token_digest`; `digest` is the keyring's."""
    return Secret(digest(b"srt passphrase " + token_digest).hex()[:_LENGTH])
