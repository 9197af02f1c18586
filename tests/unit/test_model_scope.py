# ruff: noqa: D103
"""Scopes: their grammar, and who may do what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.model.errors import InvalidScope
from stagedoor.model.scope import (
    ALL_SCOPES,
    EVERYTHING,
    FULL,
    KNOWN,
    both,
    covers,
    covers_all,
    parse_scopes,
    write_scopes,
)

LISTS = st.frozensets(st.sampled_from(sorted(KNOWN)), min_size=1, max_size=6)


def allowed(scopes: frozenset[str]) -> set[str]:
    """Return what is permitted, one by one, by the words of the grammar."""
    return {
        scope
        for scope in ALL_SCOPES
        if "live:*" in scopes or scope in scopes or f"live:{scope.split(':')[1]}:*" in scopes
    }


@given(LISTS)
def test_a_list_is_read_as_it_was_written(scopes: frozenset[str]) -> None:
    assert parse_scopes(write_scopes(scopes)) == parse_scopes(sorted(scopes)) == scopes


@given(LISTS, st.sampled_from(ALL_SCOPES))
def test_a_scope_covers_what_its_words_say(scopes: frozenset[str], wanted: str) -> None:
    assert covers(scopes, wanted) == (wanted in allowed(scopes))


@given(LISTS, LISTS)
def test_who_covers_all_may_do_all(one: frozenset[str], other: frozenset[str]) -> None:
    if covers_all(one, other):
        assert allowed(other) <= allowed(one)


@given(LISTS, LISTS)
def test_both_may_do_what_each_may(one: frozenset[str], other: frozenset[str]) -> None:
    assert allowed(both(one, other)) == allowed(one) & allowed(other)
    assert covers_all(one, both(one, other))
    assert covers_all(other, both(one, other))


def test_nothing_covers_nothing_and_everything_all() -> None:
    assert not any(covers(frozenset(), scope) for scope in KNOWN)
    assert covers_all(FULL, KNOWN)
    assert not covers(frozenset(KNOWN - {EVERYTHING}), EVERYTHING)


@pytest.mark.parametrize(
    "text",
    [
        "live",
        "live:",
        "live:publish_token",
        "live:publish_token:",
        "live:publish_token:create:x",
        "live:Publish_token:create",
        "live:*:create",
        "live:publish_token:create,live:cluster:read",
        "live:publish_token:create\u00a0",
        "*",
        "comms:*",
        "live:cluster:read live:nothing:read",
    ],
)
def test_what_is_no_scope_is_an_error_that_says_which_there_are(text: str) -> None:
    with pytest.raises(InvalidScope, match=r"there is no scope .*there are live:\*, live:account:\*") as caught:
        parse_scopes(text, field="scopes")
    assert caught.value.field == "scopes"


@pytest.mark.parametrize("given", ["", "   ", []])
def test_nothing_is_no_list(given: str | list[str]) -> None:
    with pytest.raises(InvalidScope, match="name a scope"):
        parse_scopes(given)


def test_a_list_has_an_end() -> None:
    with pytest.raises(InvalidScope, match="up to 2000 characters"):
        parse_scopes("live:cluster:read " * 200)
    with pytest.raises(InvalidScope, match="up to 2000 characters"):
        parse_scopes(["live:cluster:read"] * 200)
