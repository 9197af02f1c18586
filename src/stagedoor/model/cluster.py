"""Clusters: the operator's media servers in one place, under one name. Coordinates in degrees, distances in kilometres."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt
from typing import Final, NamedTuple

AUTO: Final = "auto"
"""Stands for the cluster that is nearest to whoever asks."""

EVERY: Final = "all"
"""Stands for all clusters, where several are named."""

_EARTH_RADIUS_KM: Final = 6371.0088
"""The mean radius (IUGG)."""


class Place(NamedTuple):
    """A point on the earth: degrees north and degrees east."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster as the operator describes it.

    `rtmp` and `srt` are hosts, with a port where it is not the usual one; empty where it has none. `country` is an ISO 3166-1
    alpha-2 code. `added_on` is in seconds since the epoch.
    """

    id: str
    name: str
    rtmp: str = ""
    srt: str = ""
    city: str = ""
    region: str = ""
    country: str = ""
    place: Place | None = None
    transcoding: bool = False
    added_on: int = 0


def distance_km(a: Place, b: Place) -> float:
    """Return the length of the shortest way over the earth, as a sphere (the haversine formula)."""
    north, south = radians(a.latitude), radians(b.latitude)
    east = radians(b.longitude - a.longitude)
    h = sin((south - north) / 2) ** 2 + cos(north) * cos(south) * sin(east / 2) ** 2
    return 2 * _EARTH_RADIUS_KM * asin(min(1.0, sqrt(h)))


def nearest(clusters: Iterable[Cluster], place: Place) -> Cluster | None:
    """Return the cluster nearest to `place`, by id among equals; None when none has coordinates."""
    placed = [(distance_km(place, cluster.place), cluster.id, cluster) for cluster in clusters if cluster.place]
    return min(placed)[2] if placed else None


def meant_by_auto(clusters: Sequence[Cluster], place: Place | None, default: str) -> Cluster | None:
    """Return the cluster that `auto` stands for, for a caller at `place`; None when there are no clusters.

    That is the nearest one; where that cannot be told, the one with the id `default`, else the first.
    """
    found = None if place is None else nearest(clusters, place)
    if found is not None:
        return found
    return next((cluster for cluster in clusters if cluster.id == default), clusters[0] if clusters else None)
