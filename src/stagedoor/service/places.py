"""Where an address or a country is, as exactly as that is known.

A country without coordinates of its own stands where its time zones are: at the middle of the towns that the time zone
database (zone.tab) names them by, each counting the same. For a large country that is rough, and near enough to choose a
continent's cluster.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from math import asin, atan2, cos, degrees, hypot, radians, sin
from types import MappingProxyType
from typing import Final

from stagedoor.model.cluster import Place
from stagedoor.service.ports import PlaceLookup

_POINT: Final = re.compile(r"([+-]\d\d)(\d\d)(\d\d)?([+-]\d{3})(\d\d)(\d\d)?")
"""ISO 6709: degrees, minutes and maybe seconds, north and then east."""


class Places:
    """Tells where callers are."""

    def __init__(self, *, addresses: PlaceLookup) -> None:
        """Take what knows of addresses."""
        self._addresses = addresses

    def of(self, address: str) -> Place | None:
        """Return where an IP address is: as exactly as the file says, else its country; None when it is not known."""
        exact = self._addresses.coordinates(address)
        return place_of_country(self._addresses.country(address)) if exact is None else exact


def place_of_country(code: str) -> Place | None:
    """Return where the country with an ISO 3166-1 alpha-2 code is, roughly; None when nobody lives there."""
    return _places().get(code)


def country_name(code: str) -> str:
    """Return the English name of the country with an ISO 3166-1 alpha-2 code; empty when it is nobody's code."""
    return _names().get(code, "")


@lru_cache(maxsize=1)
def _places() -> Mapping[str, Place]:
    points: dict[str, list[Place]] = {}
    for code, point, *_ in _table("zone.tab"):
        points.setdefault(code, []).append(_parse_point(point))
    return MappingProxyType({code: _middle(found) for code, found in points.items()})


@lru_cache(maxsize=1)
def _names() -> Mapping[str, str]:
    return MappingProxyType({code: name for code, name, *_ in _table("iso3166.tab")})


def _table(name: str) -> list[list[str]]:
    """Read a table of the time zone database."""
    lines = files("tzdata").joinpath("zoneinfo", name).read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def _parse_point(text: str) -> Place:
    match = _POINT.fullmatch(text)
    assert match is not None  # noqa: S101  the table holds nothing else
    north, east = (_degrees(match[at], match[at + 1], match[at + 2]) for at in (1, 4))
    return Place(north, east)


def _degrees(whole: str, minutes: str, seconds: str | None) -> float:
    size = abs(int(whole)) + int(minutes) / 60 + int(seconds or 0) / 3600
    return -size if whole.startswith("-") else size


def _middle(places: list[Place]) -> Place:
    """Return the middle of points on a sphere; a mean of longitudes would send Alaska's islands around the world."""
    x = sum(cos(radians(p.latitude)) * cos(radians(p.longitude)) for p in places) / len(places)
    y = sum(cos(radians(p.latitude)) * sin(radians(p.longitude)) for p in places) / len(places)
    z = sum(sin(radians(p.latitude)) for p in places) / len(places)
    length = hypot(x, y, z)
    return Place(degrees(asin(z / length)), degrees(atan2(y, x)))
