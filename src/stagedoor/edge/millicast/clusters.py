"""The operations on clusters. Every entry has all of its fields: clients insist on them."""

from dataclasses import replace
from functools import partial
from typing import Annotated

from msgspec import Meta, Struct

from stagedoor.edge.operation import Call, Operation
from stagedoor.model.account import AccountPolicy
from stagedoor.model.cluster import AUTO, Cluster
from stagedoor.service.accounts import Accounts
from stagedoor.service.clusters import Clusters, require_cluster
from stagedoor.service.places import country_name


class Location(Struct, rename="camel"):
    """Where a cluster is, in words."""

    city: str | None
    region: str | None
    country: str | None


class Features(Struct, rename="camel"):
    """What a cluster can do."""

    transcoding: bool


class ShownCluster(Struct, rename="camel", kw_only=True):
    """A cluster; `rtmp` and `srt` are hosts, empty where it has none. That of `auto` are those of the one nearest to the caller."""

    id: str
    name: str
    rtmp: str
    srt: str
    location: Location
    features: Features


class ShownClusters(Struct, rename="camel"):
    """What tokens can name as their `originCluster`, and what is meant where they name none."""

    default_cluster: str
    available_clusters: list[ShownCluster]


class DefaultCluster(Struct, rename="camel"):
    """The cluster of tokens that name none: `auto`, or the id of one."""

    default_cluster: Annotated[str, Meta(min_length=1)]


def cluster_operations(clusters: Clusters, accounts: Accounts) -> tuple[Operation, ...]:
    """Return the operations."""

    async def shown(call: Call, policy: AccountPolicy) -> ShownClusters:
        seen = await clusters.seen_from(call.client_ip, policy.origin_cluster)
        return ShownClusters(policy.origin_cluster or AUTO, [_shown(cluster) for cluster in seen])

    async def read(call: Call) -> ShownClusters:
        return await shown(call, await accounts.policy(call.account))

    async def choose(call: Call) -> ShownClusters:
        asked: DefaultCluster = call.body
        require_cluster(await clusters.names(), asked.default_cluster, "defaultCluster")
        chosen = "" if asked.default_cluster == AUTO else asked.default_cluster
        return await shown(
            call, await accounts.change(call.account, lambda policy: replace(policy, origin_cluster=chosen))
        )

    operation = partial(Operation, path="/api/cluster", tag="Clusters", answer=ShownClusters)
    return (
        operation(
            method="GET",
            name="read_clusters",
            scope="live:cluster:read",
            summary="List the clusters",
            handle=read,
            refusals=(),
        ),
        operation(
            method="PUT",
            name="set_default_cluster",
            scope="live:cluster:update",
            summary="Choose the cluster of tokens that name none",
            handle=choose,
            body=DefaultCluster,
            example={"defaultCluster": AUTO},
        ),
    )


def _shown(cluster: Cluster) -> ShownCluster:
    place = cluster.city or None, cluster.region or None, country_name(cluster.country) or None
    return ShownCluster(
        id=cluster.id,
        name=cluster.name,
        rtmp=cluster.rtmp,
        srt=cluster.srt,
        location=Location(*place),
        features=Features(cluster.transcoding),
    )
