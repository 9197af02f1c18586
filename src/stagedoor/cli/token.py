"""`stagedoor token`: tokens, for the operator."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stagedoor.cli.options import Data, Database, Json, given_or_read
from stagedoor.cli.output import print_fields
from stagedoor.cli.system import administer, settings

if TYPE_CHECKING:
    from stagedoor.app import Administration

app = typer.Typer(no_args_is_help=True, help="Tokens.")


@app.command()
def describe(
    token: Annotated[str, typer.Argument(help="Its id, or its text; - reads it from standard input.")],
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Say in plain words what a token is good for: who may do what, from where, until when."""
    from stagedoor.service.describe import describe as in_words  # noqa: PLC0415

    system = settings(data=data, database=database)
    shown = given_or_read(token)

    async def read(admin: "Administration") -> dict[str, Any]:
        record = await admin.tokens.find(shown)
        policy = await admin.accounts.policy(record.account)
        counts = await admin.store.sessions.shadowed(record.account, record.id)
        return {
            "tokenId": record.id,
            "kind": record.kind.value,
            "label": record.terms.label,
            "state": record.state.value,
            "description": in_words(record, policy, time.time()),
            "shadowed": {reason.value: times for reason, times in counts.items()},
        }

    print_fields(administer(system, read), as_json=as_json)
