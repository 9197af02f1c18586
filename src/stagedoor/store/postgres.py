"""PostgreSQL as we use it: the primary only, every commit on disk before it counts, no wait without an end.

Security: the URL holds a password. It goes to the driver as it is and is found nowhere else: no error, log or `repr` of
an engine has it.
"""

import re
from typing import Any, Final
from urllib.parse import unquote

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from sqlalchemy import URL, ExceptionContext, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from stagedoor.model.errors import ConfigError
from stagedoor.model.secret import Secret

CONNECT_SECONDS: Final = 5.0
"""How long a new connection, or a free one of a pool, is waited for."""

READ_SECONDS: Final = 5.0
WRITE_SECONDS: Final = 10.0
"""How long a statement of a read and of a write may take, waiting for locks included."""

_GRACE_SECONDS: Final = 1.0
"""How much later than the server we end a statement ourselves: for a server or a network that fell silent."""

_IDLE_SECONDS: Final = 10.0
"""How long a transaction may rest between statements. A machine that vanished must not keep the lock on the revision."""

_LOCK_SECONDS: Final = 60.0
"""How long a migration waits for other migrations, and for those who use the tables it changes."""

_POOL: Final[dict[str, Any]] = {
    "pool_size": 4,
    "max_overflow": 4,
    "pool_timeout": CONNECT_SECONDS,
    "pool_pre_ping": True,  # a restart of the server costs no answer
}

_QUOTES: Final = "invalid input for query argument"

_FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    ValueError,
    KeyError,
)
"""What the driver raises when it cannot connect: the last two for what it cannot read, or lacks."""

_HOST: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[^@:,/?#\[\]]*)(?::[0-9]*)?"
_URL: Final = re.compile(
    r"(?:postgres|postgresql|postgresql\+asyncpg)://(?:[^@/?#]*@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)(?:/(?P<name>[^@/?#]*))?(?:\?[^@#]*)?"
)
_WRITE_IT_SO: Final = "write postgresql://USER:PASSWORD@HOST:PORT/NAME, and characters like @ : / # ? of the password as %40 %3A %2F %23 %3F"

_OWN_URL: Final = URL.create("postgresql+asyncpg")
"""What the engines know of the URL: the driver opens the connections."""


def postgres_engines(url: str) -> tuple[AsyncEngine, AsyncEngine]:
    """Return the engine for reads and the one for writes on the database at `url`; they connect when first used.

    Together they hold sixteen connections at most, so a server that takes a hundred has room for six processes.

    Raises: ConfigError when `url` cannot be read.
    """
    reader = _engine(url, "AUTOCOMMIT", READ_SECONDS, **_POOL)
    writer = _engine(url, "READ COMMITTED", WRITE_SECONDS, **_POOL)
    event.listen(writer.sync_engine, "connect", _commit_to_disk)
    return reader, writer


def migration_engine(url: str) -> AsyncEngine:
    """Return an engine for migrations of the database at `url`: its statements may take as long as they need.

    Raises: ConfigError when `url` cannot be read.
    """
    return _engine(url, "READ COMMITTED", 0, poolclass=NullPool)


def place(url: str) -> str:
    """Return what may be told of a database URL: host and database.

    Raises: ConfigError when `url` cannot be read.
    """
    # Security: what is told must not be a password that was written where a name, a host or a port belongs.
    match = _URL.fullmatch(url)
    if match is None:
        raise ConfigError(f"the database URL cannot be read; {_WRITE_IT_SO}")
    return f"{unquote(match['hosts']) or 'PostgreSQL'}/{unquote(match['name'] or '')}"


def _engine(url: str, isolation: str, statement_seconds: float, **pool: Any) -> AsyncEngine:
    """Make an engine. `isolation` is given in any case: what a server's default is must not matter.

    In a write each statement after the one that waited for a lock sees what the lock's last holder committed.
    """
    server = _Server(url, statement_seconds)
    engine = create_async_engine(
        _OWN_URL, async_creator=server.connect, hide_parameters=True, isolation_level=isolation, **pool
    )
    event.listen(engine.sync_engine, "handle_error", _hide_value, retval=True)
    return engine


def _commit_to_disk(connection: Any, _record: object) -> None:
    # Security: a revocation that was acknowledged survives a power cut, whatever the server's default is.
    cursor = connection.cursor()
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    cursor.close()
    connection.commit()


def _hide_value(context: ExceptionContext) -> BaseException | None:
    """Replace the error with which the driver quotes a value that it cannot send."""
    error = context.original_exception
    if isinstance(error.__cause__, asyncpg.DataError) and _QUOTES in str(error):
        return SQLAlchemyError("a value cannot be kept as the type of its column")
    return None


class _Server:
    """Opens connections to one database."""

    def __init__(self, url: str, statement_seconds: float) -> None:
        """Take a URL, and how long a statement may take; 0 for as long as it needs."""
        self._place = place(url)
        self._dsn = Secret("postgresql://" + url.partition("://")[2])
        self._command_seconds = statement_seconds + _GRACE_SECONDS if statement_seconds else None
        self._settings = {
            "application_name": "stagedoor",
            "statement_timeout": _milliseconds(statement_seconds),
            "lock_timeout": _milliseconds(_LOCK_SECONDS),
            "idle_in_transaction_session_timeout": _milliseconds(_IDLE_SECONDS),
            "jit": "off",  # it takes longer than any statement of ours
        }

    async def connect(self) -> "asyncpg.Connection[Any]":
        """Open a connection.

        Raises: ConnectionError with a text that is safe to tell.
        """
        try:
            connection = await asyncpg.connect(
                self._dsn.reveal(),
                timeout=CONNECT_SECONDS,
                command_timeout=self._command_seconds,
                server_settings=self._settings,
                # Security: a standby may not know of the newest revocation yet.
                target_session_attrs=SessionAttribute.primary,
            )
        except _FAILURES as error:
            raise ConnectionError(f"cannot connect to {self._place}: {_reason(error)}") from None
        return connection


def _reason(error: Exception) -> str:
    """Say why there is no connection. Security: only what servers and the system say; the driver may quote the URL."""
    match error:
        case asyncpg.TargetServerAttributeNotMatched():
            return "it is a standby; name the primary"
        case TimeoutError():
            return f"no answer within {CONNECT_SECONDS:g} seconds"
        case OSError():
            return error.strerror or str(error) or type(error).__name__
        case ValueError() | KeyError():
            return f"the URL cannot be read; {_WRITE_IT_SO}"
        case _:
            return str(error).partition("\n")[0]


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
