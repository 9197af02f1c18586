"""Where addresses and countries are."""

from pathlib import Path
from typing import Any

import pytest

from stagedoor.model.cluster import Place, distance_km
from stagedoor.service.places import Places, country_name, place_of_country
from stagedoor.store.countries import CountryFile
from tests.mmdb import write_mmdb

PLACES: dict[str, Any] = {
    "192.0.2.0/25": {"country": {"iso_code": "PL"}},
    "192.0.2.128/25": {"country": {"iso_code": "PL"}, "location": {"latitude": 54.35, "longitude": 18.65}},
    "198.51.100.0/24": {"country_code": "US", "latitude": 39.04, "longitude": -77.49},
    "203.0.113.0/25": {"country": {"iso_code": "AU"}, "location": {"latitude": 34, "longitude": 151}},
    "2001:db8::/32": {"country": {"iso_code": "JP"}, "location": {"time_zone": "Asia/Tokyo"}},
}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Tell places by a file of cities."""
    path = write_mmdb(tmp_path / "cities.mmdb", PLACES, database_type="Test-City")
    return Places(addresses=CountryFile(path))


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.200", Place(54.35, 18.65)),
        ("::ffff:192.0.2.200", Place(54.35, 18.65)),
        ("198.51.100.1", Place(39.04, -77.49)),
        ("203.0.113.1", Place(34, 151)),
        ("192.0.2.1", Place(52.25, 21)),
        ("2001:db8::1", Place(35.65, 139.74)),
    ],
)
def test_an_address_is_where_the_file_says_else_in_its_country(places: Places, address: str, place: Place) -> None:
    """As MaxMind writes a city, as DB-IP does, in whole degrees, and without coordinates."""
    found = places.of(address)
    assert found is not None
    assert distance_km(found, place) < 5


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "127.0.0.1", "::1", "203.0.113.200", "", "testclient", "0x7f.1", "1" * 1000, "::192.0.2.200"],
)
def test_who_is_in_no_file_is_nowhere(places: Places, address: str, tmp_path: Path) -> None:
    """Private addresses, unknown ones, and what is none; and everybody, without a file."""
    assert places.of(address) is None
    assert Places(addresses=CountryFile(tmp_path / "none.mmdb")).of("192.0.2.200") is None


@pytest.mark.parametrize(
    "location",
    [
        {"latitude": 91.0, "longitude": 0.0},
        {"latitude": 0.0, "longitude": -180.5},
        {"latitude": float("nan"), "longitude": 0.0},
        {"latitude": "54", "longitude": "18"},
        {"latitude": True, "longitude": True},
        {"latitude": 54.0},
        {},
        "Gdansk",
        [],
    ],
)
def test_coordinates_that_cannot_be_right_are_none(location: Any, tmp_path: Path) -> None:
    """The country still counts."""
    record = {"country": {"iso_code": "PL"}, "location": location}
    path = write_mmdb(tmp_path / "cities.mmdb", {"192.0.2.0/24": record})
    assert CountryFile(path).coordinates("192.0.2.1") is None
    assert Places(addresses=CountryFile(path)).of("192.0.2.1") == place_of_country("PL")


@pytest.mark.parametrize(
    ("code", "near", "km"),
    [
        ("PL", Place(52.23, 21.01), 10),
        ("CL", Place(-33.45, -70.67), 1600),
        ("US", Place(44.97, -103.77), 400),
        ("RU", Place(60, 90), 800),
        ("FJ", Place(-18.13, 178.42), 10),
        ("KI", Place(0.5, -173), 600),
        ("NZ", Place(-41, 178), 600),
    ],
)
def test_a_country_is_in_the_middle_of_its_time_zones(code: str, near: Place, km: float) -> None:
    """Also when they lie on both sides of the date line: nobody's middle is on the other side of the earth."""
    place = place_of_country(code)
    assert place is not None
    assert distance_km(place, near) < km


@pytest.mark.parametrize("code", ["", "XX", "pl", "PL ", "UK"])
def test_what_is_no_country_is_nowhere_and_has_no_name(code: str) -> None:
    """By the table of countries."""
    assert place_of_country(code) is None
    assert country_name(code) == ""


def test_countries_have_names() -> None:
    """As the table has them."""
    assert (country_name("NL"), country_name("PL")) == ("Netherlands", "Poland")
