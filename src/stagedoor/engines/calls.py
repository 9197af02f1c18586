"""Calls to the control APIs of engines, each with the secret that only we and the engine know."""

from collections.abc import Callable
from typing import Final

import httpx

from stagedoor.model.engine import Engine
from stagedoor.model.errors import Unavailable

TIMEOUT_SECONDS: Final = 5.0
"""How long a control API may take to answer."""


class ControlCalls:
    """Calls the control APIs of engines, over connections that are kept."""

    def __init__(
        self, *, secret_of: Callable[[Engine], str], transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Take what our calls to an engine show; and a transport, where it is not to be the network."""
        # Security: no redirect is followed and no proxy of the environment is used: both would carry the secret elsewhere.
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False, transport=transport
        )
        self._secret_of = secret_of

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __call__(self, engine: Engine, method: str, path: str) -> httpx.Response:
        """Call `path` (with its query) on an engine, and return whatever it answers.

        Raises: Unavailable when it does not answer.
        """
        headers = {"Authorization": f"Bearer {self._secret_of(engine)}"}
        try:
            return await self._client.request(method, f"{engine.control_url.rstrip('/')}{path}", headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(f"the control API of {engine.name} does not answer: {type(error).__name__}") from None
