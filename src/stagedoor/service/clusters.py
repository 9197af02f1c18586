"""Clusters: what the operator makes of the media servers, and which of them a caller is sent to."""

import math
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from stagedoor.model.cluster import AUTO, EVERY, Cluster, meant_by_auto
from stagedoor.model.errors import InvalidInput
from stagedoor.service.places import Places, country_name
from stagedoor.service.ports import Clock, ClusterStore

ClusterNames = Callable[[], Awaitable[Collection[str]]]
"""The ids of all clusters."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]{1,200}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LONGEST_TEXT: Final = 128
_TOLD: Final = 20


class Clusters:
    """What can be done with clusters."""

    def __init__(self, *, store: ClusterStore, places: Places, clock: Clock, host: str) -> None:
        """Take the collaborators. `host` is where media is sent while no cluster is configured: the authority's own."""
        self._store = store
        self._places = places
        self._clock = clock
        self._host = host

    async def add(self, cluster: Cluster) -> Cluster:
        """Make a cluster known.

        Raises: InvalidInput when it cannot be right; Conflict when its id is taken.
        """
        _check(cluster)
        cluster = replace(cluster, added_on=int(self._clock()))
        await self._store.add_cluster(cluster)
        return cluster

    async def list(self) -> Sequence[Cluster]:
        """Return all clusters, by id."""
        return await self._store.clusters()

    async def names(self) -> Collection[str]:
        """Return the ids of all clusters."""
        return [cluster.id for cluster in await self._store.clusters()]

    async def change(self, cluster_id: str, change: Callable[[Cluster], Cluster]) -> Cluster:
        """Change what is known of a cluster; its id stays.

        Raises: NotFound; InvalidInput when it cannot be right, with nothing changed.
        """

        def checked(cluster: Cluster) -> Cluster:
            changed = replace(change(cluster), id=cluster.id, added_on=cluster.added_on)
            _check(changed)
            return changed

        return await self._store.change_cluster(cluster_id, checked)

    async def remove(self, cluster_id: str) -> None:
        """Forget a cluster.

        Raises: NotFound; Conflict while engines are in it, or an account's streams go to it.
        """
        await self._store.remove_cluster(cluster_id)

    async def seen_from(self, address: str, default: str) -> Sequence[Cluster]:
        """Return what a caller at an IP address can choose from, `auto` first, in an account that sets `default`.

        `auto` has the hosts and the location of the cluster that it stands for.
        """
        clusters = await self._store.clusters()
        meant = meant_by_auto(clusters, self._places.of(address), default)
        if meant is None:
            meant = Cluster(id=AUTO, name="", rtmp=self._host, srt=self._host)
        return [replace(meant, id=AUTO, name="Auto"), *clusters]


def check_cluster(known: Collection[str], name: str, field: str = "originCluster") -> None:
    """Refuse a cluster that nobody runs. While no clusters are configured, any name goes.

    Raises: InvalidInput, about `field`.
    """
    if known:
        require_cluster(known, name, field)


def require_cluster(known: Collection[str], name: str, field: str) -> None:
    """Refuse what is neither a known cluster nor `auto`, and name those that exist.

    Raises: InvalidInput, about `field`.
    """
    if name != AUTO and name not in known:
        told = ", ".join([AUTO, *sorted(known)[:_TOLD]]) + (", ..." if len(known) > _TOLD else "")
        raise InvalidInput(f"there is no cluster {name[:64]!r}; there are: {told}", field=field)


def _check(cluster: Cluster) -> None:
    """Refuse a cluster that cannot be right.

    Raises: InvalidInput.
    """
    if not _ID.fullmatch(cluster.id) or cluster.id.lower() in {AUTO, EVERY}:
        raise InvalidInput(
            f"a cluster's id is 1 to 64 of A-Z a-z 0-9 _ . - and begins with a letter or digit; {AUTO} and {EVERY} are taken",
            field="id",
        )
    for field, text in (("name", cluster.name), ("city", cluster.city), ("region", cluster.region)):
        if len(text) > _LONGEST_TEXT or not text.isprintable():
            raise InvalidInput(f"{field} has at most {_LONGEST_TEXT} printable characters", field=field)
    if not cluster.name:
        raise InvalidInput("a cluster has a name", field="name")
    for field, host in (("rtmp", cluster.rtmp), ("srt", cluster.srt)):
        if host and not _HOST.fullmatch(host):
            raise InvalidInput(f"{field} is a host, and maybe a colon and a port: media.example.com", field=field)
    if cluster.country and not country_name(cluster.country):
        raise InvalidInput(
            f"{cluster.country[:20]!r} is not an ISO 3166-1 alpha-2 code such as PL or GB", field="country"
        )
    if cluster.place is not None:
        _check_degrees(cluster.place.latitude, 90, "latitude")
        _check_degrees(cluster.place.longitude, 180, "longitude")


def _check_degrees(degrees: float, most: int, field: str) -> None:
    if not (math.isfinite(degrees) and -most <= degrees <= most):
        raise InvalidInput(f"{field} goes from -{most} to {most} degrees", field=field)
