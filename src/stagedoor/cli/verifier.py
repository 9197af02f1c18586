"""`stagedoor verifier`: the media servers and CDNs of an account that check credentials themselves."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stagedoor.cli.options import Data, Database, Json
from stagedoor.cli.output import print_fields, print_rows
from stagedoor.cli.system import administer, settings
from stagedoor.model.access import Action, Protocol
from stagedoor.model.ids import AccountId
from stagedoor.model.instants import instant
from stagedoor.model.secret import Secret
from stagedoor.model.verifier import AddressClaim, CatAlgorithm, Verifier, VerifierKind, VerifierSettings

if TYPE_CHECKING:
    from stagedoor.app import Administration

app = typer.Typer(no_args_is_help=True, help="Media servers and CDNs that check credentials themselves.")

Account = Annotated[str, typer.Argument(help="The account's id.")]
Name = Annotated[str, typer.Argument(help="The verifier's name.")]


@app.command("add")
def add_verifier(
    account: Account,
    name: Name,
    kind: Annotated[VerifierKind, typer.Option(help="What form of credential it reads.")],
    key_name: Annotated[str, typer.Option(help="What it knows the key by: LiveKit's API key, the kid of a CDN.")] = "",
    url: Annotated[str, typer.Option(help="Where its streams are.")] = "",
    file: Annotated[str, typer.Option(help="What is asked for in a stream's directory, such as index.m3u8.")] = "",
    protocols: Annotated[list[Protocol] | None, typer.Option("--protocol", help="What it speaks, if not all.")] = None,
    issuer: Annotated[str, typer.Option(help="The iss that it asks for.")] = "",
    audience: Annotated[str, typer.Option(help="The aud that it asks for.")] = "",
    policy_query: Annotated[str, typer.Option(help="OvenMediaEngine's PolicyQueryKeyName.")] = "policy",
    signature_query: Annotated[str, typer.Option(help="OvenMediaEngine's SignatureQueryKeyName.")] = "signature",
    address_claim: Annotated[
        AddressClaim, typer.Option(help="What OvenMediaEngine compares addresses with.")
    ] = AddressClaim.ALLOW_IP,
    bind_address: Annotated[bool, typer.Option("--bind-address", help="nginx hashes $remote_addr too.")] = False,
    opens: Annotated[list[Action] | None, typer.Option(help="What a room of Janus lets do; left out, both.")] = None,
    algorithm: Annotated[
        CatAlgorithm, typer.Option(help="What Common Access Tokens are signed with.")
    ] = CatAlgorithm.HS256,
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Add one. Its secret is read from standard input, whole, where it stands in no list of processes."""
    given = VerifierSettings(
        url=url,
        file=file,
        protocols=tuple(protocols or ()),
        issuer=issuer,
        audience=audience,
        policy_query=policy_query,
        signature_query=signature_query,
        address_claim=address_claim,
        bind_address=bind_address,
        opens=tuple(opens) if opens else VerifierSettings().opens,
        algorithm=algorithm,
    )
    system = settings(data=data, database=database)
    # MediaMTX checks our own signature, so there is nothing to wait for.
    secret = None if kind is VerifierKind.MEDIAMTX else Secret(sys.stdin.read().strip())

    async def add(admin: "Administration") -> Verifier:
        return await admin.verifiers.add(
            AccountId(account), name, kind, key_name=key_name, secret=secret, settings=given
        )

    print_fields(_shown(administer(system, add)), as_json=as_json)


@app.command("list")
def list_verifiers(account: Account, data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List an account's verifiers, without their secrets."""

    async def read(admin: "Administration") -> list[dict[str, Any]]:
        return [_shown(verifier) for verifier in await admin.verifiers.list(AccountId(account))]

    rows = administer(settings(data=data, database=database), read)
    print_rows(("name", "kind", "keyName", "url", "addedOn"), rows, as_json=as_json)


@app.command("remove")
def remove_verifier(account: Account, name: Name, data: Data = None, database: Database = None) -> None:
    """Forget a verifier and its secret. What was minted for it is good until its end."""

    async def remove(admin: "Administration") -> None:
        await admin.verifiers.remove(AccountId(account), name)

    administer(settings(data=data, database=database), remove)
    typer.echo("removed")


def _shown(verifier: Verifier) -> dict[str, Any]:
    return {
        "name": verifier.name,
        "kind": verifier.kind.value,
        "keyName": verifier.key_name or None,
        "url": verifier.settings.url or None,
        "addedOn": instant(verifier.added_on),
    }
