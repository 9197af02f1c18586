"""Bytes to model and back: opaque tokens, API secrets, stream patterns, the keyring."""
