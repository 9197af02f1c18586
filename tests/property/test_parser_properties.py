"""Parsers raise their one declared type, or nothing, whatever comes."""

import json
import re
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from hypothesis import example, given
from hypothesis import strategies as st

from stagedoor.config import PREFIX, Settings, load
from stagedoor.edge.millicast import schemas
from stagedoor.edge.oauth.tokens import AskForToken
from stagedoor.edge.parse import parse_body, parse_form
from stagedoor.engines.dialect import OwnSecrets
from stagedoor.engines.mediamtx.hook import MediaMtx
from stagedoor.engines.nginx_rtmp.hook import NginxRtmp
from stagedoor.model.access import Action
from stagedoor.model.addresses import Address, Network, parse_address, parse_network
from stagedoor.model.decision import Reason
from stagedoor.model.errors import ConfigError, InvalidInput
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import is_stream_name, parse_path, parse_stream_id
from stagedoor.model.origins import parse_origin, parse_origin_pattern
from stagedoor.service.authorize import Attempt, Notice
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.opaque import TOKEN_BYTES, parse_opaque
from stagedoor.tokens.patterns import check_pattern, compile_wildcard

anything = st.text(st.characters(exclude_categories=()), max_size=100)
"""Lone surrogates too."""

OWN_SECRETS = OwnSecrets("secret", "another secret")

plain = st.text(max_size=20)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=4,
)
SCHEMAS: list[type[Any]] = [
    schemas.CreatePublishToken,
    schemas.CreateSubscribeToken,
    schemas.UpdateToken,
    schemas.UpdatePublishToken,
    schemas.DisableTokens,
]
FIELDS = [
    *schemas.V1_NAMES,
    *schemas.V1_NAMES.values(),
    "label",
    "streams",
    "expires",
    "notBefore",
    "tracking",
    "priority",
    "enableUTCInsertion",
    "isActive",
    "addTokenStreams",
    "removeTokenStreams",
    "tokenIds",
]
TOKEN = "ab" * 32
OWN = f"app=live&flashver=x&swfurl=&tcurl=&pageurl=&addr=192.0.2.1&clientid=7&call=%s&name=%s&type=live&token={TOKEN}"


@given(
    anything | st.text("0123456789abcdef ", min_size=60, max_size=66) | st.text("aZ9-_=+/", min_size=42, max_size=44)
)
def test_parse_opaque_returns_32_bytes_or_none(text: str) -> None:
    """It never raises."""
    value = parse_opaque(text)
    assert value is None or len(value) == TOKEN_BYTES


@given(anything | st.text("0123456789abcdefx.:/%", max_size=45))
def test_parse_address_returns_an_address_or_none(text: str) -> None:
    """It never raises, and a number fits its version."""
    address = parse_address(text)
    if address is not None:
        assert isinstance(address, Address)
        assert address.number >> {4: 32, 6: 128}[address.version] == 0


@given(anything | st.text("0123456789abcdefx.:/%", max_size=45))
def test_parse_network_raises_only_invalid_input(text: str) -> None:
    """What it returns has no host bits."""
    try:
        network = parse_network(text)
    except InvalidInput:
        return
    assert isinstance(network, Network)
    assert network.first & ~network.mask == 0


@given(anything | st.text("a./-", max_size=20))
def test_parse_stream_id_and_path_agree(text: str) -> None:
    """The one raises InvalidInput only; the other never raises, and knows no name that is none."""
    path = parse_path(text)
    assert path.name == "" or is_stream_name(path.name)
    try:
        stream = parse_stream_id(text)
    except InvalidInput:
        assert not (path.account and path.name)
    else:
        assert stream == path


@given(plain | st.text("a()[]{}*+?|\\^$.1,:=!<P", max_size=30), st.booleans())
def test_check_pattern_raises_only_invalid_input(text: str, is_regex: bool) -> None:
    """Whatever the expression."""
    try:
        check_pattern(StreamPattern(text, is_regex))
    except InvalidInput as error:
        assert error.field == "streams"  # noqa: PT017  either end is right


def _check(asked: Attempt | Notice) -> None:
    """Hold what a dialect read to what everything after it relies on."""
    if isinstance(asked, Attempt):
        name = asked.access.stream.name
        assert name == "" or is_stream_name(name)
        assert not name.startswith((".", "/"))
        assert "/." not in name
        assert asked.access.action in Action
    else:
        assert asked.reason in Reason


form_keys = st.sampled_from(["app", "flashver", "addr", "clientid", "call", "name", "token", "t", "type", "x", ""])
form_values = st.sampled_from(["publish", "play", "ngx-local-relay", "", "show", "done", "a%2F..%2Fb"]) | plain.map(
    quote
)
forms = st.lists(st.tuples(form_keys, form_values).map("=".join), max_size=12).map("&".join)


@given(st.sampled_from(["", "hls", "x"]) | anything, st.binary() | forms.map(str.encode))
def test_nginx_rtmp_reads_any_body(path: str, body: bytes) -> None:
    """It never raises."""
    _check(NginxRtmp().read(path, [], body, OWN_SECRETS))


uri_parts = st.sampled_from(
    ["/hls/", "hls", "/", "~", TOKEN, "show", "acct", "..", ".", "%2e", "%2f", "%", "index.m3u8", "0.ts", "?", "token="]
)
uris = st.lists(uri_parts, max_size=10).map("".join).map(str.encode)


@given(
    st.one_of(uris, uris.map(lambda uri: b"/hls/" + uri + b"/index.m3u8"), st.binary()),
    st.lists(st.tuples(st.sampled_from([b"x-real-ip", b"origin", b"x"]) | st.binary(), st.binary()), max_size=4),
)
def test_nginx_rtmp_reads_any_hls_request(uri: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """It never raises, and a name that it finds stands in the address as it is, right before the file."""
    asked = NginxRtmp().read("hls", [*headers, (b"x-original-uri", uri)], b"", OWN_SECRETS)
    _check(asked)
    if isinstance(asked, Attempt) and asked.access.stream.name:
        assert ".." not in uri.split(b"?")[0].decode("latin-1").split("/")


@given(
    st.sampled_from(["publish", "play"]), st.sampled_from(["show", "acct%2Fshow"]), st.binary() | forms.map(str.encode)
)
def test_nothing_that_a_client_appends_changes_what_nginx_wrote(call: str, name: str, appended: bytes) -> None:
    """Of each field the first counts, so the whole reading is the same."""
    own = (OWN % (call, name)).encode()
    assert NginxRtmp().read("", [], own + b"&" + appended, OWN_SECRETS) == NginxRtmp().read("", [], own, OWN_SECRETS)


mediamtx_calls = st.fixed_dictionaries(
    {"action": st.sampled_from(["publish", "read", "playback", "api", "metrics", "new"]) | json_values},
    optional={
        "path": st.sampled_from(["show", "acct/show", "v2/pub/show", "../x", "a//b"]) | json_values,
        "ip": json_values,
        "protocol": st.sampled_from(["rtsp", "rtmp", "hls"]) | json_values,
        "token": plain | json_values,
        "password": plain,
        "user": plain,
        "query": plain | forms,
        "id": json_values,
        "userAgent": plain | json_values,
        "new": json_values,
    },
).map(lambda call: json.dumps(call).encode())


@given(anything, st.binary() | json_values.map(json.dumps).map(str.encode) | mediamtx_calls)
@example("", b'{"action":"\xff"}')
@example("", b'{"action":"publish","path":"\\ud800"}')
def test_mediamtx_reads_any_body(path: str, body: bytes) -> None:
    """It never raises."""
    _check(MediaMtx().read(path, [], body, OWN_SECRETS))


@given(st.text("ab*.", min_size=1, max_size=8), st.text("abAB.\n", max_size=10))
def test_a_wildcard_matches_what_its_expression_would(pattern: str, text: str) -> None:
    """The one that says the same at length."""
    expression = ".*".join(map(re.escape, pattern.split("*")))
    expected = re.fullmatch(expression, text, re.DOTALL | re.IGNORECASE) is not None
    assert (compile_wildcard(pattern).fullmatch(text) is not None) is expected


@given(anything)
def test_an_origin_is_read_or_is_none(text: str) -> None:
    """What is read is written in one way, and reads again as itself; it never raises."""
    origin = parse_origin(text)
    if origin is not None:
        port = f":{origin.port}" if origin.port else ""
        assert parse_origin(f"{origin.scheme}://{origin.host}{port}") == origin


@given(anything | st.from_regex(r"\A(https?://)?(\*\.)?[a-z.-]{1,12}(:[0-9]{1,5})?\Z"))
def test_an_origin_pattern_is_read_or_refused(text: str) -> None:
    """It raises the one exception, about the one field, and what it reads is not any host."""
    try:
        pattern = parse_origin_pattern(text)
    except InvalidInput as error:
        _is_about(error, "allowedOrigins")
    else:
        assert pattern.host
        assert "*" not in pattern.host


def _is_about(error: InvalidInput, name: str) -> None:
    assert error.field == name


variables = st.sampled_from([f"{PREFIX}{name.upper()}" for name in Settings.__dataclass_fields__])


@given(
    st.dictionaries(
        variables | anything.map(PREFIX.__add__) | anything,
        anything | st.integers().map(str) | st.text("0123456789"),
        max_size=5,
    )
)
def test_config_raises_only_config_error(environment: dict[str, str]) -> None:
    """Whatever the environment."""
    try:
        settings = load(environment)
    except ConfigError:
        return
    assert 1 <= settings.port <= 65535
    assert not {name for name in environment if name.startswith(PREFIX)} - {
        f"{PREFIX}{name.upper()}" for name in Settings.__dataclass_fields__
    }


keyring_files = st.fixed_dictionaries(
    {
        "digest_key": st.just("A" * 43 + "=") | json_values,
        "sealing_keys": st.dictionaries(plain, st.just("A" * 43 + "=") | json_values, max_size=2),
        "seal_with": plain | json_values,
    },
    optional={"version": json_values, "x": json_values},
).map(lambda content: json.dumps(content).encode())


@given(st.binary() | json_values.map(json.dumps).map(str.encode) | keyring_files)
@example(b'{"digest_key":"\xff"}')
@example(b"[" * 100_000)
def test_keyring_load_raises_only_config_error(data: bytes) -> None:
    """Whatever the file."""
    try:
        Keyring.load(data)
    except ConfigError:
        return


def _parse(body: bytes, schema: type[Any], names: dict[str, str]) -> None:
    try:
        parsed = parse_body(body, schema, names)
    except InvalidInput as error:
        assert error.field  # noqa: PT017  either end is right
    else:
        assert isinstance(parsed, schema)


bodies = st.dictionaries(st.sampled_from(FIELDS) | plain, json_values, max_size=5)
renamings = st.sampled_from([{}, dict(schemas.V1_NAMES)])


@given((bodies | json_values).map(json.dumps).map(str.encode), st.sampled_from(SCHEMAS), renamings)
@example(b'{"label":"x","streams":[{"streamName":"a"}],"expires":99999999999999999999}', SCHEMAS[0], {})
@example(b'{"label":"x","streams":[{"streamName":"a"}],"notBefore":"9999-12-31T23:59:60Z"}', SCHEMAS[0], {})
@example(b'{"tokenIds":[1e999]}', SCHEMAS[4], {})
def test_token_api_bodies_raise_only_invalid_input(body: bytes, schema: type[Any], names: dict[str, str]) -> None:
    """Whatever the JSON; and the error names a field."""
    _parse(body, schema, names)


@given(st.binary(), st.sampled_from(SCHEMAS), renamings)
@example(b'"\xff"', SCHEMAS[0], {})
@example(b"[" * 100_000, SCHEMAS[0], {})
def test_token_api_bytes_raise_only_invalid_input(body: bytes, schema: type[Any], names: dict[str, str]) -> None:
    """Whatever the bytes."""
    _parse(body, schema, names)


FORMS = st.one_of(
    st.binary(max_size=300),
    st.lists(st.tuples(st.text(max_size=12), st.text(max_size=20)), max_size=8).map(
        lambda form: urlencode(form).encode()
    ),
    st.dictionaries(
        st.sampled_from(["grant_type", "expires_in", "scope", "client_id", "x"]), st.text(max_size=20), max_size=5
    ).map(lambda form: urlencode(form).encode()),
)
TYPES = st.sampled_from([b"application/x-www-form-urlencoded", b"Application/X-WWW-Form-Urlencoded; charset=utf-8"])


@given(FORMS, TYPES)
def test_a_form_is_read_or_refused(body: bytes, content_type: bytes) -> None:
    """With one kind of exception; what is read is as it was written."""
    try:
        read = parse_form(body, AskForToken, [(b"content-type", content_type)])
    except InvalidInput:
        return
    written = dict(parse_qsl(body.decode()))
    assert read.grant_type == written["grant_type"]
    assert read.scope == written.get("scope")
    assert read.expires_in is None or int(read.expires_in) >= 0
