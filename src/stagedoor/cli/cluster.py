"""`stagedoor cluster`: the media servers of one place, under one name."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stagedoor.cli.options import Data, Database, Json
from stagedoor.cli.output import print_fields, print_rows
from stagedoor.cli.system import administer, settings
from stagedoor.model.cluster import Cluster, Place
from stagedoor.model.errors import InvalidInput
from stagedoor.model.instants import instant

if TYPE_CHECKING:
    from stagedoor.app import Administration

app = typer.Typer(no_args_is_help=True, help="Clusters: the media servers of one place, under one name.")

_COLUMNS = ("clusterId", "name", "rtmp", "srt", "city", "region", "country", "at", "transcoding", "engines", "addedOn")

Id = Annotated[str, typer.Argument(help="Its id, 1 to 64 of A-Z a-z 0-9 _ . -; tokens name it as their originCluster.")]
Name = Annotated[str | None, typer.Option(help="What people call it; left out of a new one, its id.")]
Rtmp = Annotated[str | None, typer.Option(help="Where RTMP is sent; empty for nowhere.", metavar="HOST[:PORT]")]
Srt = Annotated[str | None, typer.Option(help="Where SRT is sent; empty for nowhere.", metavar="HOST[:PORT]")]
City = Annotated[str | None, typer.Option(help="The city it is in.")]
Region = Annotated[str | None, typer.Option(help="The region it is in.")]
Country = Annotated[str | None, typer.Option(help="The country it is in (ISO 3166-1 alpha-2).", metavar="CC")]
At = Annotated[
    str | None,
    typer.Option(
        help="Where it is, in degrees north and east, to find who is near; empty for not told.", metavar="LAT,LONG"
    ),
]
Transcoding = Annotated[bool | None, typer.Option(help="Whether it makes smaller versions of a broadcast.")]


@app.command()
def add(
    cluster_id: Id,
    name: Name = None,
    rtmp: Rtmp = None,
    srt: Srt = None,
    city: City = None,
    region: Region = None,
    country: Country = None,
    at: At = None,
    transcoding: Transcoding = None,
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Make a cluster known; `stagedoor engine set NAME --cluster ID` puts media servers into it."""
    given = _given(
        name=name, rtmp=rtmp, srt=srt, city=city, region=region, country=country, at=at, transcoding=transcoding
    )
    new = replace(Cluster(id=cluster_id, name=cluster_id), **given)

    async def write(admin: "Administration") -> dict[str, Any]:
        await admin.clusters.add(new)
        return await _one(admin, cluster_id)

    print_fields(administer(settings(data=data, database=database), write), as_json=as_json)


@app.command("list")
def list_clusters(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List the clusters and the media servers in each."""
    print_rows(_COLUMNS, administer(settings(data=data, database=database), _rows), as_json=as_json)


@app.command("set")
def set_cluster(
    cluster_id: Id,
    name: Name = None,
    rtmp: Rtmp = None,
    srt: Srt = None,
    city: City = None,
    region: Region = None,
    country: Country = None,
    at: At = None,
    transcoding: Transcoding = None,
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Change what is known of a cluster; what is left out stays."""
    given = _given(
        name=name, rtmp=rtmp, srt=srt, city=city, region=region, country=country, at=at, transcoding=transcoding
    )

    async def write(admin: "Administration") -> dict[str, Any]:
        await admin.clusters.change(cluster_id, lambda cluster: replace(cluster, **given))
        return await _one(admin, cluster_id)

    print_fields(administer(settings(data=data, database=database), write), as_json=as_json)


@app.command()
def remove(cluster_id: Id, data: Data = None, database: Database = None) -> None:
    """Forget a cluster that holds no media servers and is the default of no account. Tokens that name it keep its name."""
    administer(settings(data=data, database=database), lambda admin: admin.clusters.remove(cluster_id))
    typer.echo(f"removed {cluster_id}")


def _given(*, at: str | None, **fields: Any) -> dict[str, Any]:
    """Return what was given, as fields of a cluster.

    Raises: InvalidInput for coordinates that are none.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    return given if at is None else given | {"place": _place(at)}


def _place(text: str) -> Place | None:
    if not text:
        return None
    latitude, _, longitude = text.partition(",")
    try:
        return Place(float(latitude), float(longitude))
    except ValueError:
        raise InvalidInput(f"{text[:40]!r} is no place; write degrees north and east, as in 52.37,4.9") from None


async def _rows(admin: "Administration") -> list[dict[str, Any]]:
    engines = await admin.engines.list()
    return [
        {
            "clusterId": cluster.id,
            "name": cluster.name,
            "rtmp": cluster.rtmp,
            "srt": cluster.srt,
            "city": cluster.city,
            "region": cluster.region,
            "country": cluster.country,
            "at": None if cluster.place is None else f"{cluster.place.latitude},{cluster.place.longitude}",
            "transcoding": cluster.transcoding,
            "engines": [engine.name for engine in engines if engine.cluster_id == cluster.id],
            "addedOn": instant(cluster.added_on),
        }
        for cluster in await admin.clusters.list()
    ]


async def _one(admin: "Administration", cluster_id: str) -> dict[str, Any]:
    return next(row for row in await _rows(admin) if row["clusterId"] == cluster_id)
