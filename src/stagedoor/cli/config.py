"""`stagedoor config`: settings."""

from dataclasses import fields

import typer

from stagedoor.cli.options import Json
from stagedoor.cli.output import print_fields
from stagedoor.cli.system import settings

app = typer.Typer(no_args_is_help=True, help="Settings.")


@app.command()
def check(as_json: Json = False) -> None:
    """Print the settings in force, from the environment and the defaults."""
    in_force = settings()
    print_fields({field.name: str(getattr(in_force, field.name)) for field in fields(in_force)}, as_json=as_json)
