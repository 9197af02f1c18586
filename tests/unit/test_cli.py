"""What the commands share. What each of them does on a real system stands in tests/e2e/test_cli.py."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from stagedoor.app import Administration, create_data
from stagedoor.cli import app
from stagedoor.cli.explain import _parse_time
from stagedoor.cli.output import print_fields, print_rows, words
from stagedoor.cli.system import administer, settings
from stagedoor.model.errors import ConfigError, InvalidInput, NotFound
from stagedoor.model.ids import AccountId
from stagedoor.model.instants import instant

COMMANDS = {
    "init",
    "serve",
    "up",
    "explain",
    "engine add",
    "engine list",
    "engine set",
    "engine remove",
    "account list",
    "account set",
    "token describe",
    "geo update",
    "geo show",
    "config check",
    "master-key change",
    "reseal",
}
"""Names that there were from the beginning."""


def _commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from _commands(below, f"{path} {name}".strip())


def test_every_command_is_there_and_says_what_it_does() -> None:
    """Those that scripts use are not renamed."""
    found = dict(_commands(typer.main.get_command(app)))
    assert set(found) >= COMMANDS
    for name, command in found.items():
        assert command.help, name
        assert all(getattr(option, "help", None) for option in command.params), name


def test_help_loads_nothing_that_works() -> None:
    """A command line that waits for the database's libraries to say how it is used is a slow one."""
    slow = ["sqlalchemy", "alembic", "httpx", "uvicorn", "cryptography", "argon2", "stagedoor.app", "stagedoor.service"]
    code = f"import sys, stagedoor.cli; print([name for name in {slow} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


# -- the system a command works on


def test_a_command_on_no_system_says_how_to_make_one(tmp_path: Path) -> None:
    """And makes none."""
    with pytest.raises(ConfigError, match="stagedoor init"):
        administer(settings(data=tmp_path / "none"), lambda admin: admin.accounts.list())
    assert list(tmp_path.iterdir()) == []


def test_what_the_work_returns_is_returned_and_what_it_raises_is_raised(tmp_path: Path) -> None:
    """On a system that is there, which is open for as long as the work takes."""
    system = settings(data=tmp_path / "data")
    create_data(system)

    async def work(admin: Administration) -> AccountId:
        return (await admin.accounts.create_first("a@example.com")).account

    account = administer(system, work)
    assert administer(system, lambda admin: admin.accounts.list()) == [account]
    with pytest.raises(NotFound):
        administer(system, lambda admin: admin.accounts.policy(AccountId("nobody")))


# -- words


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": 1, "b": 2}, "a 1, b 2"),
        ({}, "-"),
        (["PL", "DE"], "PL DE"),
        ([], "-"),
        (True, "yes"),
        (False, "no"),
        (None, "-"),
        (0, "0"),
        ("", ""),
        ("as it is", "as it is"),
    ],
)
def test_values_are_told_in_words(value: object, said: str) -> None:
    """Nothing is a dash."""
    assert words(value) == said


def test_fields_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """One that has lines of its own is below its name, so that it can be copied."""
    fields = {"name": "edge", "enabled": True, "config": "one\n  two"}
    print_fields(fields, as_json=False)
    assert capsys.readouterr().out == "name     edge\nenabled  yes\nconfig\none\n  two\n"
    print_fields(fields, as_json=True)
    assert json.loads(capsys.readouterr().out) == fields


def test_rows_are_a_table_or_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is cut off where it is piped; what looks like markup is text."""
    rows = [{"name": "x" * 120, "kind": "[bold]nginx[/bold]", "ended": None}]
    print_rows(("name", "kind", "ended"), rows, as_json=False)
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["name", "kind", "ended"]
    assert row.split() == ["x" * 120, "[bold]nginx[/bold]", "-"]
    print_rows(("name", "kind", "ended"), rows, as_json=True)
    assert json.loads(capsys.readouterr().out) == rows


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("1767225600", 1767225600.0),
        ("2026-01-01T00:00:00Z", 1767225600.0),
        ("2026-01-01T00:00:00", 1767225600.0),
        ("2026-01-01T01:00:00+01:00", 1767225600.0),
    ],
)
def test_a_time_is_read(text: str, seconds: float) -> None:
    """In seconds since the epoch, or as RFC 3339, which without a zone is UTC."""
    assert _parse_time(text) == seconds
    assert instant(int(seconds)) == datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("text", ["", "-1", "tomorrow", "\u0663", "1.5"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With what to write instead."""
    with pytest.raises(InvalidInput, match="write 2026"):
        _parse_time(text)
