"""Stream patterns."""

import time

import pytest

from stagedoor.model.errors import InvalidInput
from stagedoor.model.grant import StreamPattern
from stagedoor.tokens.patterns import MAX_MATCHED, MAX_WILDCARD, check_pattern, compile_pattern, compile_wildcard


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("a", "ba", False),
        ("a|ab", "ab", True),
        ("a|ab", "abc", False),
        ("^a$", "a", True),
        ("^a$", "a\n", False),
        ("a$", "a\n", False),
        ("(?m)^a$", "a\nb", False),
        (".*", "any/thing", True),
        (".", "\n", False),
        ("", "", True),
        ("", "a", False),
        ("cam-[0-9]+", "cam-12", True),
        ("cam-[0-9]+", "xcam-12", False),
        ("cam-[0-9]+", "cam-12x", False),
        ("(?i)show", "SHOW", True),
        ("show", "SHOW", False),
        ("\\d", "\u0661", False),
    ],
)
def test_a_pattern_matches_whole_names(pattern: str, name: str, matches: bool) -> None:
    """A part of a name is not enough, with anchors or without."""
    assert (compile_pattern(pattern).fullmatch(name) is not None) is matches


@pytest.mark.parametrize(
    "pattern",
    [
        "[",
        "(",
        ")",
        "*",
        "a**",
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(a)\\1",
        "\\",
        "(?P<n",
        "a{1001}",
        "(a{1000}){1000}",
        "[z-a]",
    ],
)
def test_what_re2_does_not_take_is_an_error_of_the_field_streams(pattern: str) -> None:
    """Look-around, back-references and broken expressions, in RE2's own words."""
    with pytest.raises(InvalidInput, match="is not valid: ") as caught:
        compile_pattern(pattern)
    assert caught.value.field == "streams"


@pytest.mark.parametrize("pattern", ["\\pN{1000}", "(\\pL{100}){10}", "(?:\\pL\\pN){500}"])
def test_an_expression_with_a_large_program_is_refused(pattern: str) -> None:
    """Memory is bounded when the pattern is made."""
    with pytest.raises(InvalidInput):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "(a*)*b", "(a|a)*b", "(a|aa)+$", "(.*)*(.*)*(.*)*b", "(a?){64}a{64}b", "([a-z]+)*!?b", "(x+x+)+y"],
)
@pytest.mark.parametrize("name", ["a" * 127 + "!", "a" * 128, "x" * 128])
def test_patterns_that_blow_up_elsewhere_are_answered_at_once(pattern: str, name: str) -> None:
    """Under a millisecond for the longest name: the best of three, since the machine does other things too."""
    matcher = compile_pattern(pattern)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        matcher.fullmatch(name)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.001


def test_equal_patterns_share_one_compiled_form() -> None:
    """A thousand tokens with one pattern cost one."""
    assert compile_pattern("share-[0-9]") is compile_pattern("share-[0-9]")


@pytest.mark.parametrize(
    "pattern", [StreamPattern("show"), StreamPattern("x" * 128), StreamPattern(".*", True), StreamPattern("^a$", True)]
)
def test_usable_patterns_pass(pattern: StreamPattern) -> None:
    """Names as names, expressions as expressions."""
    check_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        StreamPattern(""),
        StreamPattern("", True),
        StreamPattern("x" * 129),
        StreamPattern("x" * 129, True),
        StreamPattern(".*"),
        StreamPattern(".."),
        StreamPattern("a/../b"),
        StreamPattern("a\n"),
        StreamPattern("a\x00"),
        StreamPattern("%2e"),
        StreamPattern("["),
        StreamPattern("[", True),
        StreamPattern("x" * 10_000),
    ],
)
def test_unusable_patterns_are_refused(pattern: StreamPattern) -> None:
    """A name that no stream can have, an expression that is none, or a length that is none."""
    with pytest.raises(InvalidInput) as caught:
        check_pattern(pattern)
    assert caught.value.field == "streams"


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("*", "", True),
        ("*", "anything\nat all", True),
        ("**", "x", True),
        ("abc", "ABC", True),
        ("ABC", "abc", True),
        ("abc", "abcd", False),
        ("abc", "xabc", False),
        ("abc", "abc\n", False),
        ("a*", "a", True),
        ("a*", "ba", False),
        ("*a", "ba", True),
        ("*a", "ab", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("ab*bc", "abc", False),
        ("*ab*ab*", "ab", False),
        ("*ab*ab*", "xabxabx", True),
        ("*a*b*", "ba", False),
        ("https://*.example.com/*", "https://www.example.com/watch?v=1", True),
        ("https://*.example.com/*", "https://example.com/", False),
        ("a.c", "abc", False),
        ("a+", "aa", False),
        ("[ab]", "a", False),
        ("?", "a", False),
        ("(a|b)", "a", False),
        ("\\*", "\\x", True),
    ],
)
def test_a_wildcard_matches_whole_texts(pattern: str, text: str, matches: bool) -> None:
    """`*` alone stands for anything; upper and lower case are the same."""
    assert (compile_wildcard(pattern).fullmatch(text) is not None) is matches


@pytest.mark.parametrize("length", [0, MAX_WILDCARD + 1, 10_000])
def test_a_wildcard_has_a_length(length: int) -> None:
    """The longest one is taken."""
    compile_wildcard("a" * MAX_WILDCARD)
    with pytest.raises(InvalidInput):
        compile_wildcard("a" * length)


@pytest.mark.parametrize(("length", "matches"), [(-1, True), (0, True), (1, False)])
def test_a_text_that_is_very_long_matches_no_wildcard(length: int, matches: bool) -> None:
    """-1, 0, +1 around the longest one; also where anything would do."""
    assert (compile_wildcard("*").fullmatch("a" * (MAX_MATCHED + length)) is not None) is matches
