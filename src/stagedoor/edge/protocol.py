"""HTTP as the server speaks it, with a short way for engines' calls.

A call whose answer is in memory is answered where its last byte is parsed: no task, no application scope, one write. All
other requests, and calls that need the store, go the usual way through the application, which gives the same answers. The
short way is for a plain path, a body of a hook's size, nothing else under way on the connection, and no wait for
`100 Continue`; anything else is rare and goes the usual way too. Why it is worth having: docs/adr/0004.
"""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stagedoor.edge.asgi import MAX_HOOK_BODY, Reply
from stagedoor.edge.hooks import PREFIX, Hooks

_PREFIX: Final = PREFIX.encode()
_METHODS: Final = frozenset({b"POST", b"GET"})


class HookProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, hooks: Hooks, **options: Any) -> None:
        """Take what the server gives, and who answers engines' calls."""
        super().__init__(*arguments, **options)
        self._answer = hooks.from_memory
        self._body: bytes | None = None
        """What has come of the body of a call on the short way; None when the request is on the usual one."""

    def on_headers_complete(self) -> None:
        """Choose the way."""
        url = self.url
        if (
            url.startswith(_PREFIX)
            and b"?" not in url
            and b"%" not in url
            and not self.expect_100_continue
            and (self.cycle is None or self.cycle.response_complete)
            and self.parser.get_method() in _METHODS
            and not self.parser.should_upgrade()
        ):
            self._body = b""
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Gather the body; a long one goes the usual way, which knows when to stop reading."""
        if self._body is None:
            super().on_body(body)
            return
        self._body += body
        if len(self._body) > MAX_HOOK_BODY:
            self._go_the_usual_way()

    def on_message_complete(self) -> None:
        """Answer a call on the short way, if memory can."""
        if self._body is not None:
            reply = self._answer(self.url.decode("latin-1"), self.headers, self._body)
            if reply is not None:
                self._body = None
                self._write(reply)
                return
            self._go_the_usual_way()
        super().on_message_complete()

    def _go_the_usual_way(self) -> None:
        body, self._body = self._body or b"", None
        super().on_headers_complete()
        super().on_body(body)

    def _write(self, reply: Reply) -> None:
        """Write the whole answer, and leave the connection as the usual way does."""
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        lines = [reply.head]
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n" if keep_alive else b"connection: close\r\n\r\n", reply.text)
        self.transport.write(b"".join(lines))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()
