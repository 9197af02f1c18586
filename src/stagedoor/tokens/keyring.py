"""The keys: one to find secrets by a digest, some to seal them at rest.

The keyring lives in a file of its own, never in the database: a stolen database holds no secret that can be used, and
no digest that can be tried against guesses. Sealing is AES-256-GCM (NIST SP 800-38D) with a fresh 96-bit nonce; the
associated data binds a sealed value to its place, so a value moved to another row does not open. Digests are keyed
BLAKE2b-256 (RFC 7693).

Its file may itself be sealed under a master key that is kept elsewhere (AES-256-GCM again). Which of the keys seals stands
in the clear there, bound to the rest, so that a process without the master key still learns that it must not seal with
another one.
"""

import base64
import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stagedoor.model.errors import ConfigError
from stagedoor.model.secret import Secret

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MOST_DIGITS: Final = 18
_NOT_READ: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What reading JSON raises: some bytes that are no UTF-8 have an error of their own."""


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    """The keyring as it is written: keys as base64, by name; `seal_with` names the key for new values."""

    digest_key: bytes
    sealing_keys: dict[str, bytes]
    seal_with: str
    version: int = 1


class _WrappedFile(msgspec.Struct, forbid_unknown_fields=True):
    """A keyring under a master key: nonce and ciphertext of what `Keyring.dump` writes."""

    seal_with: str
    wrapped: bytes
    version: int = 2


class _Clear(msgspec.Struct):
    """What is readable of every form."""

    version: int
    seal_with: str


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
        self._newer: Callable[[], Keyring | None] = lambda: None

    @classmethod
    def generate(cls) -> "Keyring":
        """Make a keyring with new random keys."""
        return cls(digest_key=os.urandom(KEY_BYTES), sealing_keys={"1": os.urandom(KEY_BYTES)}, seal_with="1")

    @classmethod
    def load(cls, data: bytes, master_key: bytes | None = None) -> "Keyring":
        """Read what `dump` wrote with the same `master_key`.

        Raises: ConfigError when it is not that.
        """
        clear = _clear(data)
        if clear.version not in (1, 2):
            raise ConfigError(f"the keyring has version {clear.version}, which this version of stagedoor does not know")
        if clear.version == 1 and master_key is not None:
            # Security: one that somebody put in its place would be believed.
            raise ConfigError(
                "the keyring is not sealed, and a master key is set; stagedoor master-key change seals it, or unset the"
                " master key"
            )
        if clear.version == 2:
            if master_key is None:
                raise ConfigError(
                    "the keyring is sealed under a master key; set STAGEDOOR_MASTER_KEY, STAGEDOOR_MASTER_KEY_FILE or"
                    " STAGEDOOR_MASTER_KEY_COMMAND"
                )
            data = _unwrap(data, master_key)
        try:
            file = msgspec.json.decode(data, type=_KeyFile)
        except _NOT_READ:
            raise _unreadable() from None
        if file.version != 1 or file.seal_with != clear.seal_with:
            raise _unreadable()
        return cls(digest_key=file.digest_key, sealing_keys=file.sealing_keys, seal_with=file.seal_with)

    def dump(self, master_key: bytes | None = None) -> bytes:
        """Write the keyring for its file: sealed under `master_key` (32 bytes), or with its keys in the clear."""
        plain = msgspec.json.encode(_KeyFile(self._digest_key, self._keys, self._seal_with))
        if master_key is None:
            return plain
        nonce = os.urandom(_NONCE_BYTES)
        wrapped = nonce + AESGCM(master_key).encrypt(nonce, plain, _wrapping(self._seal_with))
        return msgspec.json.encode(_WrappedFile(self._seal_with, wrapped))

    # -- keys that come and go

    @property
    def seal_with(self) -> str:
        """The name of the key that seals."""
        return self._seal_with

    @property
    def is_resealing(self) -> bool:
        """Whether there are keys besides the one that seals."""
        return len(self._keys) > 1

    @property
    def mark(self) -> bytes:
        """What every value begins with that is sealed with the key that seals now."""
        name = self._seal_with.encode()
        return bytes((len(name),)) + name

    def with_new_key(self) -> "Keyring":
        """Return a keyring that opens what this one opens, and seals with a new random key."""
        numbers = [int(name) for name in self._keys if name.isascii() and name.isdigit() and len(name) < _MOST_DIGITS]
        name = str(max(numbers, default=0) + 1)
        keys = {**self._keys, name: os.urandom(KEY_BYTES)}
        return Keyring(digest_key=self._digest_key, sealing_keys=keys, seal_with=name)

    def without_old_keys(self) -> "Keyring":
        """Return a keyring with the key that seals and no other."""
        keys = {self._seal_with: self._keys[self._seal_with]}
        return Keyring(digest_key=self._digest_key, sealing_keys=keys, seal_with=self._seal_with)

    def follow(self, newer: Callable[[], "Keyring | None"]) -> None:
        """Take keys from what `newer` returns: the keyring as it is now, None while it has not changed.

        It is asked before each sealing, and when a key is not known. Keys that are gone there still open values here, until
        this process ends: it may hold values that it read before.
        """
        self._newer = newer

    def _catch_up(self) -> None:
        """Take what is new.

        Raises: ConfigError when it cannot be read, or is another system's.
        """
        fresh = self._newer()
        if fresh is None:
            return
        if fresh._digest_key != self._digest_key:  # noqa: SLF001  another of this class
            raise ConfigError("the keyring was replaced by another system's; restore it from the backup, and restart")
        self._keys = {**self._keys, **fresh._keys}  # noqa: SLF001  the same
        self._seal_with = fresh._seal_with  # noqa: SLF001  the same

    def digest(self, secret: bytes) -> bytes:
        """Return the 32-byte keyed digest that `secret` is found by."""
        state = self._keyed.copy()
        state.update(secret)
        return state.digest()

    def seal(self, secret: Secret, place: str) -> bytes:
        """Encrypt `secret` for `place`, a text that names where it is kept (table, column, row).

        Raises: ConfigError when the keyring has changed and cannot be read any more.
        """
        self._catch_up()
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self._keys[self._seal_with]).encrypt(nonce, secret.reveal().encode(), place.encode())
        return self.mark + nonce + sealed

    def unseal(self, sealed: bytes, place: str) -> Secret:
        """Decrypt what `seal` made for the same `place`.

        Raises: ConfigError when the key is missing or the value was changed, cut or moved.
        """
        end = 1 + sealed[0] if sealed else 0
        name = sealed[1:end].decode(errors="replace")
        if name not in self._keys:
            self._catch_up()
        key = self._keys.get(name)
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


def seals_with(data: bytes) -> str:
    """Return the name of the key that seals in a keyring as it is written; no master key is needed for that.

    Raises: ConfigError when it cannot be read.
    """
    return _clear(data).seal_with


def is_sealed(data: bytes) -> bool:
    """Tell whether a keyring, as it is written, is sealed under a master key.

    Raises: ConfigError when it cannot be read.
    """
    return _clear(data).version != 1


def parse_master_key(text: str) -> bytes:
    """Read a master key: 32 bytes as base64, as `openssl rand -base64 32` writes them; white space around it is dropped.

    Raises: ConfigError for anything else, without quoting it.
    """
    try:
        key = base64.b64decode(text.strip().encode("ascii"), validate=True)
    except (ValueError, UnicodeEncodeError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError("a master key is 32 random bytes as base64; openssl rand -base64 32 makes one")
    return key


def _clear(data: bytes) -> _Clear:
    try:
        return msgspec.json.decode(data, type=_Clear)
    except _NOT_READ:
        raise _unreadable() from None


def _unwrap(data: bytes, master_key: bytes) -> bytes:
    try:
        file = msgspec.json.decode(data, type=_WrappedFile)
    except _NOT_READ:
        raise _unreadable() from None
    nonce, body = file.wrapped[:_NONCE_BYTES], file.wrapped[_NONCE_BYTES:]
    if len(nonce) < _NONCE_BYTES:
        raise _unreadable()
    try:
        return AESGCM(master_key).decrypt(nonce, body, _wrapping(file.seal_with))
    except InvalidTag:
        raise ConfigError(
            "the keyring does not open with this master key; set the one that it was sealed under, or restore the keyring"
            " from a backup"
        ) from None


def _wrapping(seal_with: str) -> bytes:
    return _utf8(f"stagedoor.keyring:2:{seal_with}")


def _unreadable() -> ConfigError:
    return ConfigError("the keyring cannot be read; restore it from a backup")


def _utf8(text: str) -> bytes:
    return text.encode(errors="replace")


def base64url(data: bytes) -> str:
    """Write `data` as unpadded base64url (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
