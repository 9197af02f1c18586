"""Migrations."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, inspect, text

from stagedoor.model.errors import ConfigError
from stagedoor.store import migrate, schema
from stagedoor.store.migrate import migrate_sqlite, sqlite_version


def _engine(path: Path) -> Engine:
    return create_engine(f"sqlite:///{path}")


def _shape(engine: Engine) -> dict[str, Any]:
    """Describe every table: columns, keys, indexes, uniqueness."""
    found = inspect(engine)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in found.get_columns(table)
            },
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "foreign": sorted(
                (key["constrained_columns"], key["referred_table"], key["referred_columns"])
                for key in found.get_foreign_keys(table)
            ),
            "indexes": sorted((str(index["name"]), index["column_names"]) for index in found.get_indexes(table)),
            "unique": sorted(unique["column_names"] for unique in found.get_unique_constraints(table)),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def test_head_is_the_newest_migration() -> None:
    """The constant that a quick start compares with is the newest file's number."""
    folder = Path(migrate.__file__).parent / "migrations" / "versions"
    assert max(file.name.split("_")[0] for file in folder.glob("[0-9]*.py")) == migrate.HEAD


def test_a_migrated_database_has_the_tables_of_the_schema(tmp_path: Path) -> None:
    """Tables, columns, types, keys, indexes and uniqueness are those the code works with."""
    migrate_sqlite(tmp_path / "migrated.db")
    migrated, made = _engine(tmp_path / "migrated.db"), _engine(tmp_path / "made.db")
    schema.metadata.create_all(made)
    shape = _shape(migrated)
    assert set(shape) == set(schema.metadata.tables)
    assert {table: set(parts["columns"]) for table, parts in shape.items()} == {
        name: set(table.columns.keys()) for name, table in schema.metadata.tables.items()
    }
    assert shape == _shape(made)
    migrated.dispose()
    made.dispose()


def test_a_migrated_database_is_at_head_and_at_revision_zero(tmp_path: Path) -> None:
    """It has the one row that numbers writes."""
    path = tmp_path / "a.db"
    assert sqlite_version(path) is None
    migrate_sqlite(path)
    assert sqlite_version(path) == migrate.HEAD
    engine = _engine(path)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id, n FROM revision")).all() == [(1, 0)]
    engine.dispose()


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    """Not a byte."""
    path = tmp_path / "a.db"
    migrate_sqlite(path)
    before = path.read_bytes()
    migrate_sqlite(path)
    assert path.read_bytes() == before


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    """It has no version yet."""
    path = tmp_path / "a.db"
    path.touch()
    assert sqlite_version(path) is None
    migrate_sqlite(path)
    assert sqlite_version(path) == migrate.HEAD


def test_a_database_of_a_newer_version_is_refused_unchanged(tmp_path: Path) -> None:
    """The text says to upgrade."""
    path = tmp_path / "a.db"
    migrate_sqlite(path)
    engine = _engine(path)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ConfigError, match=r"at migration 9999.*upgrade stagedoor"):
        migrate_sqlite(path)
    assert sqlite_version(path) == "9999"


def test_a_file_that_is_no_database_is_a_config_error_and_stays(tmp_path: Path) -> None:
    """Somebody's file is not overwritten."""
    path = tmp_path / "a.db"
    path.write_bytes(b"my diary\n" * 1000)
    for call in (sqlite_version, migrate_sqlite):
        with pytest.raises(ConfigError, match="restore it from a backup"):
            call(path)
    assert path.read_bytes() == b"my diary\n" * 1000


@pytest.mark.parametrize("path", ["missing/a.db", "."])
def test_a_place_that_cannot_be_written_is_a_config_error(tmp_path: Path, path: str) -> None:
    """No directory, or a directory in its place."""
    with pytest.raises(ConfigError):
        migrate_sqlite(tmp_path / path)


@pytest.mark.parametrize("name", ["a b.db", "a%b.db", "\u00e9.db", "a#b.db"])
def test_file_names_with_odd_characters(tmp_path: Path, name: str) -> None:
    """The file made is the file named."""
    migrate_sqlite(tmp_path / name)
    assert sqlite_version(tmp_path / name) == migrate.HEAD


def test_a_file_name_with_a_question_mark(tmp_path: Path) -> None:
    """What follows it is part of the name, not a query."""
    migrate_sqlite(tmp_path / "a?b.db")
    assert (tmp_path / "a?b.db").exists()
    assert sqlite_version(tmp_path / "a?b.db") == migrate.HEAD
