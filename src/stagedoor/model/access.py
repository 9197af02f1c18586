"""The question: who wants to do what with which stream, from where."""

from enum import StrEnum
from typing import NamedTuple

from stagedoor.model.ids import StreamId


class Action(StrEnum):
    """What can be done with a stream."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


class Protocol(StrEnum):
    """How media travels. `UNKNOWN` is an engine that did not say."""

    WEBRTC = "webrtc"
    RTMP = "rtmp"
    RTSP = "rtsp"
    SRT = "srt"
    HLS = "hls"
    MOQ = "moq"
    UNKNOWN = "unknown"


class Access(NamedTuple):
    """One attempt to publish or watch one stream.

    `client_ip` is the text an engine gave for the far end, not yet parsed; `origin`, `user_agent` and `referrer` are a
    browser's, where there is one (`origin` None: none was sent). All are what somebody said, to be judged and not believed.
    """

    action: Action
    stream: StreamId
    protocol: Protocol
    client_ip: str
    origin: str | None = None
    user_agent: str = ""
    referrer: str = ""
