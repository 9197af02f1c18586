"""What workers keep in memory for the API is never older than a write that has returned."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from stagedoor.app import administration, authority
from stagedoor.cluster import reads
from stagedoor.config import Settings
from tests.answers import Checked

TOKENS = "/api/publish_token"


@dataclass
class Workers:
    """Two workers on one database, as one account calls them."""

    clients: list[httpx.AsyncClient]

    async def data(self, worker: int, method: str, path: str, **more: Any) -> Any:
        """Return the data of a request that succeeds."""
        answer = await self.clients[worker].request(method, path, **more)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text)["data"]


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Workers]:
    """Run the workers."""
    async with AsyncExitStack() as stack:
        apps = [(await stack.enter_async_context(authority(settings))).app for _ in range(2)]
        admin = await stack.enter_async_context(administration(settings))
        first = await admin.accounts.create_first("admin@example.com")
        headers = {"Authorization": f"Bearer {first.api_secret.reveal()}"}
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=Checked(httpx.ASGITransport(app=app)), base_url="http://authority", headers=headers
                )
            )
            for app in apps
        ]
        yield Workers(clients)


async def test_what_one_worker_changes_every_worker_reads(settings: Settings) -> None:
    """Also what it has read before: labels, settings of the account, and that a token is gone."""
    async with running(settings) as workers:
        token = await workers.data(0, "POST", TOKENS, json={"label": "a", "streams": [{"streamName": "s"}]})
        path = f"{TOKENS}/{token['id']}"
        for worker in (0, 1, 0, 1):
            assert await workers.data(worker, "GET", path) == token
        changed = await workers.data(0, "PUT", path, json={"label": "b", "refreshToken": True})
        assert await workers.data(1, "GET", path) == changed
        assert changed["token"] != token["token"]
        await workers.data(1, "DELETE", path)
        for worker in (0, 1):
            answer = await workers.clients[worker].get(path)
            assert answer.status_code == 400
            assert "tokenId" in answer.json()["data"]


async def test_a_read_that_begins_after_a_write_returned_sees_it(settings: Settings) -> None:
    """Readers on the other worker, all the time, while one label counts up."""
    async with running(settings) as workers:
        token = await workers.data(0, "POST", TOKENS, json={"label": "0", "streams": [{"streamName": "s"}]})
        path, written, done = f"{TOKENS}/{token['id']}", 0, False

        async def read() -> int:
            seen = 0
            while not done:
                least = written
                label = int((await workers.data(1, "GET", path))["label"])
                assert label >= least
                seen += 1
                await asyncio.sleep(0)  # what is in memory is answered without a pause
            return seen

        readers = [asyncio.create_task(read()) for _ in range(4)]
        for number in range(1, 60):
            await workers.data(0, "PUT", path, json={"label": str(number)})
            written = number
        done = True
        assert sum(await asyncio.gather(*readers)) > 60


async def test_a_token_of_another_kind_is_not_there_though_it_is_known(settings: Settings) -> None:
    """Ids are read by kind: what memory holds of one kind says nothing of the other."""
    async with running(settings) as workers:
        token = await workers.data(0, "POST", TOKENS, json={"label": "a", "streams": [{"streamName": "s"}]})
        await workers.data(0, "GET", f"{TOKENS}/{token['id']}")
        assert (await workers.clients[0].get(f"/api/subscribe_token/{token['id']}")).status_code == 400


async def test_memory_is_bounded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for three, the oldest goes; and all of them are read right."""
    monkeypatch.setattr(reads, "CAPACITY", 3)
    async with running(settings) as workers:
        made = [
            await workers.data(0, "POST", TOKENS, json={"label": str(number), "streams": [{"streamName": "s"}]})
            for number in range(6)
        ]
        for _ in range(2):
            for token in made:
                assert await workers.data(0, "GET", f"{TOKENS}/{token['id']}") == token
        await workers.data(0, "PUT", f"{TOKENS}/{made[0]['id']}", json={"label": "new"})
        assert (await workers.data(0, "GET", f"{TOKENS}/{made[0]['id']}"))["label"] == "new"
