"""Web origins, and the patterns that owners write."""

import pytest

from stagedoor.model.errors import InvalidInput
from stagedoor.model.origins import Origin, OriginPattern, parse_origin, parse_origin_pattern


def _matches(pattern: str, origin: str) -> bool:
    parsed = parse_origin(origin)
    assert parsed is not None
    return parse_origin_pattern(pattern).matches(parsed)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://example.com", Origin("https", "example.com", 443)),
        ("http://example.com", Origin("http", "example.com", 80)),
        ("https://example.com:443", Origin("https", "example.com", 443)),
        ("https://example.com:8443", Origin("https", "example.com", 8443)),
        ("HTTPS://Example.COM", Origin("https", "example.com", 443)),
        ("http://localhost:3000", Origin("http", "localhost", 3000)),
        ("http://192.0.2.1", Origin("http", "192.0.2.1", 80)),
        ("http://[2001:db8::1]:8080", Origin("http", "[2001:db8::1]", 8080)),
        ("https://xn--bhne-0ra.example", Origin("https", "xn--bhne-0ra.example", 443)),
        ("app://example", Origin("app", "example", 0)),
        ("https://a_b.example.com", Origin("https", "a_b.example.com", 443)),
        ("https://example.com:65535", Origin("https", "example.com", 65535)),
    ],
)
def test_an_origin_is_scheme_host_and_port(text: str, origin: Origin) -> None:
    """In lower case, with the scheme's own port where none is written."""
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "example.com",
        "//example.com",
        "https://",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?x",
        "https://example.com#x",
        "https://user@example.com",
        "https://good.example@evil.example",
        "https://evil.example\\.good.example",
        "https://example.com:",
        "https://example.com:0",
        "https://example.com:080",
        "https://example.com:65536",
        "https://example.com:99999",
        "https://example.com:443:443",
        "https://example..com",
        "https://.example.com",
        "https://example.com.",
        "https://*.example.com",
        "https://example.com https://other.example",
        " https://example.com",
        "https://example.com ",
        "https://example.com\n",
        "https://example.com\x00",
        "https://exa mple.com",
        "https://exam\u00e9ple.com",
        "https://\u212aelvin.example",
        "https://example\u3002com",
        "https://[::1",
        "https://::1",
        "https://" + "a" * 64 + ".example",
        "https://" + "a." * 1000 + "example",
        "https:example.com",
        "1https://example.com",
        "\ud800",
    ],
)
def test_what_is_no_origin_is_none(text: str) -> None:
    """Whatever a browser would not send: paths, names of users, spaces, other scripts, ports that there are not."""
    assert parse_origin(text) is None


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("example.com", OriginPattern("example.com")),
        ("Example.COM", OriginPattern("example.com")),
        ("*.example.com", OriginPattern("example.com", subdomains=True)),
        ("https://example.com", OriginPattern("example.com", scheme="https", port=443)),
        ("http://*.example.com", OriginPattern("example.com", subdomains=True, scheme="http", port=80)),
        ("example.com:8443", OriginPattern("example.com", port=8443)),
        ("https://example.com:8443", OriginPattern("example.com", scheme="https", port=8443)),
        ("app://example", OriginPattern("example", scheme="app", port=0)),
        ("localhost", OriginPattern("localhost")),
        ("http://[::1]:3000", OriginPattern("[::1]", scheme="http", port=3000)),
    ],
)
def test_a_pattern_is_a_host_and_maybe_more(text: str, pattern: OriginPattern) -> None:
    """A scheme without a port is its own port; no scheme is any."""
    assert parse_origin_pattern(text) == pattern


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.",
        "*example.com",
        "ex*mple.com",
        "*.*.example.com",
        "a.*.example.com",
        "https://example.com/",
        "https://example.com/path",
        "example.com/path",
        "https://user@example.com",
        "https://",
        "https://*",
        "example.com:0",
        "example.com:*",
        "example.com:65536",
        "example.com:080",
        ".example.com",
        "example.com.",
        "*.[::1]",
        "b\u00fchne.example",
        "example.com\n",
        " example.com",
        "example.com,other.example",
        "null\x00",
        "a" * 10_000,
    ],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    """One exception, with the field, and a text that stays short and says what to write."""
    with pytest.raises(InvalidInput, match=r"write a host as example\.com") as caught:
        parse_origin_pattern(text)
    assert caught.value.field == "allowedOrigins"
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("origin", "matches"),
    [
        ("https://example.com", True),
        ("http://example.com", True),
        ("https://example.com:8443", True),
        ("app://example.com", True),
        ("https://www.example.com", False),
        ("https://example.com.evil.example", False),
        ("https://evil-example.com", False),
        ("https://evilexample.com", False),
        ("https://example.co", False),
        ("https://example", False),
    ],
)
def test_a_host_alone_is_any_scheme_and_port_of_that_host(origin: str, matches: bool) -> None:
    """And of no other host, however it ends or begins."""
    assert _matches("example.com", origin) is matches


@pytest.mark.parametrize(
    ("origin", "matches"),
    [
        ("https://www.example.com", True),
        ("http://a.b.example.com:81", True),
        ("https://example.com", False),
        ("https://evilexample.com", False),
        ("https://www.example.com.evil.example", False),
        ("https://example.com.example.org", False),
    ],
)
def test_a_star_is_every_host_below_but_not_the_host_itself(origin: str, matches: bool) -> None:
    """At any depth."""
    assert _matches("*.example.com", origin) is matches


@pytest.mark.parametrize(
    ("pattern", "origin", "matches"),
    [
        ("https://example.com", "https://example.com", True),
        ("https://example.com", "https://example.com:443", True),
        ("https://example.com:443", "https://example.com", True),
        ("https://example.com", "https://example.com:444", False),
        ("https://example.com", "http://example.com", False),
        ("https://example.com", "http://example.com:443", False),
        ("http://example.com:443", "https://example.com", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "http://a.example.com", False),
        ("https://*.example.com", "https://a.example.com:1", False),
        ("app://example", "app://example", True),
        ("app://example", "app://example:1", False),
    ],
)
def test_a_scheme_means_its_own_port(pattern: str, origin: str, matches: bool) -> None:
    """Unless another one is written."""
    assert _matches(pattern, origin) is matches


@pytest.mark.parametrize(
    ("origin", "matches"),
    [
        ("https://example.com:8443", True),
        ("http://example.com:8443", True),
        ("https://example.com:8442", False),
        ("https://example.com:8444", False),
        ("https://example.com", False),
    ],
)
def test_a_port_without_a_scheme_is_that_port_of_any(origin: str, matches: bool) -> None:
    """-1, 0, +1 around it."""
    assert _matches("example.com:8443", origin) is matches


def test_comparing_texts_would_be_fooled() -> None:
    """The attack works on a reader that looks at how the text ends, so the tests above test something."""
    assert "https://evilexample.com".endswith("example.com")
    assert "https://example.com.evil.example".startswith("https://example.com")
