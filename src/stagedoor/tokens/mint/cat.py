"""Common Access Tokens (CTA-5007): CBOR web tokens (RFC 8392) that CDNs check, minted and verified.

A token is the CWT tag around a COSE_Mac0 (HS256) or a COSE_Sign1 (ES256, RFC 9052), written as unpadded base64url. Verifying
is strict: what is not understood refuses, numbers are integers, windows are half open, a token has one form.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from stagedoor.model.addresses import Address, Network, network_of, parse_address
from stagedoor.model.errors import InvalidInput
from stagedoor.model.secret import Secret
from stagedoor.tokens.keyring import base64url
from stagedoor.tokens.mint.cbor import CborError, Tag, read, write

VERSION: Final = 1
"""The only `catv` there is."""

MAX_LENGTH: Final = 8192
"""Longest token that is read, in characters."""

_CWT, _MAC0, _SIGN1 = 61, 17, 18
_ALG, _KID = 1, 4
_HS256, _ES256 = 5, -7
_IPV4, _IPV6 = 52, 54
_LEAST_KEY_BYTES: Final = 32
_SCHEME, _HOST, _PATH = 0, 1, 3
_EXACT, _PREFIX = 0, 1
_COMPONENTS: Final = {_SCHEME: "scheme", _HOST: "host", _PATH: "path"}


class Claim(IntEnum):
    """The labels of the claims that are understood."""

    ISS = 1
    SUB = 2
    AUD = 3
    EXP = 4
    NBF = 5
    IAT = 6
    CTI = 7
    CATREPLAY = 308
    CATV = 310
    CATNIP = 311
    CATU = 312
    CATM = 313
    CATGEOISO3166 = 316


class Replay(IntEnum):
    """Whether a token may be used again: yes; no; yes, and uses that look like theft are up to the CDN."""

    PERMITTED = 0
    PROHIBITED = 1
    REUSE_DETECTION = 2


class InvalidCat(InvalidInput):
    """A token is not good; the only thing that `verify` raises. Its text holds nothing of the token."""


class CatVerifier(Protocol):
    """A key, as far as it verifies."""

    tag: int
    algorithm: int

    def is_good(self, structure: bytes, signature: bytes) -> bool:
        """Tell whether it is the MAC or signature of a structure."""


class CatSigner(CatVerifier, Protocol):
    """A key that signs too."""

    def sign(self, structure: bytes) -> bytes:
        """Return the MAC or signature of a structure."""


class MacKey:
    """A key that both sides have (HS256)."""

    tag = _MAC0
    algorithm = _HS256

    def __init__(self, key: bytes) -> None:
        """Take the key.

        Raises: InvalidInput when it is shorter than 32 bytes.
        """
        if len(key) < _LEAST_KEY_BYTES:
            raise InvalidInput(f"a key for HS256 has at least {_LEAST_KEY_BYTES} bytes", field="secret")
        self._key = key

    def sign(self, structure: bytes) -> bytes:
        """Return the MAC of a structure."""
        return hmac.new(self._key, structure, hashlib.sha256).digest()

    def is_good(self, structure: bytes, signature: bytes) -> bool:
        """Tell whether it is the MAC of a structure."""
        return hmac.compare_digest(self.sign(structure), signature)


class VerifyingKey:
    """The public half of a key on the curve P-256 (ES256)."""

    tag = _SIGN1
    algorithm = _ES256

    def __init__(self, key: EllipticCurvePublicKey) -> None:
        """Take the key.

        Raises: InvalidInput when it is on another curve.
        """
        if not isinstance(key.curve, SECP256R1):
            raise InvalidInput("a key for ES256 is on the curve P-256", field="secret")
        self._public = key

    def is_good(self, structure: bytes, signature: bytes) -> bool:
        """Tell whether it is the signature of a structure."""
        if len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        try:
            self._public.verify(encode_dss_signature(r, s), structure, ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


class SigningKey(VerifyingKey):
    """A whole key on the curve P-256 (ES256)."""

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        """Take the key.

        Raises: InvalidInput when it is on another curve.
        """
        super().__init__(key.public_key())
        self._private = key

    def sign(self, structure: bytes) -> bytes:
        """Return the signature of a structure, as 64 bytes (RFC 9053 section 2.1)."""
        r, s = decode_dss_signature(self._private.sign(structure, ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


def key_of(algorithm: str, secret: Secret) -> CatSigner:
    """Read a key: for HS256 hexadecimal digits, for ES256 a private key as PEM without a password.

    Raises: InvalidInput.
    """
    if algorithm == "HS256":
        try:
            return MacKey(bytes.fromhex(secret.reveal()))
        except ValueError:
            raise InvalidInput("write the key for HS256 as hexadecimal digits", field="secret") from None
    try:
        key = load_pem_private_key(secret.reveal().encode(), None)
    except (ValueError, TypeError):
        raise InvalidInput("write the key for ES256 as PEM, without a password", field="secret") from None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise InvalidInput("a key for ES256 is on the curve P-256", field="secret")
    return SigningKey(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatClaims:
    """What a token says. Instants are whole seconds since the epoch; what is empty or None is not said.

    `scheme` and `host` are compared whole, `path_prefix` with how the path begins. `countries` are ISO 3166-1 codes.
    """

    expires_at: int
    not_before: int | None = None
    issued_at: int | None = None
    id: bytes = b""
    issuer: str = ""
    subject: str = ""
    audience: str = ""
    replay: Replay | None = None
    networks: tuple[Network, ...] = ()
    scheme: str = ""
    host: str = ""
    path_prefix: str = ""
    methods: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()


class CatRequest(NamedTuple):
    """What a token is shown for. `first_use`: nobody saw its id before; None when that is not known."""

    url: str
    method: str
    address: str = ""
    country: str = ""
    audience: str = ""
    first_use: bool | None = None


def mint(claims: CatClaims, key: CatSigner, *, key_id: bytes = b"") -> Secret:
    """Return a token.

    Raises: InvalidInput for a claim that cannot be right.
    """
    protected = write({_ALG: key.algorithm})
    payload = write(_written(claims))
    header = {_KID: key_id} if key_id else {}
    signature = key.sign(_structure(key, protected, payload))
    return Secret(base64url(write(Tag(_CWT, Tag(key.tag, [protected, header, payload, signature])))))


def verify(unverified_token: str, key: CatVerifier, request: CatRequest, now: float) -> CatClaims:
    """Return the claims of a token that is good for `request` at `now` (seconds since the epoch).

    Raises: InvalidCat, for every token that is not, whatever is wrong with it.
    """
    try:
        claims = _read(_payload(unverified_token, key))
    except CborError as error:
        raise InvalidCat(f"the token cannot be read: {error}", field="token") from None
    _check(claims, request, now)
    return claims


def _structure(key: CatVerifier, protected: bytes, payload: bytes) -> bytes:
    """Return what is signed (RFC 9052 sections 4.4 and 6.3)."""
    return write(["MAC0" if key.tag == _MAC0 else "Signature1", protected, b"", payload])


def _payload(unverified_token: str, key: CatVerifier) -> Any:
    """Return the claims of a token whose signature is the key's, still to be read."""
    if len(unverified_token) > MAX_LENGTH:
        raise _bad("it is too long")
    try:
        data = base64.b64decode(unverified_token + "=" * (-len(unverified_token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _bad("it is no base64url") from None
    # Security: spare bits and padding would let one token be written in several ways.
    if base64url(data) != unverified_token:
        raise _bad("it is no base64url in its one form")
    message = read(data)
    if isinstance(message, Tag) and message.number == _CWT:
        message = message.value
    # Security: the key says what the token has to be, never the token.
    if not isinstance(message, Tag) or message.number != key.tag:
        raise _bad("it is of another kind than the key")
    match message.value:
        case [bytes() as protected, dict() as unprotected, bytes() as payload, bytes() as signature]:
            header = read(protected)
        case _:
            raise _bad("it has other parts")
    if header != {_ALG: key.algorithm} and not (
        isinstance(header, dict) and header.get(_ALG) == key.algorithm and set(header) == {_ALG, _KID}
    ):
        raise _bad("its header says something that is not understood")
    if set(unprotected) - {_KID}:
        raise _bad("its header says something that is not understood")
    if not key.is_good(_structure(key, protected, payload), signature):
        raise _bad("its signature is not the key's")
    return read(payload)


def _written(claims: CatClaims) -> dict[int, Any]:
    """Return the claims by their labels."""
    said: dict[int, Any] = {
        Claim.ISS: claims.issuer or None,
        Claim.SUB: claims.subject or None,
        Claim.AUD: claims.audience or None,
        Claim.EXP: claims.expires_at,
        Claim.NBF: claims.not_before,
        Claim.IAT: claims.issued_at,
        Claim.CTI: claims.id or None,
        Claim.CATREPLAY: claims.replay,
        Claim.CATV: VERSION,
        Claim.CATNIP: [_network(network) for network in claims.networks] or None,
        Claim.CATU: _uri(claims) or None,
        Claim.CATM: list(claims.methods) or None,
        Claim.CATGEOISO3166: list(claims.countries) or None,
    }
    if claims.replay is Replay.PROHIBITED and not claims.id:
        raise InvalidInput("a token that may be used once needs an id", field="cti")
    return {
        int(label): int(value) if isinstance(value, Replay) else value
        for label, value in said.items()
        if value is not None
    }


def _uri(claims: CatClaims) -> dict[int, Any]:
    found: dict[int, Any] = {}
    if claims.scheme:
        found[_SCHEME] = {_EXACT: claims.scheme}
    if claims.host:
        found[_HOST] = {_EXACT: claims.host}
    if claims.path_prefix:
        found[_PATH] = {_PREFIX: claims.path_prefix}
    return found


def _network(network: Network) -> Tag:
    """Write a network (RFC 9164): a single address as its bytes, else the length and the bytes up to the last that counts."""
    tag, size = (_IPV4, 4) if network.version == 4 else (_IPV6, 16)
    bits, octets = network.mask.bit_count(), network.first.to_bytes(size)
    return Tag(tag, octets if bits == 8 * size else [bits, octets.rstrip(b"\0")])


def _read(payload: Any) -> CatClaims:
    """Read claims; any that is not understood refuses, those of applications too."""
    if not isinstance(payload, dict):
        raise _bad("its claims are no map")
    given: dict[str, Any] = {}
    for label, value in payload.items():
        reader = _READERS.get(label) if isinstance(label, int) else None
        if reader is None:
            raise _bad(f"claim {label if isinstance(label, int) else 'of text'} is not understood")
        given |= reader(value)
    if "expires_at" not in given:
        raise _bad("it has no exp")
    return CatClaims(**given)


def _read_text(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {name: _of(value, str, name)}


def _read_instant(name: str) -> Callable[[Any], dict[str, Any]]:
    def read_instant(value: Any) -> dict[str, Any]:
        instant = _of(value, int, name)
        if instant < 0:
            raise _bad(f"{name} is negative")
        return {name: instant}

    return read_instant


def _read_id(value: Any) -> dict[str, Any]:
    return {"id": _of(value, bytes, "cti")}


def _read_replay(value: Any) -> dict[str, Any]:
    number = _of(value, int, "catreplay")
    if number not in tuple(Replay):
        raise _bad("catreplay is not understood")
    return {"replay": Replay(number)}


def _read_version(value: Any) -> dict[str, Any]:
    if _of(value, int, "catv") != VERSION:
        raise _bad("catv is of another version")
    return {}


def _read_networks(value: Any) -> dict[str, Any]:
    return {"networks": tuple(_read_network(each) for each in _some(value, "catnip"))}


def _read_network(value: Any) -> Network:
    if not isinstance(value, Tag) or value.number not in (_IPV4, _IPV6):
        raise _bad("catnip names something else than addresses")
    size = 4 if value.number == _IPV4 else 16
    version = 4 if value.number == _IPV4 else 6
    match value.value:
        case bytes() as octets if len(octets) == size:
            return network_of(Address(version, int.from_bytes(octets)), 8 * size)
        case [int() as bits, bytes() as octets] if (
            not isinstance(bits, bool) and 0 <= bits <= 8 * size and len(octets) <= size
        ):
            address = Address(version, int.from_bytes(octets.ljust(size, b"\0")))
            network = network_of(address, bits)
            if network.first != address.number:
                raise _bad("catnip has host bits set")
            return network
        case _:
            raise _bad("catnip names something else than addresses")


def _read_uri(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise _bad("catu is no map")
    found: dict[str, Any] = {}
    for component, match in value.items():
        name = _COMPONENTS.get(component)
        kind = _PREFIX if name == "path" else _EXACT
        if (
            name is None
            or not isinstance(match, dict)
            or set(match) != {kind}
            or not isinstance(match[kind], str)
            or not match[kind]
        ):
            raise _bad("catu is not understood")
        found["path_prefix" if name == "path" else name] = match[kind]
    return found


def _read_methods(value: Any) -> dict[str, Any]:
    return {"methods": tuple(_of(each, str, "catm") for each in _some(value, "catm"))}


def _read_countries(value: Any) -> dict[str, Any]:
    return {"countries": tuple(_of(each, str, "catgeoiso3166") for each in _some(value, "catgeoiso3166"))}


_READERS: Final[Mapping[int, Callable[[Any], dict[str, Any]]]] = MappingProxyType(
    {
        Claim.ISS: _read_text("issuer"),
        Claim.SUB: _read_text("subject"),
        Claim.AUD: _read_text("audience"),
        Claim.EXP: _read_instant("expires_at"),
        Claim.NBF: _read_instant("not_before"),
        Claim.IAT: _read_instant("issued_at"),
        Claim.CTI: _read_id,
        Claim.CATREPLAY: _read_replay,
        Claim.CATV: _read_version,
        Claim.CATNIP: _read_networks,
        Claim.CATU: _read_uri,
        Claim.CATM: _read_methods,
        Claim.CATGEOISO3166: _read_countries,
    }
)


def _of(value: Any, kind: type, name: str) -> Any:
    # Security: True is an integer to Python, and no claim is to be one by accident.
    if not isinstance(value, kind) or isinstance(value, bool) or (kind is not int and not value):
        raise _bad(f"{name} is of another type")
    return value


def _some(value: Any, name: str) -> list[Any]:
    """Return a list; an empty one would allow nothing or everything, depending on who reads it."""
    if not isinstance(value, list) or not value:
        raise _bad(f"{name} is no list, or empty")
    return value


def _check(claims: CatClaims, request: CatRequest, now: float) -> None:
    """Refuse claims that do not hold for the request."""
    if now >= claims.expires_at:
        raise _bad("it has expired")
    if claims.not_before is not None and now < claims.not_before:
        raise _bad("it is not good yet")
    if claims.audience != request.audience:
        raise _bad("it is for another audience")
    if claims.replay is Replay.PROHIBITED and not (claims.id and request.first_use is True):
        raise _bad("it has been used, or that is not known")
    if claims.networks:
        address = parse_address(request.address)
        if address is None or not any(network.holds(address) for network in claims.networks):
            raise _bad("it is for other addresses")
    if claims.countries and request.country not in claims.countries:
        raise _bad("it is for other countries")
    if claims.methods and request.method not in claims.methods:
        raise _bad("it is for other methods")
    _check_uri(claims, request.url)


def _check_uri(claims: CatClaims, url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise _bad("what it is asked for is no URL") from None
    # Security: a path that climbs would begin as it should and end elsewhere, however its dots and slashes are written.
    if claims.path_prefix and not {".", ".."}.isdisjoint(unquote(unquote(parts.path)).replace("\\", "/").split("/")):
        raise _bad("it is for other paths")
    for said, found in ((claims.scheme, parts.scheme), (claims.host, host)):
        if said and said.lower() != found:
            raise _bad("it is for another scheme or host")
    if not parts.path.startswith(claims.path_prefix):
        raise _bad("it is for other paths")


def _bad(why: str) -> InvalidCat:
    return InvalidCat(f"the token is not good: {why}", field="token")
