"""The keyring's file, and the master key that it may be sealed under.

The file is replaced as a whole: written beside, seen on the disk, renamed. Whoever holds a keyring of it notices that
before the next sealing, so a key that is dropped is no longer in use anywhere.
"""

import fcntl
import logging
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from stagedoor.config import Settings
from stagedoor.model.errors import ConfigError
from stagedoor.model.secret import Secret
from stagedoor.tokens.keyring import Keyring, is_sealed, parse_master_key, seals_with

_log = logging.getLogger(__name__)

COMMAND_SECONDS: Final = 10.0
"""How long a command may take to print the master key."""

_Version = tuple[int, int, int]
"""Tells one content of the file from another: its number, its length, when it was written."""


class KeyringFile:
    """The keyring as a file, for one process."""

    def __init__(self, settings: Settings) -> None:
        """Take where it is, and where its master key is."""
        self._path = settings.keyring_file
        self._settings = settings
        self._master_key: bytes | None = None
        self._seen: _Version | None = None
        self._seal_with = ""
        self._error: ConfigError | None = None

    def create(self, keyring: Keyring) -> None:
        """Write a new system's keyring.

        Raises: OSError, also when there is one; ConfigError when the master key cannot be had.
        """
        write_private(self._path, keyring.dump(master_key(self._settings)))

    def open(self) -> Keyring:
        """Read the keyring; it goes on to take what changes in the file.

        Raises: ConfigError.
        """
        keyring = self.read()
        keyring.follow(self._newer)
        return keyring

    def read(self) -> Keyring:
        """Read the keyring as it is now.

        Raises: ConfigError.
        """
        data, version = self._read()
        self._master_key = master_key(self._settings)
        keyring = Keyring.load(data, self._master_key)
        self._seen, self._seal_with, self._error = version, keyring.seal_with, None
        return keyring

    def read_plain(self) -> Keyring | None:
        """Read a keyring that is not sealed, also where a master key is set; None when it is sealed.

        Raises: ConfigError when it is neither.
        """
        data, _ = self._read()
        return None if is_sealed(data) else Keyring.load(data)

    def replace(self, keyring: Keyring) -> None:
        """Put another keyring in its place, under the same master key.

        Raises: ConfigError when it cannot be written; the old one is then untouched.
        """
        self.replace_under(keyring, master_key(self._settings))

    def replace_under(self, keyring: Keyring, new_master_key: bytes | None) -> None:
        """Put another keyring in its place, sealed under `new_master_key`; None: not sealed.

        Raises: ConfigError when it cannot be written; the old one is then untouched.
        """
        content = keyring.dump(new_master_key)
        # What cannot be read again must not take the place of what can.
        Keyring.load(content, new_master_key)
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            owner = self._path.stat()
            beside.unlink(missing_ok=True)
            write_private(beside, content)
            # Run by root, the command must not take the file from those who serve.
            with suppress(PermissionError):
                os.chown(beside, owner.st_uid, owner.st_gid)
            beside.replace(self._path)
            _sync_directory(self._path.parent)
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror}; it is as it was") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from changing the keyring meanwhile.

        Raises: ConfigError when somebody else does so now.
        """
        path = self._path.with_name(f"{self._path.name}.lock")
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None
        try:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError("another command is changing the keyring; wait until it has ended") from None
            yield
        finally:
            os.close(number)

    def _newer(self) -> Keyring | None:
        """Return the keyring if it has changed since it was last read.

        A file that does not open is tried once. While it seals with the same key, this process can go on as it is (the
        master key was changed); if not, it must not seal: its key will be dropped.

        Raises: ConfigError then, and while there is no file.
        """
        try:
            unchanged = _version(self._path.stat()) == self._seen
            if unchanged:
                if self._error is not None:
                    raise self._error
                return None
            data, version = self._content()
        except OSError as error:
            raise _cannot_follow(f"{self._path}: {error.strerror}") from None
        try:
            keyring = self._load(data)
        except ConfigError as error:
            same = seals_with(data) == self._seal_with
            self._seen, self._error = version, None if same else _cannot_follow(error.message)
            if self._error is not None:
                raise self._error from None
            return None
        self._seen, self._seal_with, self._error = version, keyring.seal_with, None
        return keyring

    def _load(self, data: bytes) -> Keyring:
        """Read the keyring with the master key that opened it last; if it does not, with what the settings lead to now."""
        with suppress(ConfigError):
            return Keyring.load(data, self._master_key)
        self._master_key = master_key(self._settings)
        return Keyring.load(data, self._master_key)

    def _read(self) -> tuple[bytes, _Version]:
        try:
            return self._content()
        except OSError as error:
            raise ConfigError(f"cannot read {self._path}: {error.strerror}") from None

    def _content(self) -> tuple[bytes, _Version]:
        with self._path.open("rb") as stream:
            return stream.read(), _version(os.fstat(stream.fileno()))


def master_key(settings: Settings) -> bytes | None:
    """Return the master key that the settings lead to; None when they name none.

    Raises: ConfigError when it cannot be had, or is none.
    """
    if settings.master_key.reveal():
        return _named("STAGEDOOR_MASTER_KEY", settings.master_key)
    if settings.master_key_file != Path():
        return master_key_of_file(settings.master_key_file)
    return master_key_of_command(settings.master_key_command) if settings.master_key_command else None


def master_key_of_file(path: Path) -> bytes:
    """Read a master key from a file.

    Raises: ConfigError.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the master key from {path}: {error.strerror}") from None
    return _named(str(path), Secret(content.decode(errors="replace")))


def master_key_of_command(command: str) -> bytes:
    """Run a command, without a shell, and read a master key from its standard output.

    Raises: ConfigError when it fails, takes longer than `COMMAND_SECONDS`, or prints something else.
    """
    name = "the command for the master key"
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"{name} cannot be read: {error}") from None
    if not arguments:
        raise ConfigError(f"{name} is empty")
    try:
        result = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{name} ({arguments[0]}) took longer than {COMMAND_SECONDS:g} seconds") from None
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else "it cannot be run"
        raise ConfigError(f"{name} ({arguments[0]}) does not run: {words}") from None
    if result.returncode != 0:
        raise ConfigError(f"{name} ({arguments[0]}) ended with status {result.returncode}; its words stand above")
    return _named(f"{name} ({arguments[0]})", Secret(result.stdout.decode(errors="replace")))


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, and see it on the disk.

    Raises: OSError, also when the file exists.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _named(source: str, text: Secret) -> bytes:
    try:
        return parse_master_key(text.reveal())
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.message}") from None


def _cannot_follow(why: str) -> ConfigError:
    """Return the error of a process that must not go on sealing; why stands in the log, since callers may be shown it."""
    _log.error("the keyring has changed, and this process cannot read it any more; restart it: %s", why)
    return ConfigError(
        "the keyring has changed, and this process cannot read it any more; restart it, its log says why"
    )


def _version(status: os.stat_result) -> _Version:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _sync_directory(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
