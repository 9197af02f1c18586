"""The first fork in the way of a request: hooks, single paths such as health, and the APIs."""

from collections.abc import Awaitable, Mapping

from stagedoor.edge.asgi import App, Receive, Scope, Send
from stagedoor.edge.hooks import PREFIX


class Root:
    """The whole HTTP application."""

    def __init__(self, *, hooks: App, exact: Mapping[str, App], others: App) -> None:
        """Take the application for hooks, those for single paths, and the one for all other paths."""
        self._hooks = hooks
        self._exact = dict(exact)
        self._others = others

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass one request on. The server speaks HTTP only here: no web sockets, no lifespan (see `server`)."""
        path: str = scope["path"]
        app = self._hooks if path.startswith(PREFIX) else self._exact.get(path, self._others)
        return app(scope, receive, send)
