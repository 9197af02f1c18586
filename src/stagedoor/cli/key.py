"""`stagedoor key`: the keys that we sign tokens with."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stagedoor.cli.options import Data, Database, Json
from stagedoor.cli.output import print_fields, print_rows
from stagedoor.cli.system import administer, settings
from stagedoor.model.instants import instant
from stagedoor.model.key import Algorithm, SigningKey

if TYPE_CHECKING:
    from stagedoor.app import Administration
    from stagedoor.service.signing_keys import SigningKeys

app = typer.Typer(no_args_is_help=True, help="The keys that tokens are signed with.")

Kid = Annotated[str, typer.Argument(help="The key's id, as `stagedoor key list` shows it, or how it begins.")]


@app.command("list")
def list_keys(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List the keys, oldest first."""

    async def read(admin: "Administration") -> list[dict[str, Any]]:
        return [_fields(key) for key in await admin.signing_keys.list()]

    rows = administer(settings(data=data, database=database), read)
    print_rows(("kid", "algorithm", "state", "addedOn", "changedOn"), rows, as_json=as_json)


@app.command("make")
def make_key(
    algorithm: Annotated[Algorithm, typer.Argument(help="What it signs with.")],
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Make a key and publish it, to be put in use later."""
    _do(lambda keys: keys.make(algorithm), data, database, as_json=as_json)


@app.command("use")
def use_key(kid: Kid, data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """Sign with a key from now on; what the one before it signed stays good."""
    _do(lambda keys: keys.use(kid), data, database, as_json=as_json)


@app.command("retire")
def retire_key(kid: Kid, data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """Sign nothing more with a key; what it signed stays good."""
    _do(lambda keys: keys.retire(kid), data, database, as_json=as_json)


@app.command("revoke")
def revoke_key(kid: Kid, data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """Publish a key no more; nothing that it signed is good from now on."""
    _do(lambda keys: keys.revoke(kid), data, database, as_json=as_json)


@app.command("restore")
def restore_key(kid: Kid, data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """Take back that a key was revoked; it signs nothing until it is put in use."""
    _do(lambda keys: keys.restore(kid), data, database, as_json=as_json)


def _do(
    work: "Callable[[SigningKeys], Awaitable[SigningKey]]", data: Data, database: Database, *, as_json: bool
) -> None:
    async def do(admin: "Administration") -> SigningKey:
        return await work(admin.signing_keys)

    print_fields(_fields(administer(settings(data=data, database=database), do)), as_json=as_json)


def _fields(key: SigningKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "algorithm": key.algorithm.value,
        "state": key.state.value,
        "addedOn": instant(key.added_on),
        "changedOn": instant(key.changed_on),
    }
