# ruff: noqa: D103
"""API secrets through the whole application: several for an account, each for itself."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from stagedoor.app import Administration, administration, authority
from stagedoor.config import Settings
from stagedoor.tokens.api_secret import is_api_secret
from tests.answers import Checked

PATH = "/v1/api-secrets"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass
class System:
    """A system with one account, and the API as callers with any secret reach it."""

    admin: Administration
    apps: list[Any]
    first: str

    async def call(self, secret: str, method: str = "GET", path: str = PATH, *, worker: int = 0, **more: Any) -> Any:
        """Send a request to one of the workers."""
        transport = Checked(httpx.ASGITransport(app=self.apps[worker], client=(f"192.0.2.{id(more) % 256}", 1)))
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://authority", headers=headers) as client:
            return await client.request(method, path, **more)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[System]:
    """Run two workers on one database."""
    async with authority(settings) as one, authority(settings) as two, administration(settings) as admin:
        first = await admin.accounts.create_first("admin@example.com")
        yield System(admin, [one.app, two.app], first.api_secret.reveal())


async def test_a_secret_is_shown_once_and_is_good_at_once_on_every_worker(settings: Settings) -> None:
    async with running(settings) as system:
        answer = await system.call(system.first, "POST", json={"label": "Backend"})
        assert answer.status_code == 201
        made = answer.json()
        assert is_api_secret(made["apiSecret"])
        assert made["apiSecret"].startswith(made["hint"])
        assert INSTANT.fullmatch(made["addedOn"])
        for worker in (0, 1):
            listed = (await system.call(made["apiSecret"], worker=worker)).json()
            assert [secret["label"] for secret in listed] == ["first", "Backend"]
            assert all("apiSecret" not in secret for secret in listed)


async def test_a_refreshed_secret_is_dead_on_every_worker_and_its_new_value_good(settings: Settings) -> None:
    async with running(settings) as system:
        made = (await system.call(system.first, "POST", json={"label": "Backend"})).json()
        for worker in (0, 1):
            assert (await system.call(made["apiSecret"], worker=worker)).status_code == 200
        fresh = (await system.call(system.first, "POST", f"{PATH}/{made['id']}/refresh")).json()
        assert fresh["id"] == made["id"]
        for worker in (0, 1):
            assert (await system.call(made["apiSecret"], worker=worker)).status_code == 401
            assert (await system.call(fresh["apiSecret"], worker=worker)).status_code == 200


async def test_with_the_last_secret_the_api_is_closed_until_the_operator_opens_it(settings: Settings) -> None:
    async with running(settings) as system:
        made = (await system.call(system.first, "POST", json={"label": "Backend"})).json()
        listed = (await system.call(system.first)).json()
        answer = await system.call(made["apiSecret"], "DELETE", f"{PATH}/{listed[0]['id']}")
        assert (answer.status_code, answer.json()) == (200, True)
        assert (await system.call(system.first)).status_code == 401
        assert (await system.call(made["apiSecret"], "DELETE", f"{PATH}/{made['id']}")).status_code == 200
        for secret in (system.first, made["apiSecret"]):
            for worker in (0, 1):
                assert (await system.call(secret, worker=worker)).status_code == 401
                assert (await system.call(secret, path="/api/publish_token/1", worker=worker)).status_code == 403
        (account,) = await system.admin.accounts.list()
        opened = await system.admin.api_secrets.issue(account, "again")
        assert (await system.call(opened.secret.reveal())).status_code == 200


@pytest.mark.parametrize("path", ["999999", "0", "x", "1" * 30])
async def test_what_is_not_there_is_a_problem_that_says_so(settings: Settings, path: str) -> None:
    async with running(settings) as system:
        for method, url in (("DELETE", f"{PATH}/{path}"), ("POST", f"{PATH}/{path}/refresh")):
            answer = await system.call(system.first, method, url)
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["field"] == "apiSecretId"


@pytest.mark.parametrize("body", [{}, {"label": ""}, {"label": "x" * 129}, {"label": "a\0b"}, {"label": 1}, []])
async def test_a_label_that_cannot_be_is_refused(settings: Settings, body: Any) -> None:
    async with running(settings) as system:
        answer = await system.call(system.first, "POST", json=body)
        assert answer.status_code == 400
        assert answer.json()["status"] == 400
        assert len((await system.call(system.first)).json()) == 1


async def test_other_accounts_secrets_are_not_there(settings: Settings) -> None:
    async with running(settings) as system:
        (account,) = await system.admin.accounts.list()
        (mine,) = await system.admin.api_secrets.list(account)
        assert await system.admin.store.api_secrets.list("another") == []  # type: ignore[arg-type]
        for attempt in (
            system.admin.store.api_secrets.remove("another", mine.id),  # type: ignore[arg-type]
            system.admin.api_secrets.refresh("another", mine.id),  # type: ignore[arg-type]
        ):
            with pytest.raises(Exception, match="No API secret"):
                await attempt
        assert (await system.call(system.first)).status_code == 200


async def test_the_value_is_in_no_repr_and_not_in_the_database(settings: Settings) -> None:
    async with running(settings) as system:
        made = (await system.call(system.first, "POST", json={"label": "Backend"})).json()
        (account,) = await system.admin.accounts.list()
        assert made["apiSecret"] not in repr(await system.admin.api_secrets.list(account))
        issued = await system.admin.api_secrets.issue(account, "another")
        assert issued.secret.reveal() not in repr(issued)
    content = settings.database_file.read_bytes()
    assert made["apiSecret"].encode() not in content
