"""Signed tokens that others make: children of a subscribe token, and tokens of a key that an account trusts.

A child is a JWT (RFC 7519) signed by HMAC with the text of the token above it: its parent's, or a child's. A child of a child
carries what the one above it says, without its signature: who knows the parent's text can make that again, and so all the
signatures down to the last one. A token of a trusted key is a JWT whose header names the key. What is signed says which of our
tokens or keys it is under, so nothing has to be tried. (docs/contracts/signed-tokens.md)

Security: a token is read strictly and wholly before its signature is looked at: one algorithm for each kind of key, no two
claims of one name, whole numbers that a clock has, canonical base64url. What its header says of where to find a key (`jku`,
`jwk`, `x5u`) is not read.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from stagedoor.model.access import Action
from stagedoor.model.errors import InvalidInput
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import TokenId, is_stream_name
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenTerms
from stagedoor.tokens.keyring import base64url
from stagedoor.tokens.rules import Rules, rules_of

MAX_SIGNED: Final = 8192
"""Longest signed token, in characters."""

MOST_LEVELS: Final = 8
"""So many children of children are ever read; a setting allows fewer."""

AHEAD_SECONDS: Final = 60
"""A token may say that it was made so long after now: clocks differ."""

_HMACS: Final[Mapping[str, Callable[..., Any]]] = {
    "HS256": hashlib.sha256,
    "HS384": hashlib.sha384,
    "HS512": hashlib.sha512,
}
KEY_ALGORITHMS: Final = frozenset({"RS256", "ES256", "EdDSA"})
"""What the keys that accounts trust may sign with."""

_LAST: Final = ("", "", "AQgw", "AEIMQUYcgkosw048")
"""What base64url ends with, by its length over whole groups of four."""

_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_PARENT_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_LATEST: Final = 253_402_300_799
_MOST_FIELDS: Final = 200

_Instant = Annotated[int, Meta(ge=0, le=_LATEST)]
_Texts = Annotated[Sequence[Annotated[str, Meta(max_length=512)]], Meta(max_length=200)]


class _Tracking(Struct, rename="camel"):
    tracking_id: Annotated[str, Meta(max_length=128)] | None = None


class _Streaming(Rules, rename="camel", kw_only=True):
    """What a signed token says about streaming."""

    token_type: Literal["Subscribe", "Publish"]
    stream_name: str
    token_id: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    allowed_origins: _Texts | None = None
    allowed_ip_addresses: _Texts | None = None
    allowed_countries: _Texts | None = None
    denied_countries: _Texts | None = None
    bind_ips_on_usage: Annotated[int, Meta(ge=1, le=2**32 - 1)] | None = None
    origin_cluster: Annotated[str, Meta(max_length=64)] | None = None
    tracking: _Tracking | None = None
    custom_viewer_data: Annotated[str, Meta(max_length=1024)] | None = None
    parent: Annotated[str, Meta(max_length=MAX_SIGNED)] | None = None


_NOT_SIGNED: Final = frozenset({"notBefore", "shadowUntil", "geoAppliesTo"})
"""Rules that a signed token has no use for: it says when it begins by `nbf`, and cannot lift its own rules."""

_KNOWN: Final = frozenset(_Streaming.__struct_encode_fields__) - _NOT_SIGNED


class _Claims(Struct, kw_only=True):
    streaming: dict[str, Any]
    exp: _Instant
    iat: _Instant | None = None
    nbf: _Instant | None = None
    jti: Annotated[str, Meta(min_length=1, max_length=128)] | None = None


class _Header(Struct, kw_only=True):
    alg: str
    kid: Annotated[str, Meta(max_length=128)] | None = None
    typ: Annotated[str, Meta(max_length=32)] | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Level:
    """One signed token of a chain: what was signed, how, and what it says. None of it is known to be true."""

    signed: bytes
    algorithm: str
    kid: str
    terms: TokenTerms
    token_id: TokenId | None
    issued_at: int | None
    jti: str | None
    origin_cluster: str
    tracking_id: str | None


@dataclass(frozen=True, slots=True, repr=False)
class Unverified:
    """A signed token as it was shown: its levels, from the one that our own token or key signed to the last, and the signature."""

    levels: tuple[Level, ...]
    signature: bytes

    @property
    def kid(self) -> str:
        """The key that it names; empty for a child."""
        return self.levels[0].kid

    @property
    def token_id(self) -> TokenId | None:
        """The parent token that it names."""
        return self.levels[0].token_id

    def __repr__(self) -> str:
        """Hide the signature, and what is said."""
        return f"Unverified(levels={len(self.levels)})"


def looks_signed(unverified_token: str) -> bool:
    """Tell whether a text could be a signed token at all, at next to no cost."""
    return unverified_token.startswith("ey") and unverified_token.count(".") == 2


def parse_signed(unverified_token: str) -> Unverified | None:
    """Read a signed token; None when it is none of a form that is known here. Never raises."""
    if len(unverified_token) > MAX_SIGNED or not _FORM.fullmatch(unverified_token):
        return None
    signed, _, signature_text = unverified_token.rpartition(".")
    signature = _decode(signature_text)
    if signature is None:
        return None
    levels: list[Level] = []
    above: str | None = signed
    while above is not None:
        if len(levels) >= MOST_LEVELS or not _PARENT_FORM.fullmatch(above):
            return None
        read = _level(above)
        if read is None:
            return None
        level, above = read
        levels.append(level)
    levels.reverse()
    return Unverified(tuple(levels), signature) if _fits(levels) else None


def _fits(levels: Sequence[Level]) -> bool:
    """Tell whether all levels are about one parent token, or it is one token of one key."""
    if any((level.kid == "") is not (level.algorithm in _HMACS) for level in levels):
        return False
    if levels[0].kid:
        return len(levels) == 1 and levels[0].token_id is None
    first = levels[0].token_id
    return first is not None and all(
        level.token_id == first and level.terms.actions == (Action.SUBSCRIBE,) for level in levels
    )


def verify_child(unverified: Unverified, parent: Secret) -> tuple[Secret, ...]:
    """Return the texts of a child and of those above it, which were signed with the parent's text; none when they were not."""
    key = parent.reveal().encode()
    texts: list[Secret] = []
    mac = b""
    for level in unverified.levels:
        # Security: `_fits` has held the algorithm of each level to the HMACs, so no public key can be taken for a secret.
        mac = hmac.digest(key, level.signed, _HMACS[level.algorithm])
        key = level.signed + b"." + base64url(mac).encode()
        texts.append(Secret(key.decode()))
    return tuple(texts) if hmac.compare_digest(mac, unverified.signature) else ()


def _level(text: str) -> tuple[Level, str | None] | None:
    """Read a `header.payload`; also return that of the level above, if it has one."""
    header_text, _, payload_text = text.partition(".")
    header_object, payload = _object(header_text), _object(payload_text)
    if header_object is None or payload is None or "crit" in header_object:
        return None
    try:
        header = msgspec.convert(header_object, _Header)
        claims = msgspec.convert(payload, _Claims)
        streaming = msgspec.convert({k: v for k, v in claims.streaming.items() if k in _KNOWN}, _Streaming)
        rules = rules_of(streaming)
    except (msgspec.ValidationError, InvalidInput, RecursionError, OverflowError, ValueError):
        return None
    known = header.alg in _HMACS or header.alg in KEY_ALGORITHMS
    if not known or (header.typ or "JWT").upper() != "JWT" or not is_stream_name(streaming.stream_name):
        return None
    unknown = tuple(sorted(claims.streaming.keys() - _KNOWN))[:10]
    tracking_id = streaming.tracking.tracking_id if streaming.tracking is not None else None
    terms = TokenTerms(
        label=claims.jti or "signed",
        streams=(StreamPattern(streaming.stream_name),),
        expires_at=claims.exp,
        not_before=_begins(claims),
        allowed_origins=tuple(streaming.allowed_origins or ()),
        allowed_addresses=tuple(streaming.allowed_ip_addresses or ()),
        allowed_countries=tuple(streaming.allowed_countries or ()),
        denied_countries=tuple(streaming.denied_countries or ()),
        bind_ips_on_usage=streaming.bind_ips_on_usage,
        tracking_id=tracking_id,
        viewer_data=streaming.custom_viewer_data or "",
        actions=(Action.SUBSCRIBE if streaming.token_type == "Subscribe" else Action.PUBLISH,),
        not_understood=tuple(name[:40] for name in unknown),
        **rules,
    )
    token_id = TokenId(streaming.token_id) if streaming.token_id is not None else None
    level = Level(
        text.encode(),
        header.alg,
        # A key that a child's header names is not looked at: its parent's text is the key.
        (header.kid or "") if header.alg in KEY_ALGORITHMS else "",
        terms,
        token_id,
        claims.iat,
        claims.jti,
        streaming.origin_cluster or "",
        tracking_id,
    )
    return level, streaming.parent


def _begins(claims: _Claims) -> int | None:
    """Return the instant before which a token is not good: it cannot be used before it was made."""
    instants = [claims.nbf] if claims.nbf is not None else []
    if claims.iat is not None:
        instants.append(claims.iat - AHEAD_SECONDS)
    return max(0, *instants) if instants else None


def _decode(text: str) -> bytes | None:
    """Read unpadded base64url, of whose alphabet `text` is; None when it is not the one text that its bytes have."""
    rest = len(text) % 4
    # Security: the bits that are left over in the last character are none of the bytes', and have to be zero.
    if rest and text[-1] not in _LAST[rest]:
        return None
    return base64.urlsafe_b64decode(text + "==")


def _object(text: str) -> dict[str, Any] | None:
    """Read a JSON object; None for anything else, and for one that says something twice."""
    raw = _decode(text)
    if raw is None:
        return None
    try:
        text = raw.decode()
        value = _decode_json(text)
        # Only an escape can write them.
        written = "\\u" not in text or _can_be_written(value)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and written else None


class _Fraction:
    """A number that is not whole: of no use where anything else is asked for, however it is written."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        """Keep nothing of it."""


def _can_be_written(value: object) -> bool:
    """Tell whether no text in a JSON value holds a NUL, or half a character: no database keeps these."""
    if isinstance(value, str):
        return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, dict):
        return all(_can_be_written(name) and _can_be_written(each) for name, each in value.items())
    return not isinstance(value, list) or all(map(_can_be_written, value))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or len(pairs) > _MOST_FIELDS:
        raise ValueError("a name comes twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


_decode_json: Final = json.JSONDecoder(object_pairs_hook=_once, parse_float=_Fraction, parse_constant=_refuse).decode
