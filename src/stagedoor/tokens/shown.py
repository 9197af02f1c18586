"""What a token that is shown is found by, whatever its form."""

from collections.abc import Callable

from stagedoor.tokens.opaque import parse_opaque
from stagedoor.tokens.signed import MAX_SIGNED, looks_signed


def shown_digest(digest: Callable[[bytes], bytes], text: str) -> bytes | None:
    """Return what a token is found by; None for a text that is none. A signed one is found by its text."""
    value = parse_opaque(text)
    if value is None:
        if not looks_signed(text) or len(text) > MAX_SIGNED:
            return None
        value = text.encode(errors="replace")
    return digest(value)
