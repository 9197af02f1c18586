# ruff: noqa: D103
"""The values of tokens through the whole application: rotated with an overlap, and what was signed with them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from stagedoor.config import Settings
from stagedoor.sign import sign_child
from tests.whole import Json, Whole, whole

HOUR: Final = 3600
DAY: Final = 24 * HOUR
ACTIONS: Final = {"publish": "publish", "subscribe": "read"}


@pytest.fixture
async def system(settings: Settings) -> AsyncIterator[Whole]:
    async with whole(settings) as system:
        system.clock.stopped = float(int(system.clock()))
        await system.secured()
        yield system


async def rotate(system: Whole, kind: str, token_id: int, seconds: Any, *, status: int = 200, **more: Any) -> Json:
    path = f"/v1/{kind}-tokens/{token_id}/rotate"
    answer: Json = await system.ask("POST", path, {"overlapSeconds": seconds}, status=status, **more)
    return answer


async def former(system: Whole, kind: str, token_id: int, *, uses: int | None = None) -> list[Json]:
    """List the former values; with `uses`, wait until so many of the newest one's are written down."""
    for _ in range(200):
        answer = await system.ask("GET", f"/v1/{kind}-tokens/{token_id}/former-values")
        listed: list[Json] = answer["former"]
        if uses is None or listed[0]["uses"] >= uses:
            return listed
        await asyncio.sleep(0.05)
    return listed


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("overlap", [HOUR, DAY])
async def test_both_values_are_good_until_the_overlap_is_over(system: Whole, kind: str, overlap: int) -> None:
    made = await system.token(kind)
    action = ACTIONS[kind]
    assert await system.everywhere(made["token"], action=action) == "ok"
    rotated = await rotate(system, kind, made["id"], overlap)
    assert (rotated["id"], rotated["token"] != made["token"]) == (made["id"], True)
    assert len(rotated["token"]) == rotated["length"] == 64
    assert rotated["carriers"] == ["rtmp", "srt", "camera", "httpHeader", "url"]
    assert [each["uses"] for each in rotated["former"]] == [0]
    for ahead in (0, overlap - 1):
        system.clock.ahead = ahead
        assert await system.everywhere(made["token"], action=action) == "ok"
        assert await system.everywhere(rotated["token"], action=action) == "ok"
    system.clock.ahead = overlap
    assert await system.everywhere(made["token"], action=action) == "token_expired"
    assert await system.everywhere(rotated["token"], action=action) == "ok"
    read = (await system.ask("GET", f"/api/{kind}_token/{made['id']}"))["data"]
    assert read["token"] == rotated["token"]


@pytest.mark.parametrize("kind", ACTIONS)
async def test_with_no_overlap_the_old_value_is_unknown_at_once(system: Whole, kind: str) -> None:
    made = await system.token(kind)
    assert await system.everywhere(made["token"], action=ACTIONS[kind]) == "ok"
    rotated = await rotate(system, kind, made["id"], 0)
    assert rotated["former"] == []
    assert await system.everywhere(made["token"], action=ACTIONS[kind]) == "token_unknown"
    assert await system.everywhere(rotated["token"], action=ACTIONS[kind]) == "ok"


async def test_uses_of_the_old_value_are_counted_over_all_workers_and_shown(system: Whole) -> None:
    made = await system.token("subscribe")
    rotated = await rotate(system, "subscribe", made["id"], HOUR)
    (shown,) = rotated["former"]
    assert (shown["uses"], "lastUsedOn" in shown) == (0, False)
    assert await system.everywhere(rotated["token"]) == "ok"
    system.clock.ahead = 60
    assert await system.everywhere(made["token"]) == "ok"
    assert await system.everywhere(made["token"], "other") == "stream_not_granted"
    (shown,) = await former(system, "subscribe", made["id"], uses=4)
    assert shown["uses"] == 4
    assert shown["replacedOn"] < shown["lastUsedOn"] < shown["until"]


async def test_values_are_rotated_again_while_older_ones_are_good(system: Whole) -> None:
    first = await system.token("subscribe")
    second = await rotate(system, "subscribe", first["id"], DAY)
    system.clock.ahead = 10
    third = await rotate(system, "subscribe", first["id"], HOUR)
    assert await system.everywhere(first["token"]) == "ok"
    assert await system.everywhere(second["token"]) == "ok"
    assert await system.everywhere(third["token"]) == "ok"
    listed = await former(system, "subscribe", first["id"])
    assert [each["replacedOn"] for each in listed] == sorted((each["replacedOn"] for each in listed), reverse=True)
    assert len(listed) == 2
    system.clock.ahead = 10 + HOUR
    told = [await system.everywhere(text["token"]) for text in (first, second, third)]
    assert told == ["ok", "token_expired", "ok"]


async def test_an_overlap_is_ended_early_by_one_call(system: Whole) -> None:
    made = await system.token("subscribe")
    rotated = await rotate(system, "subscribe", made["id"], DAY)
    assert await system.everywhere(made["token"]) == "ok"
    path = f"/v1/subscribe-tokens/{made['id']}/former-values"
    assert await system.ask("DELETE", path) is True
    assert await system.everywhere(made["token"]) == "token_unknown"
    assert await system.everywhere(rotated["token"]) == "ok"
    assert await former(system, "subscribe", made["id"]) == []
    assert await system.ask("DELETE", path) is True


async def test_renewing_and_revoking_end_the_old_values_too(system: Whole) -> None:
    renewed, gone = await system.token("subscribe"), await system.token("subscribe")
    for token in (renewed, gone):
        await rotate(system, "subscribe", token["id"], DAY)
        assert await system.everywhere(token["token"]) == "ok"
    await system.ask("PUT", f"/api/subscribe_token/{renewed['id']}", {"refreshToken": True})
    await system.ask("DELETE", f"/api/subscribe_token/{gone['id']}")
    assert await system.everywhere(renewed["token"]) == "token_unknown"
    assert await system.everywhere(gone["token"]) != "ok"


async def test_what_is_counted_stays_counted(system: Whole) -> None:
    made = await system.token("subscribe", bindIpsOnUsage=1)
    assert await system.attempt(made["token"], ip="192.0.2.1") == "ok"
    rotated = await rotate(system, "subscribe", made["id"], HOUR)
    for text in (made["token"], rotated["token"]):
        assert await system.everywhere(text, ip="192.0.2.2") == "address_not_bound"
        assert await system.attempt(text, ip="192.0.2.1") == "ok"


@pytest.mark.parametrize("overlap", [-1, 90 * DAY + 1, 1.5, "3600", None, True, 2**70])
async def test_an_overlap_that_cannot_be_is_refused_with_nothing_changed(system: Whole, overlap: Any) -> None:
    made = await system.token("subscribe")
    problem = await rotate(system, "subscribe", made["id"], overlap, status=400)
    assert problem["field"] == "overlapSeconds"
    assert await system.everywhere(made["token"]) == "ok"
    assert await former(system, "subscribe", made["id"]) == []


async def test_tokens_of_another_kind_or_account_or_revoked_are_not_there(system: Whole) -> None:
    publish, subscribe, gone = [await system.token(kind) for kind in ("publish", "subscribe", "subscribe")]
    await system.ask("DELETE", f"/api/subscribe_token/{gone['id']}")
    for kind, id_, bearer in (
        ("subscribe", publish["id"], system.secret),
        ("publish", subscribe["id"], system.secret),
        ("subscribe", subscribe["id"], system.bob_secret),
        ("subscribe", gone["id"], system.secret),
        ("subscribe", 999_999, system.secret),
    ):
        path = f"/v1/{kind}-tokens/{id_}"
        for method, rest, body in (
            ("POST", "rotate", {"overlapSeconds": 0}),
            ("GET", "former-values", None),
            ("DELETE", "former-values", None),
        ):
            problem = await system.ask(method, f"{path}/{rest}", body, status=404, bearer=bearer)
            assert problem["field"] == "tokenId"
    assert await system.everywhere(subscribe["token"]) == "ok"


async def test_scopes_are_those_of_the_kind_of_token(system: Whole) -> None:
    made = await system.token("subscribe")
    reads = await system.application("live:subscribe_token:read", "live:publish_token:*")
    path = f"/v1/subscribe-tokens/{made['id']}"
    await system.ask("POST", f"{path}/rotate", {"overlapSeconds": 0}, status=403, bearer=reads)
    await system.ask("POST", f"{path}/children/revoke", {"all": True}, status=403, bearer=reads)
    await system.ask("DELETE", f"{path}/former-values", status=403, bearer=reads)
    await system.ask("GET", f"{path}/former-values", bearer=reads)
    await system.ask("GET", f"{path}/children/revoked", bearer=reads)
    assert await system.everywhere(made["token"]) == "ok"


# -- children


def child(system: Whole, parent: Json, **more: Any) -> str:
    now = int(system.clock())
    fields: Json = {"token_id": parent["id"], "stream_name": "cam", "issued_at": now, "expires_at": now + 600}
    return sign_child(parent["token"], **(fields | more))


async def revoke(system: Whole, parent: Json, **body: Any) -> None:
    assert await system.ask("POST", f"/v1/subscribe-tokens/{parent['id']}/children/revoke", body) is True


async def test_children_are_revoked_by_jti_by_text_and_all_of_them_and_listed(system: Whole) -> None:
    parent, other = await system.token("subscribe"), await system.token("subscribe")
    one, two, bare = (child(system, parent, jti=jti) for jti in ("one", "two", ""))
    below = sign_child(one, stream_name="cam", expires_at=int(system.clock()) + 60, jti="below")
    same = child(system, other, jti="one")
    everything = (one, two, bare, below, same)

    async def told() -> list[str]:
        return [await system.everywhere(text) for text in everything]

    assert await told() == ["ok"] * 5
    await revoke(system, parent, jti="one")
    assert await told() == ["token_revoked", "ok", "ok", "token_revoked", "ok"]
    await revoke(system, parent, token=bare)
    assert await told() == ["token_revoked", "ok", "token_revoked", "token_revoked", "ok"]
    system.clock.ahead = 5
    late = child(system, parent, jti="late", issued_at=int(system.clock()) + 1)
    await revoke(system, parent, all=True)
    assert await told() == ["token_revoked"] * 4 + ["ok"]
    assert await system.everywhere(late) == "ok"
    assert await system.everywhere(parent["token"]) == "ok"
    listed = (await system.ask("GET", f"/v1/subscribe-tokens/{parent['id']}/children/revoked"))["revoked"]
    assert [set(each) - {"revokedOn"} for each in listed][-1] == {"all"}
    assert {name: value for each in listed for name, value in each.items() if name in {"jti", "all"}} == {
        "jti": "one",
        "all": True,
    }
    assert len(listed) == 3
    assert all(parent["token"] not in str(each) and bare not in str(each) for each in listed)
    nothing = await system.ask("GET", f"/v1/subscribe-tokens/{other['id']}/children/revoked")
    assert nothing == {"revoked": []}


async def test_the_same_is_revoked_again_without_harm(system: Whole) -> None:
    parent = await system.token("subscribe")
    for _ in range(2):
        await revoke(system, parent, jti="one")
    listed = (await system.ask("GET", f"/v1/subscribe-tokens/{parent['id']}/children/revoked"))["revoked"]
    assert [each["jti"] for each in listed] == ["one"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"all": False},
        {"jti": "a", "all": True},
        {"jti": ""},
        {"jti": "x" * 129},
        {"token": "nonsense"},
        {"token": "x" * 8193},
        {"all": "yes"},
    ],
)
async def test_one_thing_is_named_to_be_revoked(system: Whole, body: Json) -> None:
    parent = await system.token("subscribe")
    path = f"/v1/subscribe-tokens/{parent['id']}/children"
    await system.ask("POST", f"{path}/revoke", body, status=400)
    assert await system.ask("GET", f"{path}/revoked") == {"revoked": []}


async def test_children_are_of_subscribe_tokens_of_the_account(system: Whole) -> None:
    publish, subscribe = await system.token("publish"), await system.token("subscribe")
    for id_, bearer in ((publish["id"], system.secret), (subscribe["id"], system.bob_secret), (999, system.secret)):
        path = f"/v1/subscribe-tokens/{id_}/children"
        await system.ask("POST", f"{path}/revoke", {"all": True}, status=404, bearer=bearer)
        await system.ask("GET", f"{path}/revoked", status=404, bearer=bearer)
    assert await system.everywhere(child(system, subscribe)) == "ok"


async def test_children_of_a_replaced_value_end_with_its_overlap(system: Whole) -> None:
    parent = await system.token("subscribe")
    text = child(system, parent, expires_at=int(system.clock()) + DAY)
    rotated = await rotate(system, "subscribe", parent["id"], HOUR)
    assert await system.everywhere(text) == "ok"
    assert await system.everywhere(child(system, rotated)) == "ok"
    system.clock.ahead = HOUR
    assert await system.everywhere(text) == "token_expired"
