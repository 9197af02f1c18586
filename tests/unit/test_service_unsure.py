# ruff: noqa: D103
"""Requests that come again because nobody knew whether they were carried out."""

from stagedoor.model.ids import AccountId
from stagedoor.model.secret import Secret
from stagedoor.service.unsure import KEPT_SECONDS, Request, Unsure

HERS, HIS = AccountId("hers"), AccountId("his")
ASKED = Request(b"a" * 32)


def test_a_value_is_given_back_once_and_only_to_the_same_request() -> None:
    unsure = Unsure(lambda: 0.0)
    unsure.remember(HERS, ASKED, Secret("first"))
    assert unsure.take(HIS, ASKED) is None
    assert unsure.take(HERS, Request(b"b" * 32)) is None
    assert unsure.take(HERS, None) is None
    found = unsure.take(HERS, ASKED)
    assert found is not None
    assert found.reveal() == "first"
    assert unsure.take(HERS, ASKED) is None


def test_two_of_the_same_have_a_value_each() -> None:
    """Two tokens were asked for with the same words; each retry is one of them."""
    unsure = Unsure(lambda: 0.0)
    for value in ("first", "second"):
        unsure.remember(HERS, ASKED, Secret(value))
    found = [unsure.take(HERS, ASKED) for _ in range(3)]
    assert [value and value.reveal() for value in found] == ["first", "second", None]


def test_after_a_while_it_is_another_request() -> None:
    now = 0.0
    unsure = Unsure(lambda: now)
    unsure.remember(HERS, ASKED, Secret("first"))
    now = KEPT_SECONDS
    unsure.remember(HERS, ASKED, Secret("second"))
    now = KEPT_SECONDS + 1
    found = unsure.take(HERS, ASKED)
    assert found is not None
    assert found.reveal() == "second"
    assert unsure.take(HERS, ASKED) is None


def test_memory_is_bounded() -> None:
    unsure = Unsure(lambda: 0.0)
    for number in range(1001):
        unsure.remember(HERS, Request(number.to_bytes(32)), Secret("value"))
    assert unsure.take(HERS, Request((0).to_bytes(32))) is None
    assert unsure.take(HERS, Request((1000).to_bytes(32))) is not None


def test_without_a_request_nothing_is_kept() -> None:
    unsure = Unsure(lambda: 0.0)
    unsure.remember(HERS, None, Secret("value"))
    assert unsure._values == {}
