"""Names of things."""

import time

import pytest

from stagedoor.model.errors import InvalidInput
from stagedoor.model.ids import (
    MAX_STREAM_NAME,
    NOWHERE,
    AccountId,
    StreamId,
    is_account_id,
    is_stream_name,
    parse_path,
    parse_stream_id,
)

HOSTILE = [
    "",
    ".",
    "..",
    "a/..",
    "../a",
    "a/../b",
    "a/./b",
    ".hidden",
    "a/.hidden",
    "/a",
    "a/",
    "a//b",
    "a\x00b",
    "\x00",
    "a%2e%2e",
    "100%",
    "a b",
    "a\tb",
    "a\n",
    "\na",
    "a\r\n",
    "caf\u00e9",
    "\uff41",
    "a\u202eb",
    "a\u2028",
    "\u0661",
    "\ud800",
    "a\\b",
    "a?b",
    "a#b",
    "a&b",
    "a;b",
    "a|b",
    "a$b",
    "a`b",
    "a'b",
    'a"b',
    "a<b",
    "a*b",
    "(a)",
    "[a]",
    "{a}",
]


@pytest.mark.parametrize("name", ["a", "A9_", "a.b", "a..b", "a.", "a/b/c", "~a", "a+b=c@d:e,f-g", "-", "x" * 128])
def test_ordinary_names_are_stream_names(name: str) -> None:
    """Every character of the list is taken, and parts separated by a slash."""
    assert is_stream_name(name)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_no_stream_names(name: str) -> None:
    """Nothing that climbs, hides, ends a line or needs escaping is a name."""
    assert not is_stream_name(name)


@pytest.mark.parametrize(
    ("length", "taken"),
    [(0, False), (MAX_STREAM_NAME - 1, True), (MAX_STREAM_NAME, True), (MAX_STREAM_NAME + 1, False)],
)
def test_a_stream_name_has_at_most_128_characters(length: int, taken: bool) -> None:
    """The limit itself is taken, one more is not."""
    assert is_stream_name("n" * length) is taken


@pytest.mark.parametrize("name", ["a" * 10_000, "a/" * 5_000, "a/" * 5_000 + ".", "." * 10_000, "~" * 10_000 + "\n"])
def test_long_names_are_refused_at_once(name: str) -> None:
    """10,000 characters cost no more than a millisecond or so."""
    began = time.perf_counter()
    assert not is_stream_name(name)
    assert time.perf_counter() - began < 0.05


def test_a_name_of_many_parts_is_judged_without_backtracking() -> None:
    """The longest name of many parts with a bad end is refused at once."""
    began = time.perf_counter()
    assert not is_stream_name("a/" * 63 + "a%")
    assert time.perf_counter() - began < 0.01


@pytest.mark.parametrize("text", ["a", "A-Z_09", "x" * 64])
def test_ordinary_account_ids(text: str) -> None:
    """Letters, digits, underscore and hyphen, up to 64."""
    assert is_account_id(text)


@pytest.mark.parametrize(
    "text", ["", "x" * 65, "a" * 10_000, "a.b", "a/b", "a\n", "a\x00", "\u0661", "..", "%41", "a b"]
)
def test_hostile_account_ids(text: str) -> None:
    """Anything else is no account id."""
    assert not is_account_id(text)


def test_a_stream_id_is_account_slash_name() -> None:
    """The account ends at the first slash."""
    assert parse_stream_id("acct/show/cam-1") == StreamId(AccountId("acct"), "show/cam-1")


def test_a_stream_id_reads_what_it_writes() -> None:
    """Text and back gives the same stream."""
    stream = StreamId(AccountId("acct"), "show/cam-1")
    assert parse_stream_id(str(stream)) == stream


def test_an_unknown_account_is_written_as_a_question_mark() -> None:
    """An empty account shows, and no account can have that name."""
    assert str(StreamId(AccountId(""), "show")) == "?/show"
    assert not is_account_id("?")


@pytest.mark.parametrize("text", ["", "acct", "/show", "acct/", "acct/..", "a.b/show", "acct/show\n", "acct//show"])
def test_what_is_no_stream_id_is_an_error_of_the_field_stream(text: str) -> None:
    """Either half missing or impossible: InvalidInput, and nothing else."""
    with pytest.raises(InvalidInput) as caught:
        parse_stream_id(text)
    assert caught.value.field == "stream"


def test_the_error_of_a_long_stream_id_is_short() -> None:
    """A hostile text does not fill the log."""
    with pytest.raises(InvalidInput) as caught:
        parse_stream_id("x" * 10_000)
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("path", "account", "name"),
    [
        ("show", "", "show"),
        ("acct/show", "acct", "show"),
        ("acct/show/cam", "acct", "show/cam"),
        ("a.b/show", "", "a.b/show"),
        ("x" * 64 + "/show", "x" * 64, "show"),
        ("x" * 65 + "/show", "", "x" * 65 + "/show"),
        ("acct/" + "n" * 128, "acct", "n" * 128),
        ("n" * 128, "", "n" * 128),
        ("-/-", "-", "-"),
    ],
)
def test_a_path_is_a_name_or_account_and_name(path: str, account: str, name: str) -> None:
    """The first part is the account where it can be one."""
    assert parse_path(path) == (account, name)


@pytest.mark.parametrize("name", [*HOSTILE, "n" * 129, "n" * 10_000, "a/" * 5_000])
def test_a_hostile_path_is_nowhere(name: str) -> None:
    """With an account before it or not: nothing of it is kept."""
    assert parse_path(name) == NOWHERE == ("", "")
    assert parse_path(f"acct/{name}") == NOWHERE


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in {"a/..", "a/.hidden", "a/../b", "a/./b"}])
def test_a_hostile_account_is_nowhere(name: str) -> None:
    """What can be neither account nor part of a name is not overlooked."""
    if name in {"..", "."} or not name:
        assert parse_path(f"{name}/show") == NOWHERE
    else:
        assert parse_path(f"{name}/show").account == ""
        assert parse_path(f"{name}/show") == NOWHERE
