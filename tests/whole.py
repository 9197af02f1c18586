"""A whole system without a network: two workers on one database, two accounts, and an engine that asks by hook."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
from sqlalchemy import insert

from stagedoor.app import Administration, administration, authority
from stagedoor.config import Settings
from stagedoor.model.engine import EngineKind
from stagedoor.model.ids import AccountId
from stagedoor.store import schema
from tests.answers import Checked

Json = dict[str, Any]

BOB: Final = AccountId("bobbob")
"""The second account."""

IP: Final = "192.0.2.9"


class Hands:
    """A clock that runs, and can be put forward or stopped."""

    def __init__(self) -> None:
        """Begin at the time that it is."""
        self.ahead = 0.0
        self.stopped: float | None = None

    def __call__(self) -> float:
        """Return the time."""
        return (time.time() if self.stopped is None else self.stopped) + self.ahead


@dataclass(kw_only=True)
class Whole:
    """The system, and how callers and the engine reach it."""

    admin: Administration
    apps: list[Any]
    clock: Hands
    account: AccountId
    secret: str
    bob_secret: str
    hook: str
    _asked: int = 0

    async def call(self, method: str, path: str, *, worker: int = 0, **more: Any) -> httpx.Response:
        """Send a request to a worker; `bearer` is shown, where it is not None."""
        headers = dict(more.pop("headers", {}))
        bearer = more.pop("bearer", self.secret)
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        transport = Checked(httpx.ASGITransport(app=self.apps[worker], client=(more.pop("ip", "192.0.2.1"), 1)))
        async with httpx.AsyncClient(transport=transport, base_url="http://authority") as client:
            return await client.request(method, path, headers=headers, **more)

    async def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
        """Send a request, and return what is answered as JSON; its status is as is said."""
        if body is not None:
            more["json"] = body
        answer = await self.call(method, path, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def token(self, kind: str, **body: Any) -> Json:
        """Make a publish or a subscribe token, of the stream `cam` where nothing else is said."""
        body = {"label": "made", "streams": [{"streamName": "cam"}]} | body
        made: Json = (await self.ask("POST", f"/api/{kind}_token", body))["data"]
        return made

    async def secured(self, pattern: str = ".*") -> Json:
        """Have a publish token for whose streams viewers need a token, so that theirs is looked at."""
        return await self.token(
            "publish", streams=[{"streamName": pattern, "isRegex": True}], subscribeRequiresAuth=True
        )

    async def attempt(self, text: str, stream: str = "cam", *, worker: int = 0, **more: Any) -> str:
        """Have the engine ask whether somebody may watch, or do something else (`action`), and return what it is told."""
        self._asked += 1
        asked = {
            "action": "read",
            "path": f"{self.account}/{stream}",
            "ip": IP,
            "protocol": "webrtc",
            "token": text,
            "user": "viewer",
            "id": f"session-{self._asked}",
        } | more
        transport = httpx.ASGITransport(app=self.apps[worker], client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://authority") as client:
            answer = await client.post(self.hook, content=json.dumps(asked))
        assert answer.status_code in (200, 403, 503), answer.text
        assert (answer.status_code == 200) is (answer.text == "ok")
        return answer.text

    async def everywhere(self, text: str, stream: str = "cam", **more: Any) -> str:
        """Ask both workers, twice each (cold and from memory), and return what all of them say."""
        told = {await self.attempt(text, stream, worker=worker, **more) for worker in (0, 1, 0, 1)}
        assert len(told) == 1, told
        return told.pop()

    async def application(self, *scopes: str) -> str:
        """Return an API token with scopes."""
        made = await self.ask("POST", "/v1/applications", {"label": "asks", "scopes": list(scopes)}, status=201)
        form: Mapping[str, str] = {"grant_type": "client_credentials"}
        auth = (made["appKey"], made["appSecret"])
        got = await self.call("POST", "/v1/auth/token", bearer=None, data=form, auth=auth)
        assert got.status_code == 200, got.text
        text: str = got.json()["access_token"]
        return text


@asynccontextmanager
async def whole(settings: Settings) -> AsyncIterator[Whole]:
    """Run it."""
    clock = Hands()
    async with administration(settings, clock) as admin:
        first = await admin.accounts.create_first("admin@example.com")
        async with admin.store._writing() as write:
            values = {"id": BOB, "enabled": True, "added_on": int(clock())}
            await write.connection.execute(insert(schema.account).values(values))
        second = await admin.api_secrets.issue(BOB, "bob's")
        engine = await admin.engines.add(EngineKind.MEDIAMTX, "studio", first.account)
        async with authority(settings, clock) as one, authority(settings, clock) as two:
            yield Whole(
                admin=admin,
                apps=[one.app, two.app],
                clock=clock,
                account=first.account,
                secret=first.api_secret.reveal(),
                bob_secret=second.secret.reveal(),
                hook=f"/hooks/mediamtx/{engine.hook_secret.reveal()}",
            )
