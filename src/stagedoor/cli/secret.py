"""`stagedoor secret`: the API secrets of an account."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stagedoor.cli.options import Data, Database, Json
from stagedoor.cli.output import print_fields, print_rows
from stagedoor.cli.system import administer, settings
from stagedoor.model.ids import AccountId
from stagedoor.model.instants import instant

if TYPE_CHECKING:
    from stagedoor.app import Administration
    from stagedoor.service.api_secrets import IssuedApiSecret

app = typer.Typer(no_args_is_help=True, help="API secrets.")

Account = Annotated[str, typer.Argument(help="The account's id.")]
Id = Annotated[int, typer.Argument(help="The secret's id, as `stagedoor secret list` shows it.")]


@app.command("list")
def list_secrets(account: Account, data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List an account's secrets, without their values."""

    async def read(admin: "Administration") -> list[dict[str, Any]]:
        return [
            {"id": secret.id, "label": secret.label, "hint": secret.hint, "addedOn": instant(secret.added_on)}
            for secret in await admin.api_secrets.list(AccountId(account))
        ]

    rows = administer(settings(data=data, database=database), read)
    print_rows(("id", "label", "hint", "addedOn"), rows, as_json=as_json)


@app.command("add")
def add_secret(
    account: Account,
    label: Annotated[str, typer.Option(help="What it is for.")],
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Make another secret. Its value is shown this once."""

    async def add(admin: "Administration") -> "IssuedApiSecret":
        return await admin.api_secrets.issue(AccountId(account), label)

    _print(administer(settings(data=data, database=database), add), as_json=as_json)


@app.command("refresh")
def refresh_secret(
    account: Account, secret_id: Id, data: Data = None, database: Database = None, as_json: Json = False
) -> None:
    """Give a secret a new value, shown this once; the old one is refused from now on."""

    async def refresh(admin: "Administration") -> "IssuedApiSecret":
        return await admin.api_secrets.refresh(AccountId(account), secret_id)

    _print(administer(settings(data=data, database=database), refresh), as_json=as_json)


@app.command("remove")
def remove_secret(account: Account, secret_id: Id, data: Data = None, database: Database = None) -> None:
    """Remove a secret: it is refused from now on. Without any, the API is closed to the account."""

    async def remove(admin: "Administration") -> int:
        await admin.api_secrets.remove(AccountId(account), secret_id)
        return len(await admin.api_secrets.list(AccountId(account)))

    left = administer(settings(data=data, database=database), remove)
    typer.echo(f"removed; {left} left" if left else "removed; the API is closed to this account until one is added")


def _print(issued: "IssuedApiSecret", *, as_json: bool) -> None:
    fields = {"id": issued.record.id, "label": issued.record.label, "apiSecret": issued.secret.reveal()}
    print_fields(fields, as_json=as_json)
