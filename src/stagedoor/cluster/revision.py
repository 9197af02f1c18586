"""The newest announced revision, shared by all processes of one machine through eight bytes of mapped memory.

A writer commits, then announces, then returns; every decision first compares the number here with the one its view has
caught up to. So no process of this machine answers by a state older than a write that has returned. A crash between
commit and announcement leaves a write that never returned; the next start and the view's sweep make up for it.
"""

import fcntl
import mmap
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stagedoor.model.errors import ConfigError

_SIZE = 8


class SharedRevision:
    """The shared number. It only grows."""

    def __init__(self, path: Path) -> None:
        """Open or make the file at `path`.

        Raises: ConfigError when it cannot be written.
        """
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.fstat(self._file).st_size < _SIZE:
                os.ftruncate(self._file, _SIZE)
            self._map = mmap.mmap(self._file, _SIZE)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}; make the data directory writable") from None
        # One aligned 8-byte load or store: no reader sees half a number.
        self._cell = memoryview(self._map).cast("Q")

    def read(self) -> int:
        """Return the newest announced revision: one memory read."""
        return self._cell[0]

    async def announce(self, revision: int) -> None:
        """Raise the number to `revision`, never lower it."""
        # Security: two writers may come here in the other order than they committed in; the lock and the comparison
        # keep the number from going back, which would hide a write that has returned.
        with self._locked():
            self._cell[0] = max(self._cell[0], revision)

    async def restart(self, stored: Callable[[], Awaitable[int]]) -> None:
        """Set the number to what the store has, also when that is lower: for a start, before any view exists.

        A database restored from a backup is behind the number left here; writers wait while it is put right.
        """
        with self._locked():
            self._cell[0] = await stored()

    def close(self) -> None:
        """Let go of the memory and the file."""
        self._cell.release()
        self._map.close()
        os.close(self._file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
