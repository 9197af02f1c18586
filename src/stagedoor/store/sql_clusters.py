"""Clusters on SQL.

No view remembers them, and still their writes are numbered: that puts them in one order with those of engines and accounts,
so that nothing is put into a cluster while it is being removed.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from stagedoor.model.cluster import Cluster, Place
from stagedoor.model.errors import Conflict, NotFound
from stagedoor.store import schema
from stagedoor.store.codec import policy_of
from stagedoor.store.transactions import Database

_TOLD = 5


class SqlClusters:
    """The port `ClusterStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def add_cluster(self, cluster: Cluster) -> None:
        """Keep a new cluster."""
        async with self._writing() as write:
            try:
                await write.connection.execute(insert(schema.cluster).values(_row(cluster)))
            except IntegrityError:
                raise Conflict(
                    f"there is a cluster {cluster.id!r} already; change it, or choose another id", field="id"
                ) from None

    async def clusters(self) -> Sequence[Cluster]:
        """Return all clusters, by id."""
        async with self._reading() as connection:
            rows = (await connection.execute(select(schema.cluster).order_by(schema.cluster.c.id))).mappings()
            return [_cluster_of(row) for row in rows]

    async def change_cluster(self, cluster_id: str, change: Callable[[Cluster], Cluster]) -> Cluster:
        """Apply `change` and return the cluster as it is now."""
        async with self._writing() as write:
            cluster = change(await _find(write.connection, cluster_id))
            statement = update(schema.cluster).where(schema.cluster.c.id == cluster_id).values(_row(cluster))
            await write.connection.execute(statement)
        return cluster

    async def remove_cluster(self, cluster_id: str) -> None:
        """Forget a cluster."""
        engine = schema.engine.c
        async with self._writing() as write:
            await _find(write.connection, cluster_id)
            names = select(engine.name).where(engine.cluster_id == cluster_id).order_by(engine.name)
            engines = list((await write.connection.execute(names)).scalars())
            if engines:
                raise Conflict(
                    f"the cluster {cluster_id!r} holds {_some(engines)}; take them out first: stagedoor engine set NAME"
                    " --cluster ''",
                    field="id",
                )
            rows = (await write.connection.execute(select(schema.account).order_by(schema.account.c.id))).mappings()
            accounts = [row["id"] for row in rows if policy_of(row).origin_cluster == cluster_id]
            if accounts:
                raise Conflict(
                    f"the cluster {cluster_id!r} is the default of {_some(accounts)}; give them another first: stagedoor"
                    " account set ACCOUNT --cluster auto",
                    field="id",
                )
            await write.connection.execute(delete(schema.cluster).where(schema.cluster.c.id == cluster_id))


async def require_cluster(connection: AsyncConnection, cluster_id: str) -> None:
    """Refuse a cluster that is not there; empty is none at all.

    Raises: NotFound.
    """
    if cluster_id:
        await _find(connection, cluster_id)


async def _find(connection: AsyncConnection, cluster_id: str) -> Cluster:
    query = select(schema.cluster).where(schema.cluster.c.id == cluster_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no cluster {cluster_id[:64]!r}", field="cluster")
    return _cluster_of(row)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_TOLD]) + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "")


def _cluster_of(row: RowMapping) -> Cluster:
    latitude, longitude = row["latitude"], row["longitude"]
    return Cluster(
        id=row["id"],
        name=row["name"],
        rtmp=row["rtmp"],
        srt=row["srt"],
        city=row["city"],
        region=row["region"],
        country=row["country"],
        place=None if latitude is None or longitude is None else Place(latitude, longitude),
        transcoding=row["transcoding"],
        added_on=row["added_on"],
    )


def _row(cluster: Cluster) -> dict[str, object]:
    latitude, longitude = cluster.place or (None, None)
    return {
        "id": cluster.id,
        "name": cluster.name,
        "rtmp": cluster.rtmp,
        "srt": cluster.srt,
        "city": cluster.city,
        "region": cluster.region,
        "country": cluster.country,
        "latitude": latitude,
        "longitude": longitude,
        "transcoding": cluster.transcoding,
        "added_on": cluster.added_on,
    }
