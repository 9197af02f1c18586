"""Fuzz everything that reads what strangers write: each parser has one type of error, and nothing else gets out of it.

A program, steered by coverage (atheris, libFuzzer): `python tests/fuzz/fuzz_parsers.py RUNS [PARSER ...]`, where RUNS is how
many inputs in all. What gets out is shown, with the file of the input that did it, and the exit status is not 0. To add a
parser, add a function to `PARSERS` and what it reads to `SEEDS`.
"""

import base64
import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import atheris

with atheris.instrument_imports(include=["stagedoor"]):
    from stagedoor.config import load
    from stagedoor.edge.millicast import schemas
    from stagedoor.edge.oauth.tokens import AskForToken
    from stagedoor.edge.parse import parse_body, parse_form
    from stagedoor.engines.dialect import OwnSecrets
    from stagedoor.engines.mediamtx.hook import MediaMtx
    from stagedoor.engines.nginx_rtmp.hook import NginxRtmp
    from stagedoor.model.addresses import parse_address, parse_network
    from stagedoor.model.errors import ConfigError, InvalidInput
    from stagedoor.model.grant import StreamPattern
    from stagedoor.model.ids import is_stream_name, parse_path, parse_stream_id
    from stagedoor.model.origins import parse_origin, parse_origin_pattern
    from stagedoor.model.scope import parse_scopes, write_scopes
    from stagedoor.model.secret import Secret
    from stagedoor.service.authorize import Attempt, Notice
    from stagedoor.service.children import Children
    from stagedoor.sign import sign_child
    from stagedoor.tokens.keyring import Keyring, parse_master_key
    from stagedoor.tokens.mint import cat
    from stagedoor.tokens.opaque import TOKEN_BYTES, parse_opaque
    from stagedoor.tokens.patterns import check_pattern, compile_wildcard
    from stagedoor.tokens.public_keys import parse_public_key, read_public_key, verify_with
    from stagedoor.tokens.signed import parse_signed, verify_child

Parser = Callable[[bytes], None]

_OWN: Final = OwnSecrets("secret", "another secret")
_MASTER_KEY: Final = bytes(range(32))
_NGINX, _MEDIAMTX = NginxRtmp(), MediaMtx()
_PARENT: Final = "d2e166fdda89824a6c493d8a2af7a0754199eff9e38c579cba8783767a44039c"
_PUBLIC: Final = parse_public_key(
    '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}', "tk_1"
)


class _AnyKey(cat.MacKey):
    """Takes every signature for good, so that what is signed is read."""

    def is_good(self, structure: bytes, signature: bytes) -> bool:
        return True


class _NoStore:
    """Is never asked."""


def _children() -> Children:
    nothing: Any = _NoStore()
    return Children(keyring=Keyring.generate(), source=nothing, store=nothing, clock=lambda: 9.0)


_CHILDREN: Final = _children()
_CAT_KEY: Final = _AnyKey(b"k" * 32)
_CAT_REQUEST: Final = cat.CatRequest("https://a.example/b", "GET", "192.0.2.1", "PL", first_use=True)
_VECTORS: Final = Path(__file__).parent.parent / "vectors"


def _text(data: bytes) -> str:
    """Return any text, with halves of characters in it too."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _raises(kind: type[Exception], work: Callable[[], object]) -> None:
    """Let one type of error pass, with words in it."""
    try:
        work()
    except kind as error:
        if not str(error):
            raise AssertionError("an error without words") from error


def _opaque(data: bytes) -> None:
    found = parse_opaque(_text(data))
    assert found is None or len(found) == TOKEN_BYTES


def _paths(data: bytes) -> None:
    text = _text(data)
    assert parse_path(text).name == "" or is_stream_name(parse_path(text).name)
    _raises(InvalidInput, lambda: parse_stream_id(text))


def _addresses(data: bytes) -> None:
    text = _text(data)
    parse_address(text)
    _raises(InvalidInput, lambda: parse_network(text))


def _origins(data: bytes) -> None:
    text = _text(data)
    parse_origin(text)
    _raises(InvalidInput, lambda: parse_origin_pattern(text))


def _patterns(data: bytes) -> None:
    text = _text(data)
    _raises(InvalidInput, lambda: compile_wildcard(text))
    _raises(InvalidInput, lambda: check_pattern(StreamPattern(text, is_regex=data[:1] == b"(")))


def _nginx_form(data: bytes) -> None:
    _asked(_NGINX.read("", [], data, _OWN))


def _nginx_uri(data: bytes) -> None:
    uri, _, origin = data.partition(b"\n")
    _asked(_NGINX.read("hls", [(b"origin", origin), (b"x-original-uri", uri)], b"", _OWN))


def _mediamtx(data: bytes) -> None:
    _asked(_MEDIAMTX.read("", [], data, _OWN))


def _asked(asked: Attempt | Notice) -> None:
    if isinstance(asked, Attempt):
        name = asked.access.stream.name
        assert name == "" or is_stream_name(name)


def _keyring(data: bytes) -> None:
    _raises(ConfigError, lambda: Keyring.load(data))
    _raises(ConfigError, lambda: Keyring.load(data, _MASTER_KEY))


def _settings(data: bytes) -> None:
    name, _, value = _text(data).partition("=")
    _raises(ConfigError, lambda: load({f"STAGEDOOR_{name}": value}))
    _raises(ConfigError, lambda: parse_master_key(value))


def _child(data: bytes) -> None:
    """Read a parent, and restrictions, as somebody's own program is given them."""
    text = _text(data)
    _raises(ValueError, lambda: sign_child(text, stream_name="a", expires_at=9, token_id=7, jti=""))
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(given, dict) and not {"parent", "stream_name", "expires_at", "jti"} & set(given):
        given.setdefault("token_id", 7)
        _raises(ValueError, lambda: sign_child(_PARENT, stream_name="a", expires_at=9, jti="", **given))


def _signed(data: bytes) -> None:
    """Read a signed token as it comes, and one of which the header and what is said are the input, line by line."""
    texts = [_text(data), ".".join([*(_encode(part) for part in data.split(b"\n", 1)), "AAAA"])]
    for text in texts:
        parsed = parse_signed(text)
        asked = _CHILDREN.ask(text)
        if parsed is None:
            assert asked.parent is None
            _raises(InvalidInput, partial(_CHILDREN.name_of, text))
            continue
        assert f"{parsed.levels[-1].signed.decode()}.{_encode(parsed.signature)}" == text
        if parsed.kid:
            assert not verify_with(_PUBLIC, parsed)
        else:
            assert verify_child(parsed, Secret(_PARENT)) == ()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _public_key(data: bytes) -> None:
    """Read a key, and what was read again as it is kept."""
    try:
        kept = parse_public_key(_text(data), "tk_1")
    except InvalidInput:
        return
    assert read_public_key(kept).kid == "tk_1"
    assert not {"d", "p", "q", "k"} & set(json.loads(kept.reveal()))


def _cat(data: bytes) -> None:
    for text in (_text(data), _encode(data)):
        _raises(cat.InvalidCat, partial(cat.verify, text, _CAT_KEY, _CAT_REQUEST, 9.0))


def _form(data: bytes) -> None:
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    _raises(InvalidInput, lambda: parse_form(data, AskForToken, headers))


def _scopes(data: bytes) -> None:
    text = _text(data)
    _raises(InvalidInput, lambda: write_scopes(parse_scopes(text)))
    _raises(InvalidInput, lambda: parse_scopes(text.split()))


def _body(schema: type[Any], names: dict[str, str]) -> Parser:
    return lambda data: _raises(InvalidInput, lambda: parse_body(data, schema, names))


PARSERS: Final[dict[str, Parser]] = {
    "opaque": _opaque,
    "path": _paths,
    "address": _addresses,
    "origin": _origins,
    "pattern": _patterns,
    "nginx-form": _nginx_form,
    "nginx-uri": _nginx_uri,
    "mediamtx": _mediamtx,
    "keyring": _keyring,
    "settings": _settings,
    "child": _child,
    "signed": _signed,
    "public-key": _public_key,
    "cat": _cat,
    "form": _form,
    "scopes": _scopes,
    "create-publish": _body(schemas.CreatePublishToken, {}),
    "create-subscribe": _body(schemas.CreateSubscribeToken, {}),
    "update-publish": _body(schemas.UpdatePublishToken, dict(schemas.V1_NAMES)),
    "disable": _body(schemas.DisableTokens, {}),
}


def _restrictions() -> list[bytes]:
    vectors = json.loads((_VECTORS / "signed/restrictions.json").read_text())
    fixed = {"tokenId", "streamName", "expiresAt", "issuedAt", "jti"}
    rules = [{name: value for name, value in vector["child"].items() if name not in fixed} for vector in vectors]
    return [json.dumps(rule).encode() for rule in rules if len(json.dumps(rule)) < 1000]


_TOKEN: Final = json.dumps(
    {
        "label": "l",
        "streams": [{"streamName": "a.*", "isRegex": True}],
        "expiresOn": "2027-01-01T00:00:00Z",
        "allowedIpAddresses": ["192.0.2.0/24"],
        "hours": {"timeZone": "UTC", "windows": [{"days": ["mon"], "from": "09:00", "to": "17:00"}]},
        "sessionLimit": {"most": 2, "over": "grace", "graceSeconds": 9},
        "restream": [{"url": "rtmp://a/b", "key": "secret-key"}],
    }
).encode()


def _signed_seeds() -> list[bytes]:
    texts = [sign_child("0" * 64, token_id=7, stream_name="a", expires_at=9, jti="", allowed_origins=["a.example"])]
    texts.append(sign_child(texts[0], stream_name="a", expires_at=9, jti="x"))
    said = [b"\n".join(base64.urlsafe_b64decode(f"{part}===") for part in text.split(".")[:2]) for text in texts]
    of_key = b'{"alg":"EdDSA","kid":"tk_1"}\n{"streaming":{"tokenType":"Subscribe","streamName":"a"},"exp":9,"iat":1}'
    return (
        [text.encode() for text in texts if len(text) < 1000] + [each for each in said if len(each) < 1000] + [of_key]
    )


SEEDS: Final[dict[str, list[bytes]]] = {
    "opaque": [b"0" * 64, b"A" * 43],
    "path": [b"account/name", b"a/b/c.d"],
    "address": [b"192.0.2.0/24", b"2001:db8::1/128", b"::ffff:1.2.3.4"],
    "origin": [b"https://*.example.com:8443", b"http://[::1]:80"],
    "pattern": [b"(a|b)+[0-9]{1,3}", b"*a*b"],
    "nginx-form": [b"app=live&flashver=x&addr=192.0.2.1&clientid=1&call=publish&name=show&type=live&t=" + b"0" * 64],
    "nginx-uri": [b"/hls/~" + b"0" * 64 + b"/show/index.m3u8?token=x\nhttps://a.example"],
    "mediamtx": [
        b'{"action":"publish","path":"a/b","ip":"::1","protocol":"rtmp","query":"token=1","user":"","password":""}'
    ],
    "keyring": [Keyring.generate().dump(), Keyring.generate().dump(_MASTER_KEY)],
    "settings": [b"PORT=80", b"MASTER_KEY=" + b"A" * 43 + b"=", b"WEBHOOK_NETWORKS=10.0.0.0/8"],
    "child": [*_restrictions(), _PARENT.encode()],
    "signed": [*_signed_seeds()],
    "public-key": [
        _PUBLIC.reveal().encode(),
        b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n",
    ],
    "cat": [
        cat.mint(cat.CatClaims(expires_at=99, id=b"a", host="a.example", methods=("GET",)), _CAT_KEY).reveal().encode()
    ],
    "form": [b"grant_type=client_credentials&expires_in=60&scope=live%3Apublish_token%3Acreate+a"],
    "scopes": [b"comms:* live:publish_token:create"],
    "create-publish": [_TOKEN],
    "create-subscribe": [_TOKEN],
    "update-publish": [_TOKEN],
    "disable": [b'{"tokenIds":[1,2]}'],
}


def _fuzz(name: str, runs: int, corpus: Path) -> None:
    """Fuzz one parser and end this process."""
    for number, seed in enumerate(SEEDS[name]):
        (corpus / str(number)).write_bytes(seed)
    # A parser that takes longer than this for so little is a fault as well.
    options = ["-max_len=1024", "-timeout=10", f"-artifact_prefix={tempfile.gettempdir()}/stagedoor-{name}-"]
    atheris.Setup([sys.argv[0], str(corpus), f"-atheris_runs={runs}", *options], PARSERS[name])
    atheris.Fuzz()


def main() -> None:
    """Fuzz the parsers that are named, or all, each in a process of its own that ends with it."""
    runs, *chosen = sys.argv[1:]
    names = chosen or list(PARSERS)
    for number, name in enumerate(names):
        share = (int(runs) + number) // len(names)
        with tempfile.TemporaryDirectory(prefix="stagedoor-fuzz-") as corpus:
            child = os.fork()
            if child == 0:
                _fuzz(name, share, Path(corpus))
            _, status = os.waitpid(child, 0)
        print(f"{name}: {share} inputs, status {os.waitstatus_to_exitcode(status)}", flush=True)  # noqa: T201  a program
        if status != 0:
            sys.exit(1)


if __name__ == "__main__":
    main()
