"""Bring a database to the form this version works with.

Alembic is loaded only when there is something to do: a start must not wait for it.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import URL, create_engine, inspect, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from stagedoor.model.errors import ConfigError
from stagedoor.store.sqlite import own_transactions

HEAD: Final = "0001"
"""The newest migration; a test holds it to the files in `migrations/versions`."""


def sqlite_version(path: Path) -> str | None:
    """Return the migration that the SQLite file at `path` is at; None when there is no such file or it is empty.

    Raises: ConfigError when it is not a database we can read.
    """
    if not path.exists():
        return None
    engine = create_engine(URL.create("sqlite", database=str(path)), hide_parameters=True)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    except OperationalError as error:
        raise ConfigError(
            f"cannot read {path}: {error.orig}; check its permissions and those of its directory"
        ) from None
    except SQLAlchemyError:
        raise ConfigError(f"{path} is not a database, or damaged; restore it from a backup") from None
    finally:
        engine.dispose()


def migrate_sqlite(path: Path) -> None:
    """Bring the SQLite file at `path` to `HEAD`, making it if needed.

    Raises: ConfigError when it cannot be written, or was written by a newer version.
    """
    at = sqlite_version(path)
    if at == HEAD:
        return
    from alembic import command  # noqa: PLC0415  see the module's docstring
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = create_engine(URL.create("sqlite", database=str(path)), hide_parameters=True)
    own_transactions(engine)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError:
        raise ConfigError(f"{path} is at migration {at}, which this version does not know; upgrade stagedoor") from None
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"cannot write {path}: {reason}; check that the directory is writable and has space"
        ) from None
    finally:
        engine.dispose()
