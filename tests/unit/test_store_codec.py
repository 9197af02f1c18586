"""Rows that a newer version wrote. (That what is written reads back stands in tests/property/test_codec_properties.py.)"""

import json
import logging
from typing import Any, cast

import pytest
from sqlalchemy import RowMapping

from stagedoor.model.account import AccountPolicy
from stagedoor.model.caveats import Countries, SessionLimit
from stagedoor.model.errors import InvalidInput
from stagedoor.model.grant import StreamPattern
from stagedoor.model.hours import Hours, Window
from stagedoor.model.token import PublishOptions, TokenTerms
from stagedoor.store.codec import policy_of, record_of, write_policy, write_terms

TERMS = TokenTerms(
    label="t",
    streams=(StreamPattern("show"), StreamPattern("cam-.*", is_regex=True)),
    hours=Hours("UTC", (Window((0,), 60, 120), Window((1, 2), 60, 120))),
    session_limit=SessionLimit(2),
    publishing=PublishOptions(geo_cascade={"deep": [{"er": 1}]}, restream=({"url": "rtmp://example.com/live"},)),
)
POLICY = AccountPolicy(countries=Countries(denied=("DE",)), shadow_until=5)


def _read(terms: dict[str, Any]) -> TokenTerms:
    row = {"id": 1, "account_id": "a", "kind": "publish", "terms": json.dumps(terms), "digest": b"", "sealed": b""}
    return record_of(
        cast("RowMapping", row | {"added_on": 0, "revoked_at": None, "parent_id": None, "key_id": None})
    ).terms


def _written() -> dict[str, Any]:
    written: dict[str, Any] = json.loads(write_terms(TERMS))
    return written


def _policy(policy: dict[str, Any], *, enabled: bool = True) -> AccountPolicy:
    row: dict[str, object] = {"id": "acct", "enabled": enabled, "policy": json.dumps(policy)}
    return policy_of(cast("RowMapping", row))


def _with(content: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return `content` with a value put at a path in it."""
    place: Any = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return content


def test_what_this_version_wrote_is_understood() -> None:
    """Also the parts of it that are whatever their owner wrote."""
    assert _read(_written()) == TERMS
    assert TERMS.not_understood == ()


@pytest.mark.parametrize(
    "path",
    [
        ("full_moon",),
        ("publishing", "full_moon"),
        ("session_limit", "full_moon"),
        ("hours", "full_moon"),
        ("streams", 0, "full_moon"),
        ("streams", 1, "full_moon"),
        ("hours", "windows", 0, "full_moon"),
        ("hours", "windows", 1, "full_moon"),
    ],
)
@pytest.mark.parametrize("value", [True, None, 0, "", [], {}, {"phase": ["new"]}])
def test_a_setting_that_is_not_known_is_told_by_its_name(path: tuple[str | int, ...], value: object) -> None:
    """At the top, below it, in lists; whatever it is set to, since what that means is not known either."""
    read = _read(_with(_written(), path, value))
    assert read.not_understood == ("full_moon",)
    assert read.streams == TERMS.streams


def test_all_settings_that_are_not_known_are_told_once_and_in_order() -> None:
    """However often they are set."""
    content = _with(_with(_written(), ("tides",), 1), ("full_moon",), 1)
    for number in (0, 1):
        content = _with(content, ("streams", number, "tides"), 1)
    assert _read(content).not_understood == ("full_moon", "tides")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_protocols", ["rtmp", "smoke-signals"]),
        ("geo_applies_to", ["publish", "rehearse"]),
        ("session_limit", {"most": 1, "per": "planet"}),
        ("session_limit", {"most": "few"}),
        ("single_use", []),
        ("expires_at", "never"),
        ("hours", {"zone": "UTC", "windows": [{"days": "all"}]}),
        ("publishing", 5),
        ("label", None),
        ("streams", {"all": True}),
    ],
)
def test_a_setting_with_a_value_that_is_not_known_is_told_by_its_name(name: str, value: object) -> None:
    """One such token must not keep the others of its account from being read. It grants at most what is understood."""
    read = _read(_with(_with(_written(), (name,), value), ("tides",), 1))
    assert read.not_understood == tuple(sorted((name, "tides")))
    assert read.streams == (() if name == "streams" else TERMS.streams)
    assert read.hours == (None if name == "hours" else TERMS.hours)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("publishing", "geo_cascade"), {"full_moon": [{"tides": 1}]}),
        (("publishing", "restream"), [{"full_moon": {"tides": 1}}, {}]),
    ],
)
def test_what_the_owner_may_write_freely_is_no_setting(path: tuple[str, ...], value: object) -> None:
    """It is kept as it is, and judged by nobody."""
    assert _read(_with(_written(), path, value)).not_understood == ()


def test_what_is_not_understood_is_never_written() -> None:
    """Not as a setting of its own, and not without it: written anew, the token would have lost a limit."""
    assert "not_understood" not in _written()
    with pytest.raises(InvalidInput, match="full_moon"):
        write_terms(_read(_with(_written(), ("full_moon",), True)))


def test_a_row_that_tells_itself_what_is_not_understood_refuses() -> None:
    """No version writes that; one that did would not be taken for a token without limits."""
    assert _read(_with(_written(), ("not_understood",), ["full_moon"])).not_understood == ("full_moon",)


# -- accounts


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("countries", {"denied": ["DE"], "applies_to": ["rehearse"]}),
        ("longest_lifetime_seconds", "a year"),
        ("shadow_until", None),
    ],
)
def test_an_account_with_a_value_that_is_not_known_is_closed(name: str, value: object) -> None:
    """It must not keep the other accounts from being read."""
    read = _policy({"origin_cluster": "phx-1", name: value})
    assert (read.enabled, read.not_understood, read.origin_cluster) == (False, (name,), "phx-1")


@pytest.mark.parametrize("path", [("curfew",), ("countries", "curfew")])
def test_an_account_with_a_setting_that_is_not_known_is_closed(
    path: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """And the operator is told why; the rest of it is as it was."""
    content = _with(json.loads(write_policy(POLICY)), path, True)
    with caplog.at_level(logging.ERROR):
        read = _policy(content)
    assert (read.enabled, read.not_understood) == (False, ("curfew",))
    assert (read.countries, read.shadow_until) == (POLICY.countries, POLICY.shadow_until)
    assert "account acct sets curfew, which this version does not know; upgrade stagedoor" in caplog.text


def test_an_account_that_is_understood_is_as_it_was_left(caplog: pytest.LogCaptureFixture) -> None:
    """Open or closed, and nothing is said of it."""
    content = json.loads(write_policy(POLICY))
    assert "not_understood" not in content
    for enabled in (True, False):
        assert _policy(content, enabled=enabled).enabled is enabled
    assert caplog.text == ""


def test_a_policy_that_is_not_understood_is_never_written() -> None:
    """Written anew, the account would be open without its rule, or closed for ever."""
    with pytest.raises(InvalidInput, match="curfew"):
        write_policy(_policy({"curfew": True}))
