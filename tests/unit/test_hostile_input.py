"""Input that was made to hurt: it is refused, in no time, and nothing falls over."""

import json
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from stagedoor.edge.millicast import schemas
from stagedoor.edge.millicast.tokens import terms_of
from stagedoor.edge.parse import parse_body
from stagedoor.engines.dialect import OwnSecrets
from stagedoor.engines.mediamtx.hook import MediaMtx
from stagedoor.engines.nginx_rtmp.hook import NginxRtmp
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import OPEN
from stagedoor.model.addresses import Address, parse_address, parse_network
from stagedoor.model.caveats import Caveat, ClientAddresses, Origins, Referrers, UserAgents
from stagedoor.model.decision import ALLOWING, Reason, Standing
from stagedoor.model.errors import InvalidInput
from stagedoor.model.grant import Grant, StreamPattern
from stagedoor.model.ids import NOWHERE, AccountId, StreamId, TokenId, is_stream_name, parse_path, parse_stream_id
from stagedoor.model.origins import parse_origin, parse_origin_pattern
from stagedoor.model.token import TokenKind, TokenState, TokenTerms, VerifiedToken
from stagedoor.policy import decide, explain
from stagedoor.service.authorize import Attempt, Notice
from stagedoor.service.terms import check_terms
from stagedoor.tokens.opaque import parse_opaque
from stagedoor.tokens.patterns import check_pattern, compile_pattern, compile_wildcard
from tests.world import ENGINES, opened

OWN = OwnSecrets("hook", "control")
STANDS = Standing(TokenState.ACTIVE, OPEN, True, (), 1)
LONG = "a" * 100_000

NAMES = [
    *(
        "a" * 129,
        "a" * 10_000,
        "a/" * 5_000 + "a",
        "",
        "/",
        "/show",
        "show/",
        "a//b",
        "..",
        "../show",
        "a/../b",
        "a/./b",
    ),
    *(".hidden", "a/.b", "a\0b", "\0", "show\0", "show\n", "show\r\nX: y", "\tshow", " show", "show ", "a b", "sh%6fw"),
    *(
        "%2e%2e/show",
        "..%2fshow",
        "%252e%252e",
        "show%00",
        "%",
        "%zz",
        "%u0073how",
        "show?x=1",
        "show#x",
        "show;x",
        "a\\b",
    ),
    *("..\\show", "a|b", "a&b", "$(id)", "`id`", "a'b", 'a"b', "<b>", "{a}", "[a]", "a*", "^show$", "!show"),
    *(
        "caf\u00e9",
        "cafe\u0301",
        "\uff53how",
        "s\u200bhow",
        "\ufeffshow",
        "\u202ewohs",
        "\u2066show\u2069",
        "\u0455how",
    ),
    *("show\u0660", "\u00b9", "\u212aey", "show\u00a0", "show\u2028", "show\uff0fx", "\u2024\u2024/show", "\U0001f3a5"),
]
"""None of these can name a stream."""

SURROGATES = ["\ud800", "a\udfff", "\udc80\udcff", "\ud83d" * 2, "192.0.2.1\udc00", "https://example.com\ud800"]
"""Half characters: no wire brings them, a command line may."""

ADDRESSES = [
    *(
        "192.0.2.01",
        "0300.0.2.1",
        "192.0.2.010",
        "0xc0.0.2.1",
        "0xC0000201",
        "3221225985",
        "192.0.513",
        "192.513",
        "192.0.2",
    ),
    *(
        "192.0.2.1.",
        ".192.0.2.1",
        "192.0.2.1:80",
        "192.0.2.1/32",
        "192.0.2.256",
        "192.0.2.-1",
        "192.0.2.1e0",
        "+192.0.2.1",
    ),
    *(
        " 192.0.2.1",
        "192.0.2.1 ",
        "192.0.2.1\n",
        "192.0.2.1\0",
        "192.0.2.1%0",
        "192.0.2.1,10.0.0.1",
        "192.0.2.1 10.0.0.1",
    ),
    *(
        "\uff11\uff19\uff12.0.2.1",
        "192\u30020\u30022\u30021",
        "\u0661\u0669\u0662.0.2.1",
        "192.0.2.\u00b9",
        "192\uff0e0.2.1",
    ),
    *(
        "fe80::1%eth0",
        "::1%",
        "::ffff:192.0.2.1%1",
        "[::1]",
        "::ffff:192.0.2.01",
        "::ffff:0xc0.0.2.1",
        "::ffff:3221225985",
    ),
    *("::ffff:192.0.2.1/128", ":::", "1::2::3", "2001:db8::12345", "2001:db8:::1", "::g", "localhost", "-", "", LONG),
    *SURROGATES,
]
"""None of these is an address."""

ORIGINS = [
    *(
        "https://user@example.com",
        "https://user:pass@example.com",
        "https://example.com@evil.org",
        "https://evil.org\\@example.com",
    ),
    *(
        "https://evil.org\\.example.com",
        "https:\\\\example.com",
        "https://exa\tmple.com",
        "https://example.com\n",
        "\thttps://example.com",
    ),
    *(
        "https://example.com\0",
        "https://evil.org\0.example.com",
        "https://evil.org%2eexample.com",
        "https://evil.org%00.example.com",
    ),
    *(
        "https://ex\u0430mple.com",
        "https://\uff45xample.com",
        "https://example\u3002com",
        "https://example.c\u1d52m",
        "https://examp\u00ade.com",
    ),
    *(
        "https://example.com\u202e",
        "https://\u200bexample.com",
        "https://EXAMPLE.\u212aOM",
        "https://ex\u0101mple.com",
        "https://\u00dfexample.com",
    ),
    *(
        "https://example.com:0443",
        "https://example.com:4\u06643",
        "https://example.com:+443",
        "https://example.com:99999",
        "https://example.com:",
    ),
    *(
        "https://example.com:443:443",
        "https://example.com:-1",
        "https://example.com:0",
        "https://example.com:443@evil.org",
        "https://example.com.",
    ),
    *(
        "https://.example.com",
        "https://example..com",
        "https://*.example.com",
        "https://*",
        "*",
        "null",
        "NULL",
        "",
        " ",
        "https://",
        "://example.com",
    ),
    *(
        "https://example.com/",
        "https://example.com/x",
        "https://example.com?",
        "https://example.com#",
        "https://example.com, https://evil.org",
    ),
    *(
        "https:example.com",
        "https:///example.com",
        "javascript://example.com/%0aalert(1)",
        "https://[::1",
        "https://[::1%25eth0]",
        "https://" + LONG,
    ),
    *SURROGATES,
]
"""None of these is the origin of a page on example.com, whatever programs make of them."""

REGEXES = [
    *(
        "(a+)+$",
        "(a|aa)*b",
        "((a{0,100}){0,100}){0,100}",
        "(a|a?)+b",
        "(.*a){20}",
    ),
    *(
        "(.*.*.*.*)*=",
        ".*.*.*.*=.*",
        ".*a.{30}",
        "(a|b)*a(a|b){20}",
        "[ab]*a[ab]{60}",
        "(a*)*b",
        "((a*)*)*b",
        "(x+x+)+y",
        "(?i)(a+)+$",
    ),
    *(
        "(.|a)*(.|b)*(.|c)*(.|d)*(.|e)*=",
        "(a?){64}a{64}",
        ".{1000}",
        "(\\pL|\\pN)*a.{9}",
        "\\C*a",
        "(.{0,50}){0,50}",
        "(a{1000}){1000}",
    ),
    *(
        "|".join("a" * length + "b" for length in range(1, 15))[:128].rstrip("|"),
        "|".join("abcdefghij" * 6),
        "(" * 60 + "a" + ")*" * 33,
    ),
]
"""Expressions on which other engines run for ages."""

SLOW = ["(a{0,30}){0,30}", "((a{0,10}){0,10}){0,9}", "(.*){1000}=", "(\\w*){1000}=", "(.?){1000}=", "(.*|a*){500}="]
"""Short, and programs of thousands of steps: each step is tried at each character of a name."""


def _milliseconds(call: Callable[[Any], object], arguments: Iterable[Any]) -> float:
    """Return the median CPU time of a call, in ms: the machine may be busy with other things."""
    taken = []
    for argument in arguments:
        begun = time.thread_time()
        call(argument)
        taken.append(time.thread_time() - begun)
    return statistics.median(taken) * 1000


def _access(**given: Any) -> Access:
    asked = {
        "action": Action.SUBSCRIBE,
        "stream": "show",
        "protocol": Protocol.WEBRTC,
        "client_ip": "192.0.2.1",
    } | given
    return Access(**asked | {"stream": StreamId(AccountId("a"), asked["stream"])})


def _token(*caveats: Caveat, patterns: Iterable[str] = (".*",)) -> VerifiedToken:
    grant = Grant(tuple(Action), (), tuple(compile_pattern(text) for text in patterns))
    return VerifiedToken(TokenId(1), AccountId("a"), grant, caveats)


def _taken(**body: Any) -> TokenTerms:
    """Return the terms that the API makes of a body, or raise as it does."""
    whole = {"label": "x", "streams": [{"streamName": "show"}]} | body
    terms = terms_of(parse_body(json.dumps(whole).encode(), schemas.CreatePublishToken), 1_767_225_600)
    check_terms(terms, TokenKind.PUBLISH)
    return terms


def _refused(**body: Any) -> str:
    """Return the field that the API finds fault with."""
    with pytest.raises(InvalidInput) as caught:
        _taken(**body)
    return caught.value.field or ""


@pytest.mark.parametrize("name", [*NAMES, *SURROGATES], ids=ascii)
def test_no_trick_makes_the_name_of_a_stream(name: str) -> None:
    """As a name, in a path, after an account, and as a token's exact stream."""
    assert not is_stream_name(name)
    assert parse_path(f"acct/{name}") == parse_path(f"acct/v/{name}") == NOWHERE
    with pytest.raises(InvalidInput):
        parse_stream_id(f"acct/{name}")
    with pytest.raises(InvalidInput) as caught:
        check_pattern(StreamPattern(name))
    assert caught.value.field == "streams"


def test_names_that_look_alike_are_not_alike() -> None:
    """Composed and decomposed, wide and narrow, upper and lower: no token for the one is good for the other."""
    token = _token(patterns=["show", "caf\u00e9"])
    for name in ("Show", "SHOW", "\uff53how", "s\u200bhow", "show\n", "cafe\u0301", "CAF\u00c9", "show\0"):
        assert decide(token, _access(stream=name), STANDS, 0).reason is Reason.STREAM_NOT_GRANTED


def test_the_longest_name_is_granted_and_one_longer_is_none() -> None:
    """128 characters."""
    longest = "a" * 128
    assert parse_path(longest).name == longest
    assert parse_path(longest + "a").name == ""
    assert decide(_token(), _access(stream=longest), STANDS, 0).allowed


def _hard_names() -> list[str]:
    """Return longest names, each another one, since answers are remembered."""
    endings = [f"{number:08}" for number in range(11)] + ["b" * 8, "=" * 8, "/aaaaaaa", "a" * 8]
    return [("ab" * 60 if number % 2 else "a" * 120) + ending for number, ending in enumerate(endings)]


def _decision_time(patterns: list[str]) -> float | None:
    """Return how long one decision takes with a token for these expressions; None when they are refused at creation."""
    try:
        _taken(streams=[{"streamName": text, "isRegex": True} for text in patterns])
    except InvalidInput as error:
        assert error.field == "streams"  # noqa: PT017  either end is right
        return None
    token = _token(patterns=patterns)
    return _milliseconds(lambda name: decide(token, _access(stream=name), STANDS, 0), _hard_names())


@pytest.mark.parametrize("text", REGEXES)
def test_an_expression_made_to_blow_up_is_answered_in_no_time(text: str) -> None:
    """Less than a millisecond for the longest names, or refused when the token is made."""
    taken = _decision_time([text])
    assert taken is None or taken < 1


@pytest.mark.parametrize("text", SLOW)
def test_a_short_expression_with_a_large_program_is_answered_in_no_time(text: str) -> None:
    """The same, where a counted repetition makes much of little."""
    taken = _decision_time([text])
    assert taken is None or taken < 1


def test_many_expressions_are_answered_in_no_time() -> None:
    """However many a body can hold, or refused when the token is made."""
    taken = _decision_time(
        [f"(a{{0,{number}}}b?){{0,9}}=" for number in range(100)] * 2 + [f"x{n}.*" for n in range(2000)]
    )
    assert taken is None or taken < 1


def test_half_a_character_in_an_expression_is_invalid_input() -> None:
    """A parser raises exactly one type."""
    with pytest.raises(InvalidInput):
        check_pattern(StreamPattern("a\ud800", is_regex=True))


@pytest.mark.parametrize("text", ADDRESSES, ids=lambda text: ascii(text[:40]))
def test_what_two_programs_read_in_two_ways_is_no_address(text: str) -> None:
    """Not to the parser, not in a list, and in no network: not even in the one of all addresses."""
    assert parse_address(text) is None
    everywhere = ClientAddresses((parse_network("0.0.0.0/0"), parse_network("::/0")))
    assert decide(_token(everywhere), _access(client_ip=text), STANDS, 0).reason is Reason.ADDRESS_UNKNOWN
    if "/" not in text:
        with pytest.raises(InvalidInput):
            parse_network(text)


@pytest.mark.parametrize(
    "text", ["::ffff:192.0.2.1", "::FFFF:192.0.2.1", "::ffff:c000:201", "0:0:0:0:0:ffff:192.0.2.1"]
)
def test_a_mapped_address_is_the_ipv4_address(text: str) -> None:
    """However it is written, in a list and in a call."""
    assert parse_address(text) == parse_address("192.0.2.1") == Address(4, 0xC0000201)
    assert parse_network(text) == parse_network("192.0.2.1")
    only = _token(ClientAddresses((parse_network("192.0.2.0/24"),)))
    assert decide(only, _access(client_ip=text), STANDS, 0).allowed
    no_longer = _token(ClientAddresses((parse_network("::/0"),)))
    assert not decide(no_longer, _access(client_ip=text), STANDS, 0).allowed


@pytest.mark.parametrize("text", ["::192.0.2.1", "64:ff9b::192.0.2.1", "::ffff:0:192.0.2.1", "2002:c000:201::1"])
def test_other_addresses_that_hold_an_ipv4_address_are_not_it(text: str) -> None:
    """IPv4-compatible, translated and tunnelled: what they hold is what somebody wrote there."""
    only = _token(ClientAddresses((parse_network("192.0.2.0/24"),)))
    assert decide(only, _access(client_ip=text), STANDS, 0).reason is Reason.ADDRESS_NOT_ALLOWED


@pytest.mark.parametrize(
    "text",
    [
        *(
            "192.0.2.0/024",
            "192.0.2.0/255.255.255.0",
            "192.0.2.0/0.0.0.255",
            "192.0.2.0/33",
            "192.0.2.0/-1",
            "192.0.2.0/+8",
        ),
        *(
            "192.0.2.0/",
            "/24",
            "192.0.2.0/24/24",
            "192.0.2.0 /24",
            "192.0.2.0/ 24",
            "192.0.2.0/\u0662\u0664",
            "192.0.2.0/1e1",
        ),
        *(
            "192.0.2.1/24",
            "::1/0",
            "2001:db8::/129",
            "fe80::%eth0/64",
            "192.0.2/24",
            "0xc0000200/24",
            "192.0.2.0-192.0.2.9",
        ),
        *("192.0.2.*", "*", "", "192.0.2.0/24\0", "192.0.2.0/24\n", "192.0.2.0/" + "9" * 5000, LONG),
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_a_network_is_written_in_one_way(text: str) -> None:
    """The error names the field."""
    assert _refused(allowedIpAddresses=[text]) == "allowedIpAddresses"


@pytest.mark.parametrize("text", ORIGINS, ids=lambda text: ascii(text[:40]))
def test_no_trick_makes_the_origin_of_a_page(text: str) -> None:
    """Not on the host's own list, nor on that of all hosts below it, on any scheme and port."""
    texts = ("example.com", "*.example.com", "https://example.com", "https://*.example.com", "example.com:443")
    patterns = tuple(parse_origin_pattern(pattern) for pattern in texts)
    decision = decide(_token(Origins(patterns, without_origin=True)), _access(origin=text), STANDS, 0)
    assert decision.reason is Reason.ORIGIN_NOT_ALLOWED


@pytest.mark.parametrize("text", ["https://EXAMPLE.com", "HTTPS://example.COM", "https://example.com:443"])
def test_one_origin_may_be_written_in_several_ways(text: str) -> None:
    """Case, and the scheme's own port."""
    assert parse_origin(text) == parse_origin("https://example.com")
    for pattern in ("https://example.com", "HTTPS://Example.com", "https://example.com:443", "example.com:443"):
        token = _token(Origins((parse_origin_pattern(pattern),)))
        assert decide(token, _access(origin=text), STANDS, 0).allowed


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "*",
            "*.",
            "*.*.example.com",
            "a.*.example.com",
            "*example.com",
            "https://*",
            "**.example.com",
            "example.com/",
            ".example.com",
        ),
        *(
            "https://example.com/x",
            "example.com:*",
            "example.com:0",
            "example.com:65536",
            "user@example.com",
            "example.com.",
            "exa mple.com",
        ),
        *(
            "https:example.com",
            "//example.com",
            "ex\u00e4mple.com",
            "example.com\0",
            "example.com\n",
            "example\\.com",
            "^.*$",
            "*.[::1]",
            LONG,
        ),
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_an_origin_is_listed_in_one_of_few_ways(text: str) -> None:
    """The error names the field."""
    assert _refused(allowedOrigins=[text]) == "allowedOrigins"


@pytest.mark.parametrize(
    "text",
    [LONG, "\0" * 100_000, "\u0130" * 100_000, "\ud800" * 9, "*" * 100_000, "a\nb" * 9000],
    ids=lambda t: ascii(t[:6]),
)
@pytest.mark.parametrize(
    "pattern", ["a" + "*a" * 10, "*a" * 10, "OBS/*", "*\u0130*" * 5, "a*" * 10 + "b"], ids=lambda t: ascii(t[:9])
)
def test_a_long_text_is_matched_or_refused_in_no_time(pattern: str, text: str) -> None:
    """As a user agent, as a referrer, and in what `explain` says of it, which is short."""
    matcher = compile_wildcard(pattern)
    token, access = _token(UserAgents((matcher,)), Referrers((matcher,))), _access(user_agent=text, referrer=text)
    assert _milliseconds(lambda asked: decide(token, asked, STANDS, 0), [access] * 5) < 1
    assert all(len(finding.saw) < 200 for finding in explain(token, access, STANDS, 0)[1])


@pytest.mark.parametrize("text", SURROGATES, ids=ascii)
def test_half_a_character_is_refused_and_explained(text: str) -> None:
    """As an address, an origin, a user agent and a referrer, with a list for each."""
    token = _token(
        ClientAddresses((parse_network("0.0.0.0/0"),)),
        Origins((parse_origin_pattern("example.com"),)),
        UserAgents((compile_wildcard("OBS/*"),)),
        Referrers((compile_wildcard("https://example.com/*"),)),
    )
    access = _access(client_ip=text, origin=text, user_agent=text, referrer=text)
    decision, findings = explain(token, access, STANDS, 0)
    assert decision == decide(token, access, STANDS, 0)
    assert [finding.reason for finding in findings][-4:] == [
        Reason.ADDRESS_UNKNOWN,
        Reason.ORIGIN_NOT_ALLOWED,
        Reason.USER_AGENT_NOT_ALLOWED,
        Reason.REFERRER_NOT_ALLOWED,
    ]


def test_the_longest_lists_of_networks_and_origins_are_gone_through_in_no_time() -> None:
    """A thousand of each, and what is asked for is on neither."""
    networks = ClientAddresses(tuple(parse_network(f"10.0.{n >> 8}.{n & 255}") for n in range(1000)))
    origins = Origins(tuple(parse_origin_pattern(f"*.a{n}.example") for n in range(1000)))
    asked = _access(origin="https://" + "a." * 90 + "example")
    for caveat in (networks, origins):
        assert not decide(_token(caveat), asked, STANDS, 0).allowed
        token = _token(caveat)
        assert _milliseconds(partial(decide, token, standing=STANDS, now=0), [asked] * 9) < 1


@pytest.mark.parametrize("pattern", ["*" * 11, "*a" * 128])
def test_a_wildcard_of_many_pieces_is_refused(pattern: str) -> None:
    """Each piece is looked for at each decision."""
    assert _refused(allowedUserAgents=[pattern]) == "allowedUserAgents"
    with pytest.raises(InvalidInput):
        compile_wildcard(pattern)


def test_the_longest_list_of_wildcards_is_gone_through_in_no_time() -> None:
    """As many and as long as are taken, on the longest text that is looked at; one more is refused."""
    texts = [f"*a{number:0200}b*" + "a*" * 8 + "c" for number in range(50)]
    assert len(_taken(allowedUserAgents=texts).allowed_user_agents) == 50
    assert _refused(allowedUserAgents=[*texts, "x"]) == "allowedUserAgents"
    token = _token(UserAgents(tuple(compile_wildcard(text) for text in texts)))
    access = _access(user_agent="a" * 2047 + "c")
    assert _milliseconds(lambda asked: decide(token, asked, STANDS, 0), [access] * 5) < 1


def test_the_most_expressions_are_answered_in_no_time() -> None:
    """As many as are taken, each as costly as one may be; one more is refused."""
    texts = [f"(a{{0,{number}}}b?){{0,9}}=" for number in range(1, 51)]
    taken = _decision_time([text for text in texts if _decision_time([text]) is not None])
    assert taken is not None
    assert taken < 1
    assert _refused(streams=[{"streamName": f"x{n}.*", "isRegex": True} for n in range(51)]) == "streams"


@pytest.mark.parametrize("text", [*NAMES, *ADDRESSES, *ORIGINS, LONG], ids=lambda text: ascii(text[:20]))
def test_nothing_of_this_is_a_token(text: str) -> None:
    """Nor does it raise; wide and other digits are no digits."""
    assert parse_opaque(text) is None


@pytest.mark.parametrize("digit", ["\uff11", "\u0661", "\u00b9", "\ud800", "\0", "%", "+", "="])
def test_what_has_a_tokens_length_is_none_for_it(digit: str) -> None:
    """64 or 43 characters, all of them wrong or one."""
    for text in (digit * 64, digit * 43, "a" * 63 + digit, digit + "A" * 42):
        assert parse_opaque(text) is None


def _calls(name: str, ip: str, text: str, token: str) -> list[tuple[str, Attempt | Notice]]:
    """Return what each dialect reads, of each kind of call, where a name, an address and other texts are hostile."""
    raw = name.encode("utf-8", "replace")
    found: list[tuple[str, Attempt | Notice]] = []
    for call in ("publish", "play", "update_publish", "update_play"):
        fields = {
            "app": "live",
            "flashver": text,
            "addr": ip,
            "clientid": text,
            "call": call,
            "name": name,
            "pageurl": text,
        }
        for encode in (lambda value: quote(value, errors="replace"), lambda value: value):
            body = "&".join(f"{key}={encode(value)}" for key, value in {**fields, "token": token}.items())
            found.append(("nginx", NginxRtmp().read("", [], body.encode("utf-8", "replace"), OWN)))
    sent = text.encode("utf-8", "replace")
    for uri in (b"/hls/~%s/%s/index.m3u8" % (token.encode(), raw), b"/hls/%s/0.ts?token=%s" % (raw, token.encode())):
        for written in (uri, uri.replace(raw, quote(raw).encode()), uri.replace(raw, quote(quote(raw)).encode())):
            headers = [(b"x-original-uri", written), (b"x-real-ip", ip.encode("utf-8", "replace"))]
            headers += [(b"origin", sent), (b"user-agent", sent), (b"referer", sent)]
            found.append(("nginx", NginxRtmp().read("hls", headers, b"", OWN)))
    for action in ("publish", "read", "playback"):
        call_of = {"action": action, "path": name, "ip": ip, "protocol": "webrtc", "id": text, "userAgent": text}
        for more in ({"token": token}, {"password": token}, {"query": f"token={token}&x={text}"}):
            for ascii_only in (True, False):
                body = json.dumps(call_of | more, ensure_ascii=ascii_only)
                found.append(("mtx", MediaMtx().read("", [], body.encode("utf-8", "replace"), OWN)))
    return found


async def test_hostile_names_are_refused_at_every_door(tmp_path: Path) -> None:
    """With a token that is good for every stream there is; and nothing raises."""
    async with opened("memory", tmp_path) as world:
        streams = [{"streamName": ".*", "isRegex": True}]
        await world.begin(
            {"on": {"kind": "publish", "streams": streams}, "see": {"kind": "subscribe", "streams": streams}}
        )
        for kind in ("on", "see"):
            token = world.tokens[kind].secret.reveal()
            for name in [*NAMES, *SURROGATES]:
                for engine, asked in _calls(name, "192.0.2.1", "x", token):
                    read = "" if isinstance(asked, Notice) else asked.access.stream.name
                    if read and set(name) & set("%&+"):
                        # What is escaped, and stands there as it is, comes out as what it stands for.
                        assert is_stream_name(read)
                        assert not set(read) & set("%&\0\\ ")
                    else:
                        await _is_refused(world.authorizer.authorize, ENGINES[engine], asked)


async def test_hostile_texts_are_refused_at_every_door(tmp_path: Path) -> None:
    """Addresses, origins, user agents and referrers, with a token that has a list for one of them; and nothing raises."""
    streams = [{"streamName": "show"}]
    lists = [
        {"allowedIpAddresses": ["0.0.0.0/0", "::/0"]},
        {"allowedUserAgents": ["OBS/*"]},
        {"allowedOrigins": ["example.com", "*.example.com"]},
    ]
    async with opened("memory", tmp_path) as world:
        rules = {"publish": {"subscribeRequiresAuth": True}, "subscribe": {}}
        bodies = {
            f"{kind}{n}": {"kind": kind, "streams": streams} | more | rule
            for n, rule in enumerate(lists)
            for kind, more in rules.items()
        }
        await world.begin(bodies)
        path = f"{world.account}/show"
        for label, issued in world.tokens.items():
            for text in [*ADDRESSES, *ORIGINS]:
                ip = text if label[-1] == "0" else "192.0.2.1"
                for engine, asked in _calls(path, ip, text, issued.secret.reveal()):
                    # An address that a dialect does not hand on as it came is not the one that was meant.
                    if isinstance(asked, Notice) or label[-1] != "0" or parse_address(asked.access.client_ip) is None:
                        await _is_refused(world.authorizer.authorize, ENGINES[engine], asked)


async def _is_refused(authorize: Callable[..., Any], engine: Any, asked: Attempt | Notice) -> None:
    reason = (
        asked.reason if isinstance(asked, Notice) else (await authorize(engine, asked._replace(running=False))).reason
    )
    assert reason not in ALLOWING, asked


def test_long_calls_are_read_in_no_time() -> None:
    """Bodies and headers as large as the doors let in, of the shapes that are hardest to read."""
    bodies = [
        b"a=" * 32_000,
        b"&" * 64_000,
        b"=&" * 32_000,
        b"%" * 64_000,
        b"name=" + b"%41" * 21_000,
        b"call=play&addr=" + b":1" * 30_000,
    ]
    bodies += [
        b"[" * 64_000,
        b'{"action":"read","query":"' + b"&=" * 30_000 + b'"}',
        b'{"a":' * 12_000,
        b'{"action":"' + b"\\u0041" * 10_000 + b'"}',
    ]
    uris = [
        b"/hls/" + b"/" * 8000,
        b"/hls/" + b"a/" * 4000,
        b"/hls/~" + b"a" * 8000,
        b"/hls/" + b"~a/" * 2600 + b".m3u8",
        b"/hls/" + b"a-" * 4000 + b".ts?",
    ]
    for body in bodies:
        for dialect in (NginxRtmp(), MediaMtx()):
            read = partial(dialect.read, "", [], own_secrets=OWN)
            assert _milliseconds(read, [body] * 5) < 60
    for uri in uris:
        assert (
            _milliseconds(lambda sent: NginxRtmp().read("hls", [(b"x-original-uri", sent)], b"", OWN), [uri] * 5) < 10
        )


NOT_NUMBERS = [
    -1,
    -(2**63),
    2**53 + 1,
    2**63,
    2**64,
    10**30,
    0.5,
    5.0,
    1e300,
    -0.5,
    True,
    False,
    "5",
    "",
    "NaN",
    "Infinity",
    "1e3",
    [],
    [5],
    {},
]
"""No counts, or none that everybody reads alike. Zero is one, where nothing may be asked for."""

NUMBERS = [
    *(("budgets", name) for name in ("sessionSeconds", "watchSeconds", "bytes", "starts")),
    *(("bindTolerance", name) for name in ("ipv4Prefix", "ipv6Prefix", "rebindsPerHour")),
    *(("sessionLimit", name) for name in ("most", "graceSeconds")),
    *(("singleUse", "graceSeconds"), ("", "expires"), ("", "bindIpsOnUsage"), ("", "priority")),
]


@pytest.mark.parametrize(
    ("group", "name", "number"),
    [(*place, number) for place in NUMBERS for number in NOT_NUMBERS if (place[1], number) != ("priority", -1)],
    ids=lambda value: repr(value)[:25],
)
def test_what_is_no_number_names_its_field(group: str, name: str, number: Any) -> None:
    """Negative, huge, fractions, truth values, texts and containers."""
    body: dict[str, Any] = {name: number}
    if group == "sessionLimit":
        body = {"most": 1, "over": "grace", "graceSeconds": 5} | body
    assert _refused(**({group: body} if group else body)) == (group or name)


@pytest.mark.parametrize("group", ["budgets", "bindTolerance", "sessionLimit", "singleUse", "hours"])
@pytest.mark.parametrize("value", [True, 0, 1, -1, 0.5, "x", [], [{}], "null"], ids=repr)
def test_what_is_no_object_names_its_field(group: str, value: Any) -> None:
    """The rules that have several parts."""
    assert _refused(**{group: value}) == group


@pytest.mark.parametrize(("group", "name"), [("budgets", "starts"), ("sessionLimit", "most"), ("", "bindIpsOnUsage")])
def test_zero_is_refused_where_nothing_would_be_allowed(group: str, name: str) -> None:
    """Except for the bind, which it clears."""
    if group:
        assert _refused(**{group: {name: 0}}) == group
    else:
        assert _taken(**{name: 0}).bind_ips_on_usage is None


@pytest.mark.parametrize(
    "number",
    [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"0x10", b"010", b"1_000", b"+1", b"9" * 5000, b"--1", b".5"],
)
def test_numbers_that_json_does_not_have_are_no_body(number: bytes) -> None:
    """The whole body is refused, as such or for its field."""
    body = b'{"label":"x","streams":[{"streamName":"a"}],"budgets":{"starts":%s}}' % number
    with pytest.raises(InvalidInput) as caught:
        check_terms(terms_of(parse_body(body, schemas.CreatePublishToken), 0), TokenKind.PUBLISH)
    assert caught.value.field in ("body", "budgets")


WINDOW = {"days": ["mon"], "from": "08:00", "to": "16:00"}


@pytest.mark.parametrize(
    "time_of_day",
    [
        *(
            "25:00",
            "24:01",
            "7:00",
            "07:60",
            "07:5",
            "0700",
            "07:00:00",
            "-1:00",
            "+7:00",
            " 07:00",
            "07:00 ",
            "07:00Z",
            "",
            ":",
        ),
        *("\u0660\u0667:00", "07\uff1a00", "07:00\0", "aa:bb", 7, 7.0, None, True, [], {}),
        "07:00\n",
    ],
    ids=repr,
)
@pytest.mark.parametrize("end", ["from", "to"])
def test_what_is_no_time_of_day_names_the_hours(end: str, time_of_day: Any) -> None:
    """Two digits, a colon, two digits."""
    assert _refused(hours={"timeZone": "UTC", "windows": [WINDOW | {end: time_of_day}]}) == "hours"


@pytest.mark.parametrize(
    "hours",
    [
        *(
            {"timeZone": "UTC"},
            {"windows": [WINDOW]},
            {"timeZone": "UTC", "windows": []},
            {"timeZone": None, "windows": [WINDOW]},
        ),
        *(
            {"timeZone": "UTC", "windows": [{**WINDOW, "days": days}]}
            for days in ([], ["Mon"], ["monday"], [0], [True], "mon", None)
        ),
        {"timeZone": "UTC", "windows": [WINDOW] * 51},
        {"timeZone": "UTC", "windows": [{**WINDOW, "from": "24:00"}]},
    ],
    ids=lambda hours: repr(hours)[:60],
)
def test_hours_that_cannot_be_right_name_the_field(hours: Any) -> None:
    """Without a zone, without windows, without days, or with too many windows."""
    assert _refused(hours=hours) == "hours"


@pytest.mark.parametrize(
    "zone",
    [
        *(
            "",
            " ",
            ".",
            "..",
            "/",
            "../../etc/passwd",
            "/etc/localtime",
            "Europe",
            "Europe/",
            "Europe/Warsaw/",
            "europe/../Europe/Warsaw",
        ),
        *(
            "Europe/Warsaw\0",
            "Europe/Warsaw\n",
            "Europe\\Warsaw",
            "UTC+1",
            "+01:00",
            "zone1970.tab",
            "tzdata.zi",
            "leapseconds",
        ),
        *("Warsaw" * 1000, "a/" * 50 + "a", "\u202eCTU", "C:\\zone", "file:///etc/localtime", "__init__.py"),
        "a/" * 1000 + "a",
    ],
    ids=lambda zone: ascii(zone)[:30],
)
def test_what_is_no_zone_names_the_hours_and_opens_no_file(zone: str) -> None:
    """Neither above the zones' directory nor a file in it that is no zone."""
    assert _refused(hours={"timeZone": zone, "windows": [WINDOW]}) == "hours"


@pytest.mark.parametrize("name", ["notBefore", "expiresOn", "shadowUntil"])
@pytest.mark.parametrize(
    "instant",
    [
        0,
        1.5,
        True,
        "",
        "now",
        "5",
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:01Z",
        "10000-01-01T00:00:00Z",
        "NaN",
        [],
        {},
    ],
    ids=repr,
)
def test_what_is_no_instant_names_its_field(name: str, instant: Any) -> None:
    """RFC 3339, of days that there are."""
    assert _refused(**{name: instant}) == name


BAD_LISTS: dict[str, list[Any]] = {
    "allowedCountries": [[name] for name in ("pl", "POL", "P", "", "P1", "PL\n", "PL\0", "\uff30\uff2c", "P\u0141")],
    "deniedCountries": [["*"], ["--"], ["pl"], [0], [None], [True], "PL"],
    "allowedProtocols": [["RTMP"], [""], ["*"], ["http"], [0], [None], ["rtmp\0"], "rtmp"],
    "geoAppliesTo": [[], ["watch"], ["PUBLISH"], [0], "publish"],
    "allowedUserAgents": [[""], ["a" * 257], [0], "OBS/*", [f"a{number}" for number in range(1001)]],
    "allowedReferrers": [[""], ["a" * 257], [None], {}, [True]],
    "allowedIpAddresses": [["192.0.2.1"] * 1001, "192.0.2.1", [3221225985], [None]],
    "allowedOrigins": [["example.com"] * 1001, "example.com", [None], [["example.com"]]],
    "subject": ["a" * 129, "a\0", 0, True, []],
}


@pytest.mark.parametrize(
    ("name", "items"),
    [(name, items) for name, several in BAD_LISTS.items() for items in several],
    ids=lambda value: ascii(value)[:40],
)
def test_lists_that_cannot_be_right_name_their_field(name: str, items: Any) -> None:
    """Of countries, protocols, actions, patterns, addresses and origins; and the subject."""
    assert _refused(**{name: items}) == name


@pytest.mark.parametrize("form", ["(.*){%d}=", "(\\w*){%d}="])
def test_the_largest_expressions_are_answered_in_no_time_together(form: str) -> None:
    """As many and as large as one token may have, of those whose every step is tried at each character."""
    sizes = range(1000, 100, -1)
    largest = next(size for size in sizes if _decision_time([form % size]) is not None)
    taken = _decision_time([form % size for size in range(largest, largest - 50, -1)])
    assert taken is not None
    assert taken < 1
