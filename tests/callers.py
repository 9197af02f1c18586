"""Callers of an API, without a network: whole requests to its application, from any address."""

from dataclasses import dataclass
from typing import Any

import httpx

from stagedoor.edge.asgi import App
from tests.answers import Checked
from tests.shapes import Shape, misfit


@dataclass(frozen=True)
class Caller:
    """Calls the compatible API with an API secret."""

    app: App
    api_secret: str

    async def send(
        self, method: str, path: str, *, address: str = "127.0.0.1", headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """Send a request from an address and return the answer."""
        transport = Checked(httpx.ASGITransport(app=self.app, client=(address, 50_000)))
        authorized = {"Authorization": f"Bearer {self.api_secret}"} | (headers or {})
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            return await client.request(method, path, headers=authorized, **more)

    async def data(self, method: str, path: str, shape: Shape, **more: Any) -> Any:
        """Return the data of a success, which has the shape."""
        answer = await self.send(method, path, **more)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert misfit(body, {"status": str, "data": shape}) is None
        assert body["status"] == "success"
        return body["data"]

    async def refusal(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """Return the data of a refusal that is the caller's fault."""
        answer = await self.send(method, path, **more)
        body: dict[str, Any] = answer.json()
        assert answer.status_code == 400, answer.text
        assert misfit(body, {"status": str, "data": dict}) is None
        assert body["status"] == "fail"
        assert isinstance(body["data"]["message"], str)
        data: dict[str, Any] = body["data"]
        return data
