"""Lengths: which ways of carrying a token have room for it.

The limits are those of the narrowest program known on each way (docs/contracts/engine-tokens.md); the name of the stream
shares the room with the token.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from stagedoor.model.access import Protocol
from stagedoor.model.errors import InvalidInput
from stagedoor.model.ids import MAX_STREAM_NAME
from stagedoor.model.token import TokenTerms

SHORT_LENGTH: Final = 43
"""An opaque token as unpadded base64url, in characters."""

HEX_LENGTH: Final = 64
"""An opaque token as it is issued, in characters."""


class Carrier(StrEnum):
    """What carries a token to a media server."""

    RTMP = "rtmp"
    SRT = "srt"
    CAMERA = "camera"
    HTTP_HEADER = "httpHeader"
    URL = "url"


class _Room(NamedTuple):
    """How many characters there are in all, how many of them stand around the token, and whether the name is one of them."""

    limit: int
    around: int
    named: bool


_KEY: Final = len("?token=")
_ROOM: Final[Mapping[Carrier, _Room]] = MappingProxyType(
    {
        # A stream key NAME?token=TOKEN; nginx-rtmp keeps 255 characters and cuts the rest off without a word.
        Carrier.RTMP: _Room(255, _KEY, named=True),
        # The longer of the two forms of a stream id, the other is NAME?t=TOKEN.
        Carrier.SRT: _Room(512, len("#!::m=publish,r=,t="), named=True),
        Carrier.CAMERA: _Room(128, _KEY, named=True),
        Carrier.HTTP_HEADER: _Room(8192, len("Bearer "), named=False),
        Carrier.URL: _Room(2048, _KEY, named=True),
    }
)
_CARRIED_BY: Final[Mapping[Protocol, Carrier]] = MappingProxyType(
    {Protocol.RTMP: Carrier.RTMP, Protocol.SRT: Carrier.SRT, Protocol.WEBRTC: Carrier.HTTP_HEADER}
)


def longest_name(terms: TokenTerms) -> int:
    """Return the length of the longest stream name that a token with these terms may be used for."""
    # A pattern may match names of any length, and a group be given others later.
    if terms.groups or any(pattern.is_regex for pattern in terms.streams):
        return MAX_STREAM_NAME
    return max((len(pattern.text) for pattern in terms.streams), default=0)


def carriers(length: int, stream_name_length: int) -> tuple[Carrier, ...]:
    """Return what has room for a token of `length` characters and a stream name of `stream_name_length`."""
    return tuple(carrier for carrier in Carrier if _fits(carrier, length, stream_name_length))


def check_fits(protocols: Collection[Protocol], length: int, stream_name_length: int) -> None:
    """Refuse a token that one of the protocols it is limited to cannot carry.

    Raises: InvalidInput that offers the short form.
    """
    for protocol in sorted(protocols):
        carrier = _CARRIED_BY.get(protocol, Carrier.URL)
        if not _fits(carrier, length, stream_name_length):
            raise InvalidInput(
                f"the token has {length} characters, and {protocol} has room for"
                f" {max(0, _room(carrier, stream_name_length))} beside a name of {stream_name_length}; ask with an opaque"
                f" token in its short form ({SHORT_LENGTH} characters of base64url) instead, or leave {protocol} out",
                field="allowedProtocols",
            )


def _fits(carrier: Carrier, length: int, stream_name_length: int) -> bool:
    return length <= _room(carrier, stream_name_length)


def _room(carrier: Carrier, stream_name_length: int) -> int:
    limit, around, named = _ROOM[carrier]
    return limit - around - (stream_name_length if named else 0)
