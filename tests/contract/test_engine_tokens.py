# ruff: noqa: D103
"""Verifiers and what is minted for them, through the whole application."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import jwt
import pytest

from stagedoor.app import administration, authority
from stagedoor.config import Settings
from tests.callers import Caller

PATH, MINT = "/v1/verifiers", "/v1/engine_tokens"
SECRET = "the secret that LiveKit knows, 40 letters"
LIVEKIT = {
    "name": "meetings",
    "kind": "livekit",
    "keyName": "APIexample",
    "secret": SECRET,
    "url": "wss://lk.example.com",
}


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Caller]:
    async with authority(settings) as one, administration(settings) as admin:
        first = await admin.accounts.create_first("admin@example.com")
        yield Caller(one.app, first.api_secret.reveal())


async def subscribe_token(caller: Caller, **more: Any) -> dict[str, Any]:
    body = {"label": "x", "streams": [{"streamName": "cam"}], **more}
    answer = await caller.send("POST", "/api/subscribe_token", json=body)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_a_verifier_is_kept_changed_and_deleted_and_never_tells_its_secret(settings: Settings) -> None:
    async with running(settings) as caller:
        made = await caller.send("POST", PATH, json=LIVEKIT)
        assert made.status_code == 201
        shown = {name: value for name, value in made.json().items() if name != "addedOn"}
        assert shown == {name: value for name, value in LIVEKIT.items() if name != "secret"}
        again = await caller.send("POST", PATH, json=LIVEKIT)
        assert (again.status_code, again.json()["code"]) == (409, "conflict")
        changed = await caller.send("PATCH", f"{PATH}/meetings", json={"url": "wss://lk2.example.com"})
        assert (changed.status_code, changed.json()["url"]) == (200, "wss://lk2.example.com")
        refused = await caller.send("PATCH", f"{PATH}/meetings", json={"bindAddress": True})
        assert (refused.status_code, refused.json()["field"]) == (400, "bindAddress")
        assert (await caller.send("PATCH", f"{PATH}/meetings", json={})).status_code == 400
        listed = await caller.send("GET", PATH)
        assert [verifier["url"] for verifier in listed.json()] == ["wss://lk2.example.com"]
        read = await caller.send("GET", f"{PATH}/meetings")
        for answer in (made, again, changed, refused, listed, read):
            assert SECRET not in answer.text
        assert (await caller.send("DELETE", f"{PATH}/meetings")).json() is True
        for method, path in (("GET", f"{PATH}/meetings"), ("DELETE", f"{PATH}/meetings"), ("GET", f"{PATH}/a%00b")):
            assert (await caller.send(method, path)).status_code == 404


async def test_a_new_secret_signs_from_now_on(settings: Settings) -> None:
    async with running(settings) as caller:
        token = await subscribe_token(caller)
        await caller.send("POST", PATH, json=LIVEKIT)
        body = {"verifier": "meetings", "stream": "cam", "action": "subscribe", "tokenId": token["id"]}
        before = (await caller.send("POST", MINT, json=body)).json()["token"]
        other = "another secret of LiveKit, also 40 letters"
        assert (await caller.send("PATCH", f"{PATH}/meetings", json={"secret": other})).status_code == 200
        after = (await caller.send("POST", MINT, json=body)).json()["token"]
        assert jwt.decode(before, SECRET, algorithms=["HS256"])["iss"] == "APIexample"
        assert jwt.decode(after, other, algorithms=["HS256"])["iss"] == "APIexample"


async def test_minting_says_what_it_made_how_long_it_is_and_what_carries_it(settings: Settings) -> None:
    async with running(settings) as caller:
        token = await subscribe_token(caller)
        await caller.send("POST", PATH, json=LIVEKIT)
        body = {
            "verifier": "meetings",
            "stream": "cam",
            "action": "subscribe",
            "token": token["token"],
            "ttlSeconds": 60,
        }
        answer = await caller.send("POST", MINT, json=body)
        assert answer.status_code == 201, answer.text
        minted = answer.json()
        assert set(minted) == {"token", "form", "expiresOn", "url", "length", "carriers"}
        assert (minted["form"], minted["length"], minted["url"]) == (
            "livekit",
            len(minted["token"]),
            "wss://lk.example.com",
        )
        assert minted["carriers"] == ["srt", "httpHeader", "url"]
        assert token["token"] not in answer.text
        claims = jwt.decode(minted["token"], SECRET, algorithms=["HS256"])
        assert claims["exp"] - claims["nbf"] == 60


async def test_a_refusal_is_a_403_that_says_why(settings: Settings) -> None:
    async with running(settings) as caller:
        token = await subscribe_token(caller, budgets={"starts": 3})
        await caller.send("POST", PATH, json=LIVEKIT)
        body = {"verifier": "meetings", "stream": "cam", "action": "subscribe", "token": token["token"]}
        answer = await caller.send("POST", MINT, json=body)
        problem = answer.json()
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
        assert (problem["code"], problem["reason"], problem["field"]) == ("refused", "not_carried", "budgets")
        assert "hook" in problem["detail"]
        answer = await caller.send("POST", MINT, json=body | {"stream": "other"})
        assert (answer.status_code, answer.json()["reason"]) == (403, "stream_not_granted")
        assert token["token"] not in json.dumps(answer.json())
        for wrong, status in (
            ({"verifier": "none"}, 404),
            ({"ttlSeconds": 301}, 400),
            ({"stream": ".*"}, 400),
            ({"tokenId": 1}, 400),
        ):
            assert (await caller.send("POST", MINT, json=body | wrong)).status_code == status


async def test_the_setting_says_how_long_at_most(settings: Settings) -> None:
    async with running(replace(settings, mint_seconds=30)) as caller:
        token = await subscribe_token(caller)
        await caller.send("POST", PATH, json=LIVEKIT)
        body = {"verifier": "meetings", "stream": "cam", "action": "subscribe", "token": token["token"]}
        claims = jwt.decode((await caller.send("POST", MINT, json=body)).json()["token"], SECRET, algorithms=["HS256"])
        assert claims["exp"] - claims["nbf"] == 30
        assert (await caller.send("POST", MINT, json=body | {"ttlSeconds": 31})).status_code == 400


async def test_another_account_sees_neither_verifiers_nor_their_secrets(settings: Settings) -> None:
    """Without an API secret nobody does."""
    async with running(settings) as caller:
        await caller.send("POST", PATH, json=LIVEKIT)
        for method, path in (("GET", PATH), ("POST", PATH), ("GET", f"{PATH}/meetings"), ("POST", MINT)):
            answer = await caller.send(method, path, headers={"Authorization": "Bearer x"}, json={})
            assert answer.status_code == 401


@pytest.mark.parametrize("body", [{}, {"verifier": 1}, {"verifier": "m", "stream": "s", "action": "play"}, []])
async def test_a_body_that_says_something_else_is_refused(settings: Settings, body: Any) -> None:
    async with running(settings) as caller:
        assert (await caller.send("POST", MINT, json=body)).status_code == 400
