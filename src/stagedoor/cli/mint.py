"""`stagedoor mint`: a credential for a media server or CDN that checks it itself."""

from typing import TYPE_CHECKING, Annotated

import typer

from stagedoor.cli.options import Data, Database, Json, given_or_read
from stagedoor.cli.output import print_fields
from stagedoor.cli.system import administer, settings
from stagedoor.model.access import Action
from stagedoor.model.ids import TokenId, parse_stream_id
from stagedoor.model.instants import instant
from stagedoor.model.secret import Secret

if TYPE_CHECKING:
    from stagedoor.app import Administration
    from stagedoor.service.mint import Minted


def mint(
    stream: Annotated[str, typer.Argument(help="Which stream.", metavar="ACCOUNT/NAME")],
    verifier: Annotated[str, typer.Option(help="For which verifier of the account.")],
    action: Annotated[Action, typer.Option(help="What it is to allow.")],
    token: Annotated[str, typer.Option(help="The token to mint from; - reads it from standard input.")] = "",
    token_id: Annotated[int | None, typer.Option(help="The token by its id, instead of its text.")] = None,
    client_ip: Annotated[str, typer.Option(help="Who will use it.")] = "",
    ttl: Annotated[int | None, typer.Option(help="For how many seconds at most.")] = None,
    identity: Annotated[str, typer.Option(help="What LiveKit is to call the participant.")] = "",
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Mint a credential that allows no more than a token does. It cannot be revoked, so it is short."""
    from stagedoor.service.mint import MintRequest  # noqa: PLC0415

    system = settings(data=data, database=database)
    wanted = parse_stream_id(stream)
    text = given_or_read(token)
    request = MintRequest(
        verifier=verifier,
        stream=wanted.name,
        action=action,
        token=Secret(text) if text else None,
        token_id=None if token_id is None else TokenId(token_id),
        client_ip=client_ip,
        ttl_seconds=ttl,
        identity=identity,
    )

    async def make(admin: "Administration") -> "Minted":
        return await admin.minter.mint(wanted.account, request)

    minted = administer(system, make)
    fields = {
        "token": minted.token.reveal(),
        "form": minted.form.value,
        "expiresOn": instant(minted.expires_at),
        "url": None if minted.url is None else minted.url.reveal(),
        "length": minted.length,
        "carriers": [carrier.value for carrier in minted.carriers],
    }
    print_fields(fields, as_json=as_json)
