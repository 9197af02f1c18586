"""`stagedoor reseal`: seal what is kept under a new key."""

from typing import Annotated

import typer

from stagedoor.cli.options import Data, Database
from stagedoor.cli.system import administer, settings


def reseal(
    data: Data = None,
    database: Database = None,
    settle: Annotated[
        float,
        typer.Option(help="Seconds to wait for writes that are under way; less only where nothing serves.", min=0),
    ] = 40.0,
) -> None:
    """Seal everything in the database under a new key of the keyring, and drop the old one. What serves goes on.

    Interrupted, it is run again and goes on where it was. Afterwards back up the database and the keyring: older backups of
    the one do not go with newer ones of the other.
    """
    from stagedoor.app import reseal_everything  # noqa: PLC0415

    system = settings(data=data, database=database)
    count = administer(system, lambda admin: reseal_everything(system, admin, settle))
    typer.echo(f"sealed anew: {count} values; back up the database and the keyring now")
