"""The hook of MediaMTX (`authMethod: http`): one JSON call for every action.

What must hold (docs/contracts/engines.md):

- The token comes as bearer, as password, or (RTSP, RTMP) lifted from the query; for HLS and WebRTC only the raw query
  holds it.
- A first call without credentials is how RTSP, HLS and WebRTC begin: it is answered 401 at once and is no refusal, since
  the client is then asked and comes again. RTMP and SRT clients cannot be asked.
- Calls about MediaMTX's own API (`api`, `metrics`, `pprof`) come here too unless excluded, also those that we cause. They
  are for whoever holds the engine's hook secret.
"""

from hmac import compare_digest
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from stagedoor.engines.dialect import Answer, Headers, OwnSecrets, stream_of
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.decision import ALLOWING, Reason
from stagedoor.service.authorize import Attempt, Notice

_ACTIONS: Final = {"publish": Action.PUBLISH, "read": Action.SUBSCRIBE, "playback": Action.SUBSCRIBE}
_OWN: Final = frozenset({"api", "metrics", "pprof"})
_PROTOCOLS: Final = {protocol.value: protocol for protocol in Protocol}
_ASKABLE: Final = frozenset({Protocol.RTSP, Protocol.HLS, Protocol.WEBRTC, Protocol.MOQ, Protocol.UNKNOWN})
_UNKNOWN: Final = Protocol.UNKNOWN


class _Call(msgspec.Struct, gc=False):
    """The fields of the call that we read; unknown ones are new versions of MediaMTX."""

    action: str
    path: str = ""
    ip: str = ""
    protocol: str = ""
    token: str = ""
    password: str = ""
    user: str = ""
    query: str = ""
    id: str | None = None
    user_agent: str = msgspec.field(name="userAgent", default="")


# See model.ids: the quicker way to make a named tuple.
_new: Final = tuple.__new__
_decode: Final = msgspec.json.Decoder(_Call).decode


class MediaMtx:
    """The dialect of MediaMTX."""

    def read(self, path: str, headers: Headers, body: bytes, own_secrets: OwnSecrets) -> Attempt | Notice:
        """Understand a call."""
        try:
            asked = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Notice("unknown", Reason.REQUEST_MALFORMED)
        action = _ACTIONS.get(asked.action)
        token = asked.token or asked.password
        if action is None:
            return _own_call(asked, token, own_secrets)
        if not token and asked.query:
            token = _query_token(asked.query)
        protocol = _PROTOCOLS.get(asked.protocol, _UNKNOWN)
        access = _new(Access, (action, stream_of(asked.path), protocol, asked.ip, None, asked.user_agent, ""))
        will_ask = not token and not asked.user and protocol in _ASKABLE
        return _new(Attempt, (access, token, asked.id or "", will_ask, False))

    def answer(self, reason: Reason) -> Answer:
        """Write 200, 401 when credentials are missing, 403, or 503 when the fault is ours."""
        if reason in ALLOWING:
            return Answer(200, "ok")
        if reason is Reason.TOKEN_MISSING:
            return Answer(401, reason)
        return Answer(503 if reason is Reason.STORE_UNAVAILABLE else 403, reason)


def _own_call(asked: _Call, shown: str, own_secrets: OwnSecrets) -> Notice:
    """Judge a call about MediaMTX itself."""
    if asked.action not in _OWN:
        return Notice("unknown", Reason.ACTION_UNKNOWN, asked.ip)
    # Security: whoever may configure the engine has its hook secret, and we have the other; nobody else controls it.
    if compare_digest(shown.encode(), own_secrets.control.encode()):
        return Notice(asked.action, Reason.OK_ENGINE, asked.ip, recorded=False)
    if compare_digest(shown.encode(), own_secrets.hook.encode()):
        return Notice(asked.action, Reason.OK_ENGINE, asked.ip)
    return Notice(asked.action, Reason.TOKEN_UNKNOWN if shown else Reason.TOKEN_MISSING, asked.ip, recorded=bool(shown))


def _query_token(query: str) -> str:
    """Return the first `token`, else the first `t`, of a raw query string."""
    fields: dict[str, str] = {}
    for key, value in parse_qsl(query, max_num_fields=None):
        fields.setdefault(key, value)
    return fields.get("token") or fields.get("t") or ""
