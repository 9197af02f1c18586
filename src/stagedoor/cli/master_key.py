"""`stagedoor master-key`: the key that the keyring is sealed under."""

from pathlib import Path
from typing import Annotated

import typer

from stagedoor.cli.options import Data, given_or_read
from stagedoor.cli.system import settings
from stagedoor.model.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="The key that the keyring is sealed under.")


@app.callback()
def _group() -> None:
    """Let `change` be a command of its own although it is the only one."""


@app.command("change")
def change(
    data: Data = None,
    new_file: Annotated[Path | None, typer.Option(help="File that holds the new master key.", metavar="FILE")] = None,
    new_command: Annotated[str | None, typer.Option(help="Command that prints the new master key.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Seal it no longer: its keys are then readable.")] = False,
) -> None:
    """Seal the keyring under a new master key, from an option or else a line of standard input.

    The old one is that of the settings, if the keyring is sealed. Set the new one there afterwards, before anything is
    started again; what runs goes on.
    """
    from stagedoor.keyring_file import KeyringFile, master_key_of_command, master_key_of_file  # noqa: PLC0415
    from stagedoor.tokens.keyring import parse_master_key  # noqa: PLC0415

    if (new_file is not None) + (new_command is not None) + none > 1:
        raise InvalidInput("give one of --new-file, --new-command and --none", field="new-file")
    file = KeyringFile(settings(data=data))
    with file.locked():
        keyring = file.read_plain() or file.read()
        if none:
            new = None
        elif new_file is not None:
            new = master_key_of_file(new_file)
        elif new_command is not None:
            new = master_key_of_command(new_command)
        else:
            new = parse_master_key(given_or_read("-"))
        file.replace_under(keyring, new)
    if new is None:
        typer.echo("the keyring is not sealed any more; unset the master key before you start anything again")
    else:
        typer.echo("the keyring is sealed under the new master key; set that one before you start anything again")
