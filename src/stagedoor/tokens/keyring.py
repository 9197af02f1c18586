"""The keys: one to find secrets by a digest, some to seal them at rest.

The keyring lives in a file of its own, never in the database: a stolen database holds no secret that can be used, and
no digest that can be tried against guesses. Sealing is AES-256-GCM (NIST SP 800-38D) with a fresh 96-bit nonce; the
associated data binds a sealed value to its place, so a value moved to another row does not open. Digests are keyed
BLAKE2b-256 (RFC 7693).
"""

import base64
import hashlib
import os
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stagedoor.model.errors import ConfigError
from stagedoor.model.secret import Secret

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    """The keyring as it is written: keys as base64, by name; `seal_with` names the key for new values."""

    digest_key: bytes
    sealing_keys: dict[str, bytes]
    seal_with: str
    version: int = 1


class Keyring:
    """Digest and seal secrets. Several sealing keys open old values; one of them seals new ones."""

    def __init__(self, *, digest_key: bytes, sealing_keys: Mapping[str, bytes], seal_with: str) -> None:
        """Take keys of 32 bytes each.

        Raises: ConfigError for a key of another length or a `seal_with` that names none.
        """
        lengths = {len(key) for key in (digest_key, *sealing_keys.values())}
        if lengths != {KEY_BYTES} or seal_with not in sealing_keys or any(len(_utf8(k)) > 255 for k in sealing_keys):
            raise ConfigError("the keyring is damaged; restore it from the backup that was made with the database")
        self._digest_key = digest_key
        self._keyed = hashlib.blake2b(digest_size=32, key=digest_key)
        self._keys = dict(sealing_keys)
        self._seal_with = seal_with

    @classmethod
    def generate(cls) -> "Keyring":
        """Make a keyring with new random keys."""
        return cls(digest_key=os.urandom(KEY_BYTES), sealing_keys={"1": os.urandom(KEY_BYTES)}, seal_with="1")

    @classmethod
    def load(cls, data: bytes) -> "Keyring":
        """Read what `dump` wrote.

        Raises: ConfigError when it is not that.
        """
        try:
            file = msgspec.json.decode(data, type=_KeyFile)
        except msgspec.MsgspecError:
            raise ConfigError("the keyring cannot be read; restore it from a backup") from None
        if file.version != 1:
            raise ConfigError(f"the keyring has version {file.version}, which this version of stagedoor does not know")
        return cls(digest_key=file.digest_key, sealing_keys=file.sealing_keys, seal_with=file.seal_with)

    def dump(self) -> bytes:
        """Write the keyring, keys and all: for its file and nothing else."""
        return msgspec.json.encode(_KeyFile(self._digest_key, self._keys, self._seal_with))

    def digest(self, secret: bytes) -> bytes:
        """Return the 32-byte keyed digest that `secret` is found by."""
        state = self._keyed.copy()
        state.update(secret)
        return state.digest()

    def seal(self, secret: Secret, place: str) -> bytes:
        """Encrypt `secret` for `place`, a text that names where it is kept (table, column, row)."""
        nonce = os.urandom(_NONCE_BYTES)
        name = self._seal_with.encode()
        sealed = AESGCM(self._keys[self._seal_with]).encrypt(nonce, secret.reveal().encode(), place.encode())
        return bytes((len(name),)) + name + nonce + sealed

    def unseal(self, sealed: bytes, place: str) -> Secret:
        """Decrypt what `seal` made for the same `place`.

        Raises: ConfigError when the key is missing or the value was changed, cut or moved.
        """
        end = 1 + sealed[0] if sealed else 0
        key = self._keys.get(sealed[1:end].decode(errors="replace"))
        if key is None or len(sealed) < end + _NONCE_BYTES:
            raise ConfigError(
                "a sealed value names a key that is not in the keyring; restore the keyring from a backup"
            )
        nonce, body = sealed[end : end + _NONCE_BYTES], sealed[end + _NONCE_BYTES :]
        try:
            return Secret(AESGCM(key).decrypt(nonce, body, place.encode()).decode())
        except InvalidTag:
            raise ConfigError(
                "a sealed value does not open; the keyring is another database's, or the row was changed"
            ) from None

    def __repr__(self) -> str:
        """Show which keys there are, never a key."""
        return f"Keyring(sealing_keys={sorted(self._keys)}, seal_with={self._seal_with!r})"


def _utf8(text: str) -> bytes:
    return text.encode(errors="replace")


def base64url(data: bytes) -> str:
    """Write `data` as unpadded base64url (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
