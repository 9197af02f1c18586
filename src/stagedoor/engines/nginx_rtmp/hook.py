"""The hooks of nginx-rtmp: form bodies of `on_publish`, `on_play` and the rest, and `auth_request` for HLS.

What must hold (docs/contracts/engines.md):

- nginx writes its own fields first, escaped, and appends the client's query as it came. So a client can repeat `name` or
  `addr`, and only the first of each counts.
- Names become file names and arguments of programs: they are held to a short list of characters here, and begin with none
  that makes a hidden file or an option.
- nginx's own push and pull relays ask to play, in a shape that no client can take: an empty application and an address
  that is no plain IP.
- Only the first digit of the status is read: 2 allows, 4 and 5 refuse. A 3 would rename the stream.
- `on_update` asks again and again while a stream is published or played; refusing it ends the session. What ends is told
  by `on_publish_done` and `on_play_done`, whose answers nobody reads.
"""

import re
from typing import Final
from urllib.parse import unquote, unquote_plus

from stagedoor.engines.dialect import Answer, Headers, OwnSecrets, stream_of
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.decision import ALLOWING, Reason
from stagedoor.model.ids import NOWHERE, StreamId
from stagedoor.service.authorize import Attempt, Notice

_ACTIONS: Final = {"publish": Action.PUBLISH, "play": Action.SUBSCRIBE}
_UPDATES: Final = {"update_publish": Action.PUBLISH, "update_play": Action.SUBSCRIBE}
_ENDS: Final = {"publish_done": Action.PUBLISH, "play_done": Action.SUBSCRIBE}
_TOLD: Final = frozenset({"connect", "done", "record_done", "disconnect"})
"""Calls that ask for nothing: whether a peer may do anything is asked when it publishes or plays."""
_NAME: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_-]{0,63}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_RELAY_ADDRESS: Final = re.compile(r"[^/\s]+:\d{1,5}/\S*")
_HLS: Final = re.compile(
    r"/hls/(?:~(?P<token>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){0,2})/)?(?P<name>[^?]+)/[A-Za-z0-9_-]+\.(?:m3u8|ts)(?:\?(?P<query>.*))?"
)

_RTMP: Final = Protocol.RTMP


class NginxRtmp:
    """The dialect of nginx-rtmp."""

    def read(self, path: str, headers: Headers, body: bytes, own_secrets: OwnSecrets) -> Attempt | Notice:
        """Understand a notify call, or an `auth_request` where the path is `hls`."""
        if path == "hls":
            return _read_hls(headers)
        form = _first_fields(body)
        event = form.get("call", "")
        session, client_ip = form.get("clientid", ""), form.get("addr", "")
        action = _ACTIONS.get(event) or _UPDATES.get(event)
        if action is None:
            if event in _ENDS or event in _TOLD:
                return Notice(event, Reason.OK_ENGINE, client_ip, session, recorded=False, ends=_ENDS.get(event))
            return Notice("unknown", Reason.ACTION_UNKNOWN if event else Reason.REQUEST_MALFORMED, client_ip)
        if action is Action.SUBSCRIBE and _is_relay(form):
            return Notice("relay", Reason.OK_ENGINE, session=session, recorded=event in _ACTIONS)
        name = form.get("name", "")
        access = Access(
            action, _stream_of(name), _RTMP, client_ip, None, form.get("flashver", ""), form.get("pageurl", "")
        )
        token = form.get("token") or form.get("t") or ""
        return Attempt(access, token, session, running=event in _UPDATES)

    def answer(self, reason: Reason) -> Answer:
        """Write 200, 403, or 503 when the fault is ours."""
        if reason in ALLOWING:
            return Answer(200, "ok")
        return Answer(503 if reason is Reason.STORE_UNAVAILABLE else 403, reason)


def _stream_of(name: str) -> StreamId:
    return stream_of(name) if _NAME.fullmatch(name) else NOWHERE


def _read_hls(lines: Headers) -> Attempt | Notice:
    """Read `auth_request`'s sub-request: the viewer's own URI is in a header, and with it the token.

    The token stands before the name (`/hls/~TOKEN/NAME/index.m3u8`), so that the relative addresses in a playlist keep
    it, or in the query, where it counts for that one request.
    """
    headers = dict(lines)
    uri = headers.get(b"x-original-uri", b"").decode("latin-1")
    match = _HLS.fullmatch(uri)
    client_ip = headers.get(b"x-real-ip", b"").decode("latin-1")
    if match is None:
        return Notice("hls", Reason.REQUEST_MALFORMED, client_ip)
    name = unquote(match["name"])
    stream = _stream_of(name)
    query = _first_fields((match["query"] or "").encode())
    origin, agent, referrer = (_header(headers, name) for name in (b"origin", b"user-agent", b"referer"))
    access = Access(Action.SUBSCRIBE, stream, Protocol.HLS, client_ip, origin, agent or "", referrer or "")
    return Attempt(access, match["token"] or query.get("token") or query.get("t") or "")


def _header(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def _first_fields(body: bytes) -> dict[str, str]:
    """Read a form body; of each field the first one counts."""
    fields: dict[str, str] = {}
    for pair in body.decode("latin-1").split("&"):
        key, _, value = pair.partition("=")
        if key not in fields:
            fields[key] = unquote_plus(value) if "%" in value or "+" in value else value
    return fields


def _is_relay(form: dict[str, str]) -> bool:
    return (
        form.get("flashver") == "ngx-local-relay"
        and form.get("app") == ""
        and _RELAY_ADDRESS.fullmatch(form.get("addr", "")) is not None
    )
