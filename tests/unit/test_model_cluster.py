"""Which cluster is nearest."""

import pytest

from stagedoor.model.cluster import Cluster, Place, distance_km, meant_by_auto, nearest

FRANKFURT = Cluster(id="fra-1", name="Frankfurt", place=Place(50.11, 8.68))
VIRGINIA = Cluster(id="iad-1", name="Ashburn", place=Place(39.04, -77.49))
SYDNEY = Cluster(id="syd-1", name="Sydney", place=Place(-33.87, 151.21))
NOWHERE = Cluster(id="lab", name="A cluster without coordinates")
CLUSTERS = (FRANKFURT, VIRGINIA, NOWHERE, SYDNEY)

WARSAW, AUCKLAND, LIMA, HONOLULU = Place(52.25, 21.0), Place(-36.87, 174.77), Place(-12.05, -77.05), Place(21.3, -157.9)


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        (FRANKFURT.place, WARSAW, 890),
        (FRANKFURT.place, VIRGINIA.place, 6560),
        (Place(0, 179), Place(0, -179), 222.4),
        (Place(0, 0), Place(0, 180), 20015.1),
        (Place(90, 10), Place(-90, -70), 20015.1),
        (Place(89, 0), Place(89, 180), 222.4),
        (WARSAW, WARSAW, 0),
    ],
)
def test_distances_are_those_of_the_globe(a: Place, b: Place, km: float) -> None:
    """Also over the date line, over a pole, and to the other side; the same in both directions."""
    assert distance_km(a, b) == pytest.approx(km, rel=0.005, abs=0.01)
    assert distance_km(b, a) == distance_km(a, b)


@pytest.mark.parametrize(
    ("place", "cluster"),
    [(WARSAW, FRANKFURT), (LIMA, VIRGINIA), (AUCKLAND, SYDNEY), (HONOLULU, VIRGINIA), (Place(-25, 179), SYDNEY)],
)
def test_the_nearest_cluster_is_meant(place: Place, cluster: Cluster) -> None:
    """Whatever the account's default is, and in whatever order they come."""
    assert nearest(CLUSTERS, place) is cluster
    assert nearest(CLUSTERS[::-1], place) is cluster
    assert meant_by_auto(CLUSTERS, place, "syd-1") is cluster


def test_of_two_in_one_place_the_first_by_id_is_nearest() -> None:
    """An answer that does not change from call to call."""
    twin = Cluster(id="fra-0", name="Frankfurt", place=FRANKFURT.place)
    assert nearest((FRANKFURT, twin), WARSAW) is twin
    assert nearest((twin, FRANKFURT), WARSAW) is twin


@pytest.mark.parametrize(
    ("default", "cluster"),
    [("syd-1", SYDNEY), ("lab", NOWHERE), ("", FRANKFURT), ("auto", FRANKFURT), ("x", FRANKFURT)],
)
def test_who_is_nowhere_gets_the_default_or_the_first(default: str, cluster: Cluster) -> None:
    """Also where no cluster says where it is."""
    assert meant_by_auto(CLUSTERS, None, default) is cluster
    blank = (NOWHERE, Cluster(id="lab-2", name="Another"))
    assert meant_by_auto(blank, WARSAW, "lab-2") is blank[1]
    assert meant_by_auto(blank, WARSAW, default) is NOWHERE


def test_without_clusters_nothing_is_meant() -> None:
    """The caller has to know what then."""
    assert nearest((), WARSAW) is None
    assert meant_by_auto((), WARSAW, "syd-1") is None
