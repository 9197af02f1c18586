"""`/healthz`: the process runs. `/readyz`: it can decide, because its view is current or the store can make it so."""

from typing import Final

from stagedoor.edge.asgi import Receive, Reply, Scope, Send
from stagedoor.model.errors import Unavailable
from stagedoor.service.ports import View

_OK: Final = Reply(200, "ok\n")
_NOT_READY: Final = Reply(503, "not ready: the database does not answer\n")


class Health:
    """The ASGI application for health checks."""

    def __init__(self, *, view: View) -> None:
        """Take the view whose currency is readiness."""
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one check."""
        if scope["path"] == "/readyz":
            try:
                # Asked of the store each time: a view that is merely not known to be old is no proof of a database.
                await self._view.catch_up()
            except Unavailable:
                await _NOT_READY.send(send)
                return
        await _OK.send(send)
