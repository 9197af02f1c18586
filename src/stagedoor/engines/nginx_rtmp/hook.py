"""The hooks of nginx-rtmp: form bodies of `on_publish`, `on_play` and the rest, and `auth_request` for HLS.

What must hold (docs/contracts/engines.md):

- nginx writes its own fields first, escaped, and appends the client's query as it came. So a client can repeat `name` or
  `addr`, and only the first of each counts.
- Names become file names and arguments of programs: they are held to a short list of characters here.
- nginx's own push and pull relays ask to play, in a shape that no client can take: an empty application and an address
  that is no plain IP.
- Only the first digit of the status is read: 2 allows, 4 and 5 refuse. A 3 would rename the stream.
"""

import re
from typing import Final
from urllib.parse import unquote, unquote_plus

from stagedoor.engines.dialect import Answer, HookCall, split_path
from stagedoor.model.access import Action, Protocol
from stagedoor.model.decision import Decision, Reason
from stagedoor.service.authorize import Attempt, Notice

_ACTIONS: Final = {"publish": Action.PUBLISH, "play": Action.SUBSCRIBE}
_ENDS: Final = frozenset({"publish_done", "play_done", "done", "record_done", "disconnect"})
_NAME: Final = re.compile(r"(?:[A-Za-z0-9_-]{1,64}/)?[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
_RELAY_ADDRESS: Final = re.compile(r"[^/\s]+:\d{1,5}/\S*")
_HLS: Final = re.compile(
    r"/hls/(?:~(?P<token>[A-Za-z0-9_-]+)/)?(?P<name>[^?]+)/[A-Za-z0-9_-]+\.(?:m3u8|ts)(?:\?(?P<query>.*))?"
)

_ALLOWED: Final = Answer(200, "ok")


class NginxRtmp:
    """The dialect of nginx-rtmp."""

    def read(self, call: HookCall) -> Attempt | Notice:
        """Understand a notify call, or an `auth_request` where the path is `/hls`."""
        if call.path == "hls":
            return _read_hls(call)
        form = _first_fields(call.body)
        event = form.get("call", "")
        session, client_ip = form.get("clientid", ""), form.get("addr", "")
        action = _ACTIONS.get(event)
        if action is None:
            if event in _ENDS:
                return Notice(event, Reason.OK_ENGINE, client_ip, session, recorded=False)
            if event == "connect":
                # Whether the peer may do anything is asked when it publishes or plays.
                return Notice(event, Reason.OK_ENGINE, client_ip, session, recorded=False)
            return Notice("unknown", Reason.ACTION_UNKNOWN if event else Reason.REQUEST_MALFORMED, client_ip)
        if action is Action.SUBSCRIBE and _is_relay(form):
            return Notice("relay", Reason.OK_ENGINE, session=session)
        name = form.get("name", "")
        account, stream = split_path(name if _NAME.fullmatch(name) else "")
        token = form.get("token") or form.get("t") or ""
        return Attempt(action, account, stream, token, Protocol.RTMP, client_ip, session)

    def answer(self, decision: Decision) -> Answer:
        """Write a decision: 200, 403, or 503 when the fault is ours."""
        if decision.allowed:
            return _ALLOWED
        return Answer(503 if decision.reason is Reason.STORE_UNAVAILABLE else 403, decision.reason)


def _read_hls(call: HookCall) -> Attempt | Notice:
    """Read `auth_request`'s sub-request: the viewer's own URI is in a header, and with it the token.

    The token stands before the name (`/hls/~TOKEN/NAME/index.m3u8`), so that the relative addresses in a playlist keep
    it, or in the query, where it counts for that one request.
    """
    headers = dict(call.headers)
    uri = headers.get(b"x-original-uri", b"").decode("latin-1")
    match = _HLS.fullmatch(uri)
    client_ip = headers.get(b"x-real-ip", b"").decode("latin-1")
    if match is None:
        return Notice("hls", Reason.REQUEST_MALFORMED, client_ip)
    name = unquote(match["name"])
    account, stream = split_path(name if _NAME.fullmatch(name) else "")
    query = _first_fields((match["query"] or "").encode())
    token = match["token"] or query.get("token") or query.get("t") or ""
    origin = headers.get(b"origin")
    return Attempt(
        Action.SUBSCRIBE, account, stream, token, Protocol.HLS, client_ip,
        origin=origin.decode("latin-1") if origin is not None else None,
    )  # fmt: skip


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
