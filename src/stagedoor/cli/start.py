"""`stagedoor init`, `serve` and `up`: make a system, run it."""

import asyncio
from typing import Annotated

import typer

from stagedoor.cli.options import Data, Database, Host, Json, Port, Workers
from stagedoor.cli.output import print_fields
from stagedoor.cli.system import settings


def init(
    data: Data = None,
    database: Database = None,
    email: Annotated[str, typer.Option(help="The first administrator's e-mail address.")] = "admin@localhost",
    as_json: Json = False,
) -> None:
    """Make a new system: keyring, database, first account. Its credentials are shown this once."""
    from stagedoor.app import administration, create_data  # noqa: PLC0415

    new = settings(data=data, database=database)

    async def run() -> dict[str, str]:
        create_data(new)
        async with administration(new) as admin:
            first = await admin.accounts.create_first(email)
        return {
            "accountId": first.account,
            "apiSecret": first.api_secret.reveal(),
            "adminEmail": first.admin_email,
            "adminPassword": first.admin_password.reveal(),
        }

    print_fields(asyncio.run(run()), as_json=as_json)


def serve(
    data: Data = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    database: Database = None,
) -> None:
    """Answer media servers and the API, until Ctrl-C."""
    from stagedoor.server import serve as run  # noqa: PLC0415

    raise typer.Exit(run(settings(data=data, host=host, port=port, workers=workers, database=database)))


def up(data: Data = None, host: Host = None, port: Port = None, workers: Workers = None) -> None:
    """Start an authority with a media server of its own and a first token, for a first look."""
    from stagedoor.up import up as run  # noqa: PLC0415

    raise typer.Exit(run(settings(data=data, host=host, port=port, workers=workers)))
