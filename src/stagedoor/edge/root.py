"""The first fork in the way of a request: hooks and health are raw ASGI, everything else is the framework's."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from stagedoor.edge.asgi import App, Receive, Scope, Send
from stagedoor.edge.hooks import PREFIX


class Late:
    """An application that takes long to load: it is made on a thread, so that no engine's call waits for it."""

    def __init__(self, make: Callable[[], App]) -> None:
        """Take the way to make it."""
        self._make = make
        self._app: App | None = None
        self._loading = asyncio.Lock()

    async def load(self) -> App:
        """Return the application, making it the first time."""
        if self._app is None:
            async with self._loading:
                if self._app is None:
                    self._app = await asyncio.to_thread(self._make)
        return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        app = await self.load()
        await app(scope, receive, send)


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
