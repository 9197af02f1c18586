"""Work that one process of a machine does for all of them."""

import fcntl
import os
from pathlib import Path

from stagedoor.model.errors import ConfigError


class Only:
    """Held by one process of a machine at a time: by the first that asks, until it ends."""

    def __init__(self, path: Path) -> None:
        """Take the file whose lock it is.

        Raises: ConfigError when it cannot be written.
        """
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}; make the data directory writable") from None

    def holds(self) -> bool:
        """Tell whether this process is the one, or becomes it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._file)
