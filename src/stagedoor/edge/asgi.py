"""The little of ASGI that the hot path needs: read a body, send a short answer."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any, Final

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_HOOK_BODY: Final = 64 * 1024
"""Longest body of a hook call, in bytes; real ones have a few hundred."""


class Reply:
    """A short plain-text answer, made once and sent often."""

    __slots__ = ("body", "head", "start", "text")

    def __init__(self, status: int, text: str, content_type: bytes = b"text/plain; charset=utf-8") -> None:
        """Prepare the two messages of the answer, and its text and status line with headers as they are written."""
        self.text = text.encode()
        headers = [(b"content-type", content_type), (b"content-length", str(len(self.text)).encode())]
        self.start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        self.body: Message = {"type": "http.response.body", "body": self.text}
        self.head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode() + b"".join(
            name + b": " + value + b"\r\n" for name, value in headers
        )

    async def send(self, send: Send) -> None:
        """Send it."""
        await send(self.start)
        await send(self.body)


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """Return the whole body; None when it is longer than `limit` bytes or the peer went away."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request" or len(body) > limit:
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return None if len(body) > limit else body
