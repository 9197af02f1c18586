"""Sign subscribe tokens of your own from a parent token, without calling the authority.

This one file needs nothing but the standard library and may be copied into another program;
clients/javascript/stagedoor-sign.mjs does the same in Node and browsers. A child is a compact JWS (RFC 7515) signed with
HMAC (RFC 7518 section 3.2); its key is the *text* of its parent as it was issued, not the bytes that text stands for. A
child adds restrictions to its parent's and cannot remove one: the authority holds it to all of them.

Both libraries write the same bytes: compact JSON in UTF-8, header `alg`, `typ`; payload `streaming`, `iat`, `nbf`, `exp`,
`jti`; in `streaming` first `tokenId`, `tokenType`, `streamName`, `parent`, then the restrictions in the order of
`RESTRICTIONS`, and the fields of each in the order in which they stand here. What is left out is not written.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

__all__ = ["RESTRICTIONS", "carriers", "sign_child"]

_HASHES: Final = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
_LATEST: Final = 253_402_300_799
_LARGEST: Final = 2**53 - 1
_PARENT: Final = re.compile(r"[0-9a-f]{64}")
_SIGNED: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_STREAM_NAME: Final = re.compile(r"[A-Za-z0-9_~+=@:,-][A-Za-z0-9_.~+=@:,/-]{0,127}")
_HOST: Final = r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*)"
_ORIGIN: Final = re.compile(rf"(?:[a-z][a-z0-9+.-]{{0,31}}://)?(\*\.)?{_HOST}(?::([1-9][0-9]{{0,4}}))?")
_PREFIX: Final = re.compile(r"0|[1-9][0-9]{0,2}")
_CLOCK: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PROTOCOLS: Final = ("webrtc", "rtmp", "rtsp", "srt", "hls", "moq", "unknown")
_ROOM: Final = {
    "rtmp": (255, "?token=", True),
    "srt": (512, "#!::m=publish,r=,t=", True),
    "camera": (128, "?token=", True),
    "httpHeader": (8192, "Bearer ", False),
    "url": (2048, "?token=", True),
}
"""How many characters there are, which of them stand around a token, and whether the stream's name is among them."""
_CARRIED_BY: Final = {"rtmp": "rtmp", "srt": "srt", "webrtc": "httpHeader"}

_Check = Callable[[Any, str], Any]


def sign_child(
    parent: str,
    *,
    stream_name: str,
    expires_at: int,
    token_id: int | None = None,
    issued_at: int | None = None,
    not_before: int | None = None,
    jti: str | None = None,
    algorithm: str = "HS256",
    **restrictions: Any,
) -> str:
    """Return a subscribe token for one stream, signed with its parent.

    `parent` is the text of a subscribe token (then `token_id` is its id) or of a child made of one (then the id is taken
    from there). Times are whole seconds since the epoch: the token is good from `not_before`, if given, until before
    `expires_at`, and never after its parent. `jti` names the token, for the authority to revoke it alone: left out, it is
    made at random; empty, the token has none. `restrictions` are those of the Token API by their names there
    (`allowedOrigins`) or in Python's way (`allowed_origins`).

    Raises: ValueError for whatever the authority would refuse, and for a protocol that has no room for the token; the text
        never holds the parent.
    """
    if algorithm not in _HASHES:
        raise ValueError("algorithm is HS256, HS384 or HS512")
    above = _parent(parent)
    streaming: dict[str, Any] = {
        "tokenId": _token_id(token_id, above),
        "tokenType": "Subscribe",
        "streamName": _stream_name(stream_name),
    }
    if above is not None:
        streaming["parent"] = parent.rpartition(".")[0]
    given = _named(restrictions, RESTRICTIONS, "a restriction")
    streaming |= {name: check(given[name], name) for name, check in RESTRICTIONS.items() if name in given}
    _check_together(streaming)
    if above is not None:
        _check_above(streaming, above)
    payload: dict[str, Any] = {"streaming": streaming}
    payload |= _times(issued_at=issued_at, not_before=not_before, expires_at=expires_at)
    jti = secrets.token_urlsafe(12) if jti is None else jti
    if jti != "":
        payload["jti"] = _text(jti, "jti", most=128)
    signed = f"{_encode(_json({'alg': algorithm, 'typ': 'JWT'}))}.{_encode(_json(payload))}"
    signature = hmac.new(parent.encode(), signed.encode(), _HASHES[algorithm]).digest()
    token = f"{signed}.{_encode(signature)}"
    _check_fits(token, streaming)
    return token


def carriers(token: str, stream_name: str) -> tuple[str, ...]:
    """Return what has room for a token beside the name of its stream: `rtmp`, `srt`, `camera`, `httpHeader`, `url`."""
    beside = len(token) + len(stream_name)
    return tuple(
        carrier
        for carrier, (limit, around, named) in _ROOM.items()
        if (beside if named else len(token)) + len(around) <= limit
    )


def _parent(parent: str) -> dict[str, Any] | None:
    """Return the `streaming` of a parent that is a child itself; None for one that was issued.

    Raises: ValueError.
    """
    if isinstance(parent, str) and _PARENT.fullmatch(parent):
        return None
    wrong = "parent is a subscribe token as it was issued (64 lower-case hexadecimal characters), or a child of one"
    if not isinstance(parent, str) or not _SIGNED.fullmatch(parent):
        raise ValueError(wrong)
    try:
        payload = parent.split(".")[1]
        streaming = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["streaming"]
        token_id = streaming["tokenId"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(wrong) from None
    if type(token_id) is not int or not isinstance(streaming, dict):
        raise ValueError(wrong)
    return streaming


def _token_id(token_id: int | None, above: Mapping[str, Any] | None) -> int:
    if above is None:
        if token_id is None:
            raise ValueError("token_id is the id of the parent token; give it")
        return _integer(token_id, "token_id", 1)
    if token_id is not None and (type(token_id) is not int or token_id != above["tokenId"]):
        raise ValueError("token_id is not that of the parent; leave it out for a child of a child")
    return _integer(above["tokenId"], "token_id", 1)


def _times(*, issued_at: int | None, not_before: int | None, expires_at: int) -> dict[str, int]:
    times: dict[str, int] = {}
    for claim, name, at in (("iat", "issued_at", issued_at), ("nbf", "not_before", not_before)):
        if at is not None:
            times[claim] = _integer(at, name, 0, _LATEST)
    times["exp"] = _integer(expires_at, "expires_at", 0, _LATEST)
    if max(times.values()) != times["exp"] or list(times.values()).count(times["exp"]) > 1:
        raise ValueError("expires_at is not after issued_at and not_before, so the token would never be good")
    return times


def _check_together(streaming: Mapping[str, Any]) -> None:
    """Refuse restrictions that do not go together.

    Raises: ValueError.
    """
    for one, other in (("allowedIpAddresses", "bindIpsOnUsage"), ("allowedCountries", "deniedCountries")):
        if one in streaming and other in streaming:
            raise ValueError(f"set {one} or {other}, not both")


def _check_above(streaming: Mapping[str, Any], above: Mapping[str, Any]) -> None:
    """Refuse what the child above does not allow.

    Raises: ValueError.
    """
    if streaming["streamName"] != above.get("streamName"):
        raise ValueError("stream_name is not that of the parent, which is good for one stream only")
    if above.get("tracking") and streaming.get("tracking") != above["tracking"]:
        raise ValueError("tracking is not that of the parent, which every child has to carry")


def _check_fits(token: str, streaming: Mapping[str, Any]) -> None:
    """Refuse a token that one of the protocols it is limited to cannot carry.

    Raises: ValueError.
    """
    fits = carriers(token, streaming["streamName"])
    for protocol in streaming.get("allowedProtocols", ()):
        if _CARRIED_BY.get(protocol, "url") not in fits:
            raise ValueError(
                f"the token has {len(token)} characters, for which {protocol} has no room beside the stream's name: leave it"
                " out of allowedProtocols, or let the authority make a token in its short form (43 characters)"
            )


# -- single values


def _integer(value: Any, name: str, least: int, most: int = _LARGEST) -> int:
    # Security: True is an int to Python, and to nobody else.
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} is a whole number from {least} to {most}")
    return value


def _text(value: Any, name: str, *, most: int, least: int = 1) -> str:
    if not isinstance(value, str) or not least <= len(value) <= most or "\0" in value:
        raise ValueError(f"{name} is a text of {least} to {most} characters, none of them NUL")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{name} holds half a character, which UTF-8 cannot write")
    return value


def _stream_name(value: Any) -> str:
    good = isinstance(value, str) and _STREAM_NAME.fullmatch(value) is not None
    if not good or "//" in value or "/." in value or value.endswith("/"):
        raise ValueError(
            "stream_name is one name of 1 to 128 of A-Z a-z 0-9 _ . ~ + = @ : , - in parts separated by /, none of which"
            " begins with a dot"
        )
    return str(value)


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} is true or false")  # noqa: TRY004  one type of error for all of it
    return value


def _matching(pattern: re.Pattern[str], words: str) -> _Check:
    def check(value: Any, name: str) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"{name} {words}")
        return value

    return check


def _one_of(*known: str) -> _Check:
    def check(value: Any, name: str) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"{name} is one of {', '.join(known)}")
        return value

    return check


def _up_to(most: int, least: int = 1) -> _Check:
    return lambda value, name: _text(value, name, most=most, least=least)


def _number(least: int, most: int = _LARGEST) -> _Check:
    return lambda value, name: _integer(value, name, least, most)


def _list(check: _Check, most: int) -> _Check:
    def check_all(value: Any, name: str) -> list[Any]:
        if isinstance(value, str) or not isinstance(value, Sequence) or not 1 <= len(value) <= most:
            raise ValueError(f"{name} is a list of 1 to {most} entries")
        return [check(each, name) for each in value]

    return check_all


def _origin(value: Any, name: str) -> str:
    match = (
        _ORIGIN.fullmatch(value.lower()) if isinstance(value, str) and value.isascii() and len(value) <= 400 else None
    )
    if match is None or int(match[3] or 0) > 65535 or (match[1] and match[2][0] == "["):
        raise ValueError(
            f"{name} has hosts such as example.com or *.example.com, with a scheme and a port if they matter"
        )
    return str(value)


def _network(value: Any, name: str) -> str:
    wrong = f"{name} has addresses and networks such as 192.0.2.1, 192.0.2.0/24 and 2001:db8::/32, without host bits"
    base, slash, prefix = value.partition("/") if isinstance(value, str) else ("%", "", "")
    if "%" in base or (slash and not _PREFIX.fullmatch(prefix)):
        raise ValueError(wrong)
    try:
        ipaddress.ip_network(value)
    except ValueError:
        raise ValueError(wrong) from None
    return str(value)


def _wildcard(value: Any, name: str) -> str:
    if _text(value, name, most=256).count("*") > 10:
        raise ValueError(f"{name} has at most 10 asterisks in an entry")
    return str(value)


# -- values that have fields


def _named(given: Mapping[Any, Any], known: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return what is given by its JSON names.

    Raises: ValueError for a name that is unknown, or given twice.
    """
    by_name = {_snake(name): name for name in known} | {name: name for name in known}
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in by_name:
            raise ValueError(f"{str(name)[:64]!r} is not {what}; there are {', '.join(known)}")
        if by_name[name] in found:
            raise ValueError(f"{by_name[name]} is given twice")
        found[by_name[name]] = value
    return found


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def _fields(known: Mapping[str, _Check], *, required: Sequence[str] = (), least: int = 0) -> _Check:
    def check(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} has the fields {', '.join(known)}")  # noqa: TRY004  one type of error for all of it
        given = _named(value, known, f"a field of {name}")
        if len(given) < least or any(field not in given for field in required):
            raise ValueError(f"{name} needs {', '.join(required) or 'one of ' + ', '.join(known)}")
        return {field: check(given[field], f"{name}.{field}") for field, check in known.items() if field in given}

    return check


_WINDOW: Final = _fields(
    {
        "days": _list(_one_of(*_DAYS), 7),
        "from": _matching(_CLOCK, "is a time such as 09:30"),
        "to": _matching(_CLOCK, "is a time such as 09:30, up to 24:00"),
    },
    required=("days", "from", "to"),
)


def _window(value: Any, name: str) -> Any:
    window = _WINDOW(value, name)
    if window["from"] in {"24:00", window["to"]}:
        raise ValueError(f"{name} goes from 00:00 to at most 24:00, and is not empty")
    return window


_LIMIT: Final = _fields(
    {
        "most": _number(1),
        "per": _one_of("token", "subject"),
        "over": _one_of("refuse", "end_oldest", "grace"),
        "graceSeconds": _number(0, 3600),
    },
    required=("most",),
)


def _session_limit(value: Any, name: str) -> Any:
    limit = _LIMIT(value, name)
    if (limit.get("over") == "grace") != (limit.get("graceSeconds", 0) > 0):
        raise ValueError(f"{name}.graceSeconds goes with over: grace, and with nothing else")
    return limit


_TRACKING: Final = _fields({"trackingId": _up_to(128)}, required=("trackingId",))

RESTRICTIONS: Final[Mapping[str, _Check]] = {
    "allowedOrigins": _list(_origin, 1000),
    "allowedIpAddresses": _list(_network, 1000),
    "originCluster": _up_to(64),
    "tracking": lambda value, name: None if value is None else _TRACKING(value, name),
    "customViewerData": _up_to(1024, least=0),
    "bindIpsOnUsage": _number(1, 2**32 - 1),
    "bindTolerance": _fields(
        {"ipv4Prefix": _number(8, 32), "ipv6Prefix": _number(16, 128), "rebindsPerHour": _number(0, 1000)}, least=1
    ),
    "allowedCountries": _list(_matching(_COUNTRY, "has ISO 3166-1 alpha-2 codes such as PL"), 1000),
    "deniedCountries": _list(_matching(_COUNTRY, "has ISO 3166-1 alpha-2 codes such as PL"), 1000),
    "allowedProtocols": _list(_one_of(*_PROTOCOLS), 1000),
    "allowedUserAgents": _list(_wildcard, 50),
    "allowedReferrers": _list(_wildcard, 50),
    "allowWithoutOrigin": _flag,
    "hours": _fields({"timeZone": _up_to(64), "windows": _list(_window, 50)}, required=("timeZone", "windows")),
    "endSessionsAtExpiry": _flag,
    "subject": _up_to(128),
    "sessionLimit": _session_limit,
    "singleUse": _fields({"graceSeconds": _number(0, 3600)}),
    "budgets": _fields(
        {"sessionSeconds": _number(1), "watchSeconds": _number(1), "bytes": _number(1), "starts": _number(1)}, least=1
    ),
}
"""The restrictions there are, by their names in the token and in its order, each with what it may be."""


# -- as bytes


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
