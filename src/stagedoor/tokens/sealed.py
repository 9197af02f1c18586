"""The names of the places that sealed values are bound to (see `tokens.keyring`): a value that was moved does not open."""

from stagedoor.model.ids import TokenId


def sealed_at(token_id: TokenId) -> str:
    """Return the place of a token's value, or of the public key of one whose tokens an account trusts."""
    return f"token.sealed:{token_id}"


def former_at(digest: bytes) -> str:
    """Return the place of a value that a token had before."""
    return f"former_secret.sealed:{digest.hex()}"
