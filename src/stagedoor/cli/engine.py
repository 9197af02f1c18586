"""`stagedoor engine`: the media servers that ask this authority."""

from typing import Annotated

import typer

from stagedoor.cli.options import Data, Database, Json
from stagedoor.cli.output import print_fields, print_rows
from stagedoor.cli.system import administer, settings
from stagedoor.model.engine import AddressTrust, EngineKind
from stagedoor.model.ids import AccountId
from stagedoor.model.instants import instant

app = typer.Typer(no_args_is_help=True, help="Media servers that ask this authority.")

_COLUMNS = ("engineId", "kind", "name", "account", "addressTrust", "controlUrl", "mediaUrl", "cluster", "addedOn")


@app.command()
def add(
    kind: Annotated[EngineKind, typer.Argument(help="What it is.")],
    name: Annotated[str, typer.Option(help="A name for it, 1 to 64 of A-Z a-z 0-9 _ . -")],
    account: Annotated[
        str, typer.Option(help="The account of streams whose path names none; left out, the token's.")
    ] = "",
    address_trust: Annotated[
        AddressTrust,
        typer.Option(
            help="Whether the client addresses it gives can be believed. untrusted: tokens with rules about addresses are"
            " refused there; accepted: they are judged all the same."
        ),
    ] = AddressTrust.TRUSTED,
    control_url: Annotated[str, typer.Option(help="Where its control API answers.", metavar="http://HOST:PORT")] = "",
    media_url: Annotated[
        str,
        typer.Option(help="Where it plays what it is sent; thumbnails are taken there.", metavar="rtmp://HOST:PORT"),
    ] = "",
    cluster: Annotated[str, typer.Option(help="The id of the cluster it is in.", metavar="ID")] = "",
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Make a media server known, and print the configuration to paste into it. Its secret is shown this once."""
    from stagedoor.app import hook_url, snippet  # noqa: PLC0415

    system = settings(data=data, database=database)
    added = administer(
        system,
        lambda admin: admin.engines.add(
            kind,
            name,
            AccountId(account),
            address_trust=address_trust,
            control_url=control_url,
            media_url=media_url,
            cluster_id=cluster,
        ),
    )
    url = hook_url(system, kind, added.hook_secret)
    fields = {
        "engineId": added.engine.id,
        "hookSecret": added.hook_secret.reveal(),
        "hookUrl": url,
        "config": snippet(kind, url, added.control_secret),
    }
    print_fields(fields, as_json=as_json)


@app.command("list")
def list_engines(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List the media servers."""
    engines = administer(settings(data=data, database=database), lambda admin: admin.engines.list())
    rows = [
        {
            "engineId": engine.id,
            "kind": engine.kind.value,
            "name": engine.name,
            "account": engine.account,
            "addressTrust": engine.address_trust.value,
            "controlUrl": engine.control_url,
            "mediaUrl": engine.media_url,
            "cluster": engine.cluster_id,
            "addedOn": instant(engine.added_on),
        }
        for engine in engines
    ]
    print_rows(_COLUMNS, rows, as_json=as_json)


@app.command("set")
def set_engine(
    name: Annotated[str, typer.Argument(help="Its name.")],
    address_trust: Annotated[
        AddressTrust | None, typer.Option(help="Whether the client addresses it gives can be believed.")
    ] = None,
    control_url: Annotated[
        str | None, typer.Option(help="Where its control API answers; empty for nowhere.", metavar="http://HOST:PORT")
    ] = None,
    media_url: Annotated[
        str | None,
        typer.Option(help="Where it plays what it is sent; empty for nowhere.", metavar="rtmp://HOST:PORT"),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="The id of the cluster it is in; empty for none.", metavar="ID")
    ] = None,
    data: Data = None,
    database: Database = None,
) -> None:
    """Change what is known of a media server; what is left out stays."""
    engine = administer(
        settings(data=data, database=database),
        lambda admin: admin.engines.set(
            name, address_trust=address_trust, control_url=control_url, media_url=media_url, cluster_id=cluster
        ),
    )
    typer.echo(
        f"{engine.name}: addresses {engine.address_trust}, control API {engine.control_url or 'none'},"
        f" media {engine.media_url or 'none'}, cluster {engine.cluster_id or 'none'}"
    )


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Its name.")], data: Data = None, database: Database = None
) -> None:
    """Forget a media server: its hook secret is refused from now on."""
    administer(settings(data=data, database=database), lambda admin: admin.engines.remove(name))
    typer.echo(f"removed {name}")
