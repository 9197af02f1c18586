"""Options that several commands take."""

import sys
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option(help="Data directory.", metavar="DIR")]
Database = Annotated[str | None, typer.Option(help="Database URL, sqlite:///PATH.", metavar="URL")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on.")]
Workers = Annotated[int | None, typer.Option(help="Number of processes that answer.")]


def given_or_read(text: str) -> str:
    """Return what was given, or for `-` a line of standard input, where a secret stands in no list of processes."""
    return sys.stdin.readline().strip() if text == "-" else text
