"""Media servers that ask us."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stagedoor.model.access import Protocol
from stagedoor.model.ids import AccountId, EngineId


class EngineKind(StrEnum):
    """A media server whose hooks we speak."""

    NGINX_RTMP = "nginx-rtmp"
    MEDIAMTX = "mediamtx"


class AddressTrust(StrEnum):
    """Whether the client addresses an engine gives can be believed.

    `UNTRUSTED`: a token with a rule about addresses is refused there. `ACCEPTED`: the operator has it judged all the same.
    """

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A media server of the operator's. `account` owns streams whose path names none; empty leaves it to the token.

    `secret_digest` finds the engine by the secret in its hook URL; the secret itself is not kept.
    `control_url` is where its control API answers, `media_url` where it plays what it is sent; empty where we have none.
    `cluster_id` is that of the cluster it is in, if it is in one.
    """

    id: EngineId
    kind: EngineKind
    name: str
    account: AccountId
    secret_digest: bytes
    added_on: int
    address_trust: AddressTrust = AddressTrust.TRUSTED
    control_url: str = ""
    media_url: str = ""
    cluster_id: str = ""


_CONTROLLED: Final = {
    EngineKind.NGINX_RTMP: frozenset({Protocol.RTMP}),
    EngineKind.MEDIAMTX: frozenset({Protocol.RTMP, Protocol.RTSP, Protocol.SRT, Protocol.WEBRTC}),
}
"""Protocols whose sessions the control API of an engine lists, with their bytes."""


def tells_sessions(engine: Engine, protocol: Protocol) -> bool:
    """Tell whether we learn when a session of `protocol` on `engine` ends.

    nginx-rtmp's own calls follow them: it tells of the end, and asks again and again while they run.
    """
    if engine.kind is EngineKind.NGINX_RTMP:
        return protocol is Protocol.RTMP or protocol is Protocol.HLS
    return tells_bytes(engine, protocol)


def tells_bytes(engine: Engine, protocol: Protocol) -> bool:
    """Tell whether we learn how many bytes a session of `protocol` on `engine` carries."""
    return bool(engine.control_url) and protocol in _CONTROLLED[engine.kind]


def tells_of_life(engine: Engine) -> bool:
    """Tell whether silence of a session on `engine` means that it is over."""
    return engine.kind is EngineKind.NGINX_RTMP or bool(engine.control_url)
