"""`stagedoor config`: settings."""

from dataclasses import fields

import typer

from stagedoor.cli.options import Json
from stagedoor.cli.output import print_fields
from stagedoor.cli.system import settings
from stagedoor.model.secret import Secret

app = typer.Typer(no_args_is_help=True, help="Settings.")


@app.command()
def check(as_json: Json = False) -> None:
    """Print the settings in force, from the environment and the defaults."""
    in_force = settings()
    print_fields({field.name: _shown(getattr(in_force, field.name)) for field in fields(in_force)}, as_json=as_json)


def _shown(value: object) -> str:
    """Return a setting as text, and of a secret only whether there is one."""
    if isinstance(value, Secret):
        return "***" if value.reveal() else ""
    return str(value)
