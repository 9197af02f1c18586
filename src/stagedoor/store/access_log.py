"""The access log: one JSON object a line for each decision, in a file that only grows.

`record` is on the decision path, so it appends to memory and returns; `run` writes what has gathered, a few times a
second. Both queues are bounded; refusals have their own, so that no flood of allowed accesses displaces one. What finds
no room, or no disk, is counted, and the count is written as soon as there is room.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from stagedoor.model.decision import ALLOWING
from stagedoor.model.errors import ConfigError
from stagedoor.service.ports import AccessEvent

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS: Final = 0.2
_QUEUE: Final = 100_000
_BATCH: Final = 500


class AccessLogFile:
    """Writes access events to the file at `path`; a file that was moved away (log rotation) is opened anew."""

    def __init__(self, path: Path, *, also: Callable[[Sequence[AccessEvent]], None] | None = None) -> None:
        """Open the file for appending. `also` is told of each batch, oldest first: what looks at decisions delays none.

        Raises: ConfigError when it cannot be written.
        """
        self._path = path
        self._also = also
        try:
            self._file = self._open()
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}; make the data directory writable") from None
        self._allowed: deque[AccessEvent] = deque()
        self._refused: deque[AccessEvent] = deque()
        self._dropped = 0
        self._torn = False

    def record(self, event: AccessEvent) -> None:
        """Take note of one decision."""
        queue = self._allowed if event.decision.reason in ALLOWING else self._refused
        if len(queue) < _QUEUE:
            queue.append(event)
        else:
            self._dropped += 1

    async def run(self) -> None:
        """Write what gathers, until cancelled; then write the rest."""
        try:
            while True:
                await asyncio.sleep(_INTERVAL_SECONDS)
                while self._flush():
                    await asyncio.sleep(0)
        finally:
            while self._flush():
                pass

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _flush(self) -> bool:
        """Write one batch; tell whether there is more."""
        events = _drain(self._refused, _BATCH) + _drain(self._allowed, _BATCH)
        dropped, self._dropped = self._dropped, 0
        if not events and not dropped:
            return False
        events.sort(key=itemgetter(0))
        self._pass_on(events)
        lines: list[msgspec.Struct] = [_line(event) for event in events]
        if dropped:
            lines.append(_Dropped(datetime.now(UTC), dropped))
        written, cause = self._write(_encode_lines(lines))
        if written < len(lines):
            lost = len(events) - min(written, len(events)) + dropped
            _log.error("the access log cannot be written: %s; %d events lost", cause, lost)
            self._dropped += lost
            return False
        return bool(self._refused or self._allowed)

    def _pass_on(self, events: Sequence[AccessEvent]) -> None:
        try:
            if self._also is not None:
                self._also(events)
        except Exception:  # noqa: BLE001  whatever is wrong there, decisions are written down
            _log.exception("what looks at decisions has failed")

    def _write(self, lines: bytes) -> tuple[int, str]:
        """Append lines; return how many arrived whole, and why not more."""
        # A disk that filled up may have taken a part: what follows then begins on a line of its own.
        start = b"\n" if self._torn else b""
        try:
            self._reopen_if_moved()
            size = os.write(self._file, start + lines)
        except OSError as error:
            return 0, error.strerror or "unknown"
        arrived = lines[: max(size - len(start), 0)]
        self._torn = not arrived.endswith(b"\n")
        return arrived.count(b"\n"), "the disk took a part"

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _reopen_if_moved(self) -> None:
        try:
            current = self._path.stat().st_ino
        except FileNotFoundError:
            current = 0
        if current != os.fstat(self._file).st_ino:
            opened = self._open()
            os.close(self._file)
            self._file, self._torn = opened, False


class _Line(msgspec.Struct, gc=False):
    """A line of the log. Empty fields are written too, so that every line has the same shape."""

    at: datetime
    allowed: bool
    reason: str
    shadowed: str | None
    action: str
    stream: str
    token_id: int | None
    client_ip: str
    protocol: str
    engine: str
    session: str
    revision: int
    child: str


class _Dropped(msgspec.Struct):
    """A line that says how many decisions found no room."""

    at: datetime
    dropped: int


_encode_lines: Final = msgspec.json.Encoder().encode_lines
_at: Final = datetime.fromtimestamp


def _line(event: AccessEvent) -> _Line:
    at, (reason, revision, shadowed), word, access, client_ip, token_id, engine, session, child = event
    stream = protocol = ""
    if access is not None:
        (account, name), protocol = access.stream, access.protocol
        stream = f"{account or '?'}/{name or '?'}"
    allowed = reason in ALLOWING
    return _Line(
        _at(at, UTC),
        allowed,
        reason,
        shadowed,
        word,
        stream,
        token_id,
        client_ip,
        protocol,
        engine,
        session,
        revision,
        child,
    )


def _drain(queue: deque[AccessEvent], most: int) -> list[AccessEvent]:
    return [queue.popleft() for _ in range(min(most, len(queue)))]
