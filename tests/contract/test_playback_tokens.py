# ruff: noqa: D103
"""Playback tokens through the whole application: the compatible dialect, our own API, and what hooks make of them."""

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import jwt
import pytest

from stagedoor.config import Settings
from stagedoor.engines.dialect import stream_of
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.reasons import EXPLANATIONS
from stagedoor.service.authorize import Attempt
from tests.whole import Json, Whole, whole

SPLAY: Final = "/api/v1/splay"
NATIVE: Final = "/v1/playback-tokens"
GROUPS: Final = "/v1/stream-groups"
DAY: Final = 86_400
UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
async def system(settings: Settings) -> AsyncIterator[Whole]:
    async with whole(settings) as system:
        await system.secured()
        yield system


async def splay(system: Whole, body: Any = None, path: str = "", *, status: int = 200, **more: Any) -> Json:
    """Call the dialect, and return what is under `data`, or the refusal."""
    shown = {"bearer": None, "headers": {"X-BINTU-APIKEY": system.secret}} | more
    answer: Json = await system.ask("POST", f"{SPLAY}{path}", body, status=status, **shown)
    assert answer["success"] is (status == 200)
    data: Json = answer["data"] if status == 200 else answer
    return data


async def made(system: Whole, **body: Any) -> str:
    text: str = (await splay(system, body))["token"]
    return text


async def refused(system: Whole, body: Any, path: str = "", *, status: int, code: int, **more: Any) -> str:
    answer = await splay(system, body, path, status=status, **more)
    assert answer["errorCode"] == code, answer
    message: str = answer["message"]
    return message


async def revoked(system: Whole, text: str) -> None:
    """Revoke a token, which is answered with nothing at all."""
    answer = await system.call(
        "POST", f"{SPLAY}/revoke", bearer=None, headers={"X-BINTU-APIKEY": system.secret}, json={"token": text}
    )
    assert (answer.status_code, answer.content) == (204, b"")


def changed(text: str) -> str:
    """Return a signed token with another signature."""
    return text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB")


async def verified(system: Whole, text: str) -> Json:
    """Verify a token as anybody does, with PyJWT and what we publish, and return what it says."""
    keys = jwt.PyJWKSet.from_dict(await system.ask("GET", "/.well-known/jwks.json", bearer=None))
    header = jwt.get_unverified_header(text)
    claims: Json = jwt.decode(text, keys[header["kid"]].key, algorithms=[header["alg"]])
    return claims


# -- the compatible dialect


async def test_the_token_is_signed_and_lets_viewers_in_on_every_worker(system: Whole) -> None:
    answer = await splay(system, {"streams": ["cam", "two"], "user": "u1", "tag": "summer", "cust": "seat=4"})
    assert set(answer) == {"token", "tokenId", "expiresOn", "length", "carriers", "security"}
    text = answer["token"]
    assert answer["security"] == {"jwtoken": text}
    assert answer["length"] == len(text)
    assert answer["carriers"] == ["httpHeader", "url"]
    header = jwt.get_unverified_header(text)
    assert header == {"alg": "RS256", "kid": header["kid"], "typ": "JWT"}
    claims = await verified(system, text)
    assert claims == {
        "iss": claims["iss"],
        "iat": claims["iat"],
        "jti": claims["jti"],
        "exp": claims["iat"] + 14 * DAY,
        "streams": ["cam", "two"],
        "user": "u1",
        "tag": "summer",
        "cust": "seat=4",
    }
    assert UUID.fullmatch(claims["jti"])
    assert await system.everywhere(text) == "ok"
    assert await system.everywhere(text, "two") == "ok"
    assert await system.everywhere(text, "three") == "stream_not_granted"
    assert await system.everywhere(text, action="publish") == "action_not_granted"
    assert await system.everywhere(changed(text)) == "token_malformed"


async def test_the_whole_organisation_is_every_stream_of_the_account_and_no_other(system: Whole) -> None:
    text = await made(system, orgawide=True)
    assert await system.everywhere(text, "any/thing") == "ok"
    assert await system.everywhere(text, path="bobbob/cam") in {"account_mismatch", "token_missing"}
    seen = await splay(system, {"token": text}, "/verify")
    assert (seen["orgawide"], seen["streams"], seen["groups"]) == (True, [], [])


async def test_a_group_is_what_is_in_it_now(system: Whole) -> None:
    await system.ask("POST", GROUPS, {"id": "stage", "label": "Stage", "streams": ["cam"]}, status=201)
    text = await made(system, groupid="stage")
    assert (await splay(system, {"token": text}, "/verify"))["groups"] == ["stage"]
    assert await system.everywhere(text) == "ok"
    assert await system.everywhere(text, "later") == "stream_not_granted"
    await system.ask("PATCH", f"{GROUPS}/stage", {"addStreams": ["later"], "removeStreams": ["cam"]})
    assert await system.everywhere(text, "later") == "ok"
    assert await system.everywhere(text) == "stream_not_granted"
    await system.ask("DELETE", f"{GROUPS}/stage")
    assert await system.everywhere(text, "later") == "stream_not_granted"


@pytest.mark.parametrize(
    "target",
    [
        {},
        {"orgawide": False},
        {"streams": ["cam"], "orgawide": True},
        {"groupid": "stage", "streams": ["cam"]},
        {"groupid": "stage", "orgawide": True},
    ],
)
async def test_there_is_exactly_one_target(system: Whole, target: Json) -> None:
    assert "Parameter required" in await refused(system, target, status=400, code=1000)


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("groupid", {"groupid": "nowhere", "streams": None}),
        ("streams", {"streams": []}),
        ("streams", {"streams": ["a*b"]}),
        ("ip", {"ip": "somewhere"}),
        ("ip", {"ip": []}),
        ("domain", {"domain": "https://"}),
        ("exp", {"exp": "tomorrow"}),
        ("exp", {"exp": 1.5}),
        ("exp", {"exp": -1}),
        ("exp", {"exp": 1}),
        ("nbf", {"nbf": True}),
        ("tag", {"tag": ""}),
        ("user", {"user": "x" * 129}),
        ("revocable", {"revocable": "yes"}),
    ],
)
async def test_what_cannot_be_right_is_refused_by_the_name_that_the_dialect_has_for_it(
    system: Whole, field: str, more: Json
) -> None:
    body = {name: value for name, value in ({"streams": ["cam"]} | more).items() if value is not None}
    message = await refused(system, body, status=400, code=1000)
    assert field in message, message
    assert message.startswith("Parameter"), message


async def test_times_are_half_open_and_verify_says_them_in_the_vendors_words(system: Whole) -> None:
    now = system.clock.stopped = float(int(system.clock()))
    text = await made(system, streams=["cam"], nbf=int(now) + 10, exp=int(now) + 20)
    claims: Any = jwt.decode(text, options={"verify_signature": False})
    assert (claims["nbf"], claims["exp"]) == (now + 10, now + 20)
    for ahead, told, reason in (
        (9, "token_not_yet_valid", None),
        (10, "ok", ""),
        (19, "ok", ""),
        (20, "token_expired", None),
    ):
        system.clock.ahead = ahead
        assert await system.everywhere(text) == told
        if reason is not None:
            seen = await splay(system, {"token": text}, "/verify")
            assert (seen["nbf"], seen["exp"]) == (now + 10, now + 20)
        else:
            message = await refused(system, {"token": text}, "/verify", status=403, code=1002)
            assert (message == "jwt expired") is (told == "token_expired")


async def test_the_default_is_two_weeks(system: Whole) -> None:
    now = system.clock.stopped = float(int(system.clock()))
    text = await made(system, streams=["cam"])
    assert (await splay(system, {"token": text}, "/verify"))["exp"] == now + 14 * DAY
    system.clock.ahead = 14 * DAY - 1
    assert await system.everywhere(text) == "ok"
    system.clock.ahead = 14 * DAY
    assert await system.everywhere(text) == "token_expired"


@pytest.mark.parametrize(
    ("ip", "good", "bad"),
    [
        ("192.0.2.9", ["192.0.2.9", "::ffff:192.0.2.9"], ["192.0.2.10", "2001:db8::9"]),
        ("2001:db8::9", ["2001:db8::9", "2001:DB8:0::9"], ["2001:db8::a", "192.0.2.9"]),
        (["192.0.2.9", "2001:db8::/32"], ["192.0.2.9", "2001:db8:ffff::1"], ["192.0.2.10", "2001:db9::1"]),
    ],
)
async def test_addresses_of_both_families_and_several(system: Whole, ip: Any, good: list[str], bad: list[str]) -> None:
    text = await made(system, streams=["cam"], ip=ip)
    for address in good:
        assert await system.everywhere(text, ip=address) == "ok", address
    for address in bad:
        assert await system.everywhere(text, ip=address) == "address_not_allowed", address
    listed = [ip] if isinstance(ip, str) else ip
    assert (await splay(system, {"token": text}, "/verify"))["ip"] == listed


async def test_a_domain_is_asked_for_where_the_engine_tells_of_one(system: Whole) -> None:
    """MediaMTX tells of none, so that what is limited to one is refused there."""
    text = await made(system, streams=["cam"], domain=["example.com", "*.example.org"])
    assert (await splay(system, {"token": text}, "/verify"))["domain"] == ["example.com", "*.example.org"]
    assert await system.everywhere(text) == "origin_missing"
    for origin, told in (
        ("https://example.com", "ok"),
        ("https://a.example.org", "ok"),
        ("https://example.net", "origin_not_allowed"),
    ):
        assert await explained(system, text, origin=origin) == told


async def explained(system: Whole, text: str, *, origin: str | None = None, running: bool = False) -> str:
    """Ask as the operator does, who can name an origin, and ask about what runs."""
    stream = stream_of(f"{system.account}/cam")
    access = Access(Action.SUBSCRIBE, stream, Protocol.WEBRTC, "192.0.2.1", origin, "", "")
    found = await system.admin.explainer.explain(Attempt(access, text, "s", running=running), system.clock(), None)
    return str(found.decision.reason)


async def test_verify_shows_what_a_token_is_good_for(system: Whole) -> None:
    text = await made(system, streams=["cam"], user="u1", tag="t1", revocable=True, forceDisconnect=True)
    seen = await splay(system, {"token": text}, "/verify")
    assert (seen["user"], seen["tag"], seen["streams"], seen["orgawide"]) == ("u1", "t1", ["cam"], False)
    shown = await system.ask("GET", f"{NATIVE}/{seen['tokenId']}")
    assert (shown["endSessionsAtExpiry"], shown["subject"], shown["trackingId"]) == (True, "u1", "t1")
    left = await splay(system, {"streams": ["cam"], "forceDisconnect": False})
    assert "endSessionsAtExpiry" not in await system.ask("GET", f"{NATIVE}/{left['tokenId']}")


async def test_force_disconnect_ends_at_expiry_what_runs_and_its_absence_does_not(system: Whole) -> None:
    now = system.clock.stopped = float(int(system.clock()))
    cut = await made(system, streams=["cam"], exp=int(now) + 20, forceDisconnect=True)
    left = await made(system, streams=["cam"], exp=int(now) + 20)
    for text, after in ((cut, "token_expired"), (left, "ok")):
        for ahead, told in ((0, "ok"), (20, after)):
            system.clock.ahead = ahead
            assert await explained(system, text, running=True) == told


async def test_every_token_can_be_revoked_and_is_refused_everywhere_at_once(system: Whole) -> None:
    """Said to be revocable or not, expired or not, once and again."""
    now = system.clock.stopped = float(int(system.clock()))
    for body in ({"revocable": False}, {"revocable": True}, {"exp": int(now) + 365 * DAY}):
        text = await made(system, streams=["cam"], **body)
        assert await system.everywhere(text) == "ok"
        for _ in range(2):
            await revoked(system, text)
            assert await system.everywhere(text) == "token_revoked"
        answer = await splay(system, {"token": text}, "/verify", status=403)
        assert (answer["errorCode"], answer["reason"]) == (1002, "token_revoked")
    short = await made(system, streams=["cam"], exp=int(now) + 5)
    system.clock.ahead = 5
    assert await refused(system, {"token": short}, "/verify", status=403, code=1002) == "jwt expired"
    await revoked(system, short)
    answer = await splay(system, {"token": short}, "/verify", status=403)
    assert answer["reason"] == "token_revoked"


@pytest.mark.parametrize("path", ["/verify", "/revoke"])
async def test_what_is_no_token_of_ours_is_told_apart(system: Whole, path: str) -> None:
    for text in ("nonsense", "eyJ.eyJ", "a.b.c.d"):
        assert await refused(system, {"token": text}, path, status=403, code=2004) == "Malformed JWT"
    mine = await made(system, streams=["cam"])
    bob = {"headers": {"X-BINTU-APIKEY": system.bob_secret}}
    message = await refused(system, {"token": mine}, path, status=403, code=2012, **bob)
    assert "another organisation" in message
    assert await system.everywhere(mine) == "ok"
    assert (await splay(system, {"token": changed(mine)}, path, status=403))["reason"] == "token_unknown"
    # What is a token of ours and no playback token is none here.
    subscribe = await system.token("subscribe")
    assert (await splay(system, {"token": subscribe["token"]}, path, status=403))["reason"] == "token_unknown"
    assert await system.everywhere(subscribe["token"]) == "ok"
    assert "token" in await refused(system, {}, path, status=400, code=1000)


async def test_keys_are_shown_in_the_vendors_headers(system: Whole) -> None:
    may = await system.application("live:playback_token:create")
    may_not = await system.application("live:playback_token:read", "live:subscribe_token:*")
    body = {"streams": ["cam"]}
    for name, value in (
        ("X-BINTU-APIKEY", system.secret),
        ("x-bintu-token", may),
        ("X-BINTU-TOKEN", system.secret),
        ("Authorization", f"Bearer {may}"),
    ):
        await splay(system, body, headers={name: value})
    for name, value in (("X-BINTU-APIKEY", "sds_wrong"), ("X-BINTU-TOKEN", "eyJ.eyJ.x"), ("X-Other", system.secret)):
        message = await refused(system, body, status=403, code=1001, headers={name: value})
        assert message == "Provided APIKey is not valid"
    message = await refused(system, body, status=403, code=1001, headers={"X-BINTU-TOKEN": may_not})
    assert "live:playback_token:create" in message
    text = await made(system, streams=["cam"])
    await splay(system, {"token": text}, "/verify", headers={"X-BINTU-TOKEN": may_not})
    await refused(system, {"token": text}, "/revoke", status=403, code=1001, headers={"X-BINTU-TOKEN": may_not})
    assert await system.everywhere(text) == "ok"
    assert await system.everywhere(may) == "token_malformed"
    # Whose key it is says whose token it is.
    theirs = await splay(system, body, headers={"X-BINTU-APIKEY": system.bob_secret})
    assert await system.everywhere(theirs["token"]) == "account_mismatch"


async def test_a_playback_token_opens_no_api(system: Whole) -> None:
    text = await made(system, orgawide=True)
    assert (await system.call("GET", "/v1/playback-tokens", bearer=text)).status_code == 401
    await refused(system, {"streams": ["cam"]}, status=403, code=1001, headers={"X-BINTU-TOKEN": text})


async def test_a_revoked_key_takes_all_that_it_signed_and_restoring_it_brings_it_back(system: Whole) -> None:
    text = await made(system, streams=["cam"])
    other = (await system.ask("POST", NATIVE, {"streams": ["cam"], "form": "EdDSA"}, status=201))["token"]
    kid = jwt.get_unverified_header(text)["kid"]
    assert await system.everywhere(text) == "ok"
    for _ in range(2):
        await system.admin.signing_keys.revoke(kid)
        assert await system.everywhere(text) == "key_revoked"
        assert await system.everywhere(other) == "ok"
        assert (await splay(system, {"token": text}, "/verify", status=403))["reason"] == "key_revoked"
        found = await system.ask("POST", f"{NATIVE}/verify", {"token": text}, worker=1)
        assert (found["valid"], found["reason"]) == (False, "key_revoked")
        await system.admin.signing_keys.restore(kid)
        assert await system.everywhere(text) == "ok"
        await splay(system, {"token": text}, "/verify")
    await system.admin.signing_keys.revoke(kid)
    fresh = await made(system, streams=["cam"])
    assert jwt.get_unverified_header(fresh)["kid"] != kid
    assert await system.everywhere(fresh) == "ok"
    await revoked(system, text)
    assert await system.everywhere(text) == "token_revoked"


# -- our own API


async def create(system: Whole, *, status: int = 201, **body: Any) -> Json:
    answer: Json = await system.ask("POST", NATIVE, {"streams": ["cam"]} | body, status=status)
    return answer


@pytest.mark.parametrize("form", ["ES256", "EdDSA", "RS256"])
async def test_signed_forms_are_verified_by_others_and_say_their_rules(system: Whole, form: str) -> None:
    shown = await create(system, form=form, expires=60, subject="u1", deniedCountries=["DE"])
    claims = await verified(system, shown["token"])
    assert jwt.get_unverified_header(shown["token"])["alg"] == form
    assert claims["exp"] == claims["iat"] + 60
    assert claims["sub"] == "u1"
    assert claims["streaming"]["streams"] == ["cam"]
    assert claims["streaming"]["tokenType"] == "Subscribe"
    assert claims["streaming"]["deniedCountries"] == ["DE"]
    assert await system.attempt(shown["token"]) == "ok"
    assert shown["length"] == len(shown["token"])


async def test_es256_is_the_form_where_none_is_said_and_two_weeks_the_time(system: Whole) -> None:
    shown = await create(system)
    claims = await verified(system, shown["token"])
    assert jwt.get_unverified_header(shown["token"])["alg"] == "ES256"
    assert claims["exp"] == claims["iat"] + 14 * DAY


async def test_the_short_form_is_opaque_and_fits_everywhere(system: Whole) -> None:
    shown = await create(system, form="short", allowedProtocols=["rtmp", "webrtc"])
    assert re.fullmatch(r"[0-9a-f]{64}|[A-Za-z0-9_-]{43}", shown["token"])
    assert set(shown["carriers"]) == {"rtmp", "srt", "camera", "httpHeader", "url"}
    assert await system.everywhere(shown["token"]) == "ok"
    assert (await system.ask("POST", f"{NATIVE}/verify", {"token": shown["token"]}))["valid"] is True


async def test_one_that_is_too_long_for_its_protocol_is_refused_with_the_short_form_offered(system: Whole) -> None:
    problem = await create(system, form="RS256", allowedProtocols=["rtmp"], status=400)
    assert problem["field"] == "allowedProtocols"
    assert "short form" in problem["detail"]
    assert await system.ask("GET", NATIVE) == []
    assert (await create(system, form="short", allowedProtocols=["rtmp"]))["allowedProtocols"] == ["rtmp"]


EVERY_RULE: Final[Json] = {
    "label": "everything",
    "streams": ["cam"],
    "expiresOn": "2030-01-01T00:00:00Z",
    "notBefore": "2020-01-01T00:00:00Z",
    "hours": {
        "timeZone": "UTC",
        "windows": [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "00:00", "to": "24:00"}],
    },
    "endSessionsAtExpiry": True,
    "bindIpsOnUsage": 1,
    "bindTolerance": {"ipv4Prefix": 24, "ipv6Prefix": 64, "rebindsPerHour": 2},
    "allowedOrigins": ["example.com"],
    "allowWithoutOrigin": True,
    "allowedCountries": ["DE"],
    "geoAppliesTo": ["subscribe"],
    "allowedProtocols": ["webrtc", "hls"],
    "allowedUserAgents": ["*"],
    "allowedReferrers": ["https://example.com/*"],
    "subject": "u1",
    "sessionLimit": {"most": 1, "per": "subject", "over": "grace", "graceSeconds": 10},
    "budgets": {"sessionSeconds": 60, "watchSeconds": 600, "bytes": 10000, "starts": 9},
    "trackingId": "t1",
    "customViewerData": "seat=4",
}


async def test_every_rule_can_be_said_is_shown_and_is_in_the_token(system: Whole) -> None:
    shown = await create(system, **EVERY_RULE)
    for name, value in EVERY_RULE.items():
        assert shown[name] == value, name
    read = await system.ask("GET", f"{NATIVE}/{shown['id']}")
    assert read == {name: value for name, value in shown.items() if name not in {"token", "length", "carriers"}}
    said = await verified(system, shown["token"])
    unsaid = {"label", "expiresOn", "notBefore"}
    for name in EVERY_RULE.keys() - unsaid:
        assert said["streaming"][name] == EVERY_RULE[name], name
    assert (said["exp"], said["nbf"]) == (1_893_456_000, 1_577_836_800)


@pytest.mark.parametrize(
    ("rule", "attempt", "told"),
    [
        ({"allowedIpAddresses": ["198.51.100.0/24", "2001:db8::/32"]}, {"ip": "2001:db9::1"}, "address_not_allowed"),
        ({"allowedIpAddresses": ["198.51.100.0/24", "2001:db8::/32"]}, {"ip": "2001:db8::1"}, "ok"),
        ({"allowedCountries": ["DE"]}, {}, "country_unknown"),
        ({"deniedCountries": ["DE"]}, {}, "ok"),
        ({"allowedProtocols": ["hls"]}, {}, "protocol_not_allowed"),
        ({"allowedUserAgents": ["*Firefox*"]}, {"userAgent": "curl"}, "user_agent_not_allowed"),
        ({"allowedUserAgents": ["*Firefox*"]}, {"userAgent": "a Firefox"}, "ok"),
        ({"allowedReferrers": ["https://example.com/*"]}, {}, "referrer_not_allowed"),
        ({"notBefore": "2035-01-01T00:00:00Z", "expiresOn": "2036-01-01T00:00:00Z"}, {}, "token_not_yet_valid"),
        ({"sessionLimit": {"most": 1}}, {}, "usage_unknown"),
        ({"everyStream": True, "streams": []}, {"stream": "any/name"}, "ok"),
    ],
)
async def test_rules_hold_at_the_hook(system: Whole, rule: Json, attempt: Json, told: str) -> None:
    for form in ("ES256", "short"):
        text = (await create(system, form=form, **rule))["token"]
        assert await system.everywhere(text, **attempt) == told


async def test_it_binds_to_the_first_address_that_uses_it(system: Whole) -> None:
    text = (await create(system, bindIpsOnUsage=1))["token"]
    assert await system.attempt(text, ip="192.0.2.1", worker=0) == "ok"
    assert await system.attempt(text, ip="192.0.2.2", worker=1) == "address_not_bound"
    assert await system.attempt(text, ip="192.0.2.1", worker=1) == "ok"


async def test_verify_explains(system: Whole) -> None:
    system.clock.stopped = float(int(system.clock()))
    shown = await create(system, expires=20)

    async def found(text: str, **more: Any) -> Json:
        answer: Json = await system.ask("POST", f"{NATIVE}/verify", {"token": text}, **more)
        assert answer["valid"] is (answer["reason"] == "ok")
        assert answer["explanation"] == EXPLANATIONS[answer["reason"]].hint
        return answer

    good = await found(shown["token"])
    assert (good["reason"], good["token"]["id"]) == ("ok", shown["id"])
    assert not {"token", "length"} & set(good["token"])
    assert (await found("nonsense"))["reason"] == "token_malformed"
    unknown = await found(changed(shown["token"]))
    assert (unknown["reason"], "token" in unknown) == ("token_unknown", False)
    others = await found(shown["token"], bearer=system.bob_secret)
    assert (others["reason"], "token" in others) == ("token_unknown", False)
    system.clock.ahead = 20
    assert (await found(shown["token"]))["reason"] == "token_expired"
    later = await create(system, notBefore="2035-01-01T00:00:00Z", expiresOn="2036-01-01T00:00:00Z")
    assert (await found(later["token"]))["reason"] == "token_not_yet_valid"
    await system.ask("DELETE", f"{NATIVE}/{later['id']}")
    assert (await found(later["token"]))["reason"] == "token_revoked"


async def test_list_read_and_delete_are_of_the_account_alone(system: Whole) -> None:
    ids = [(await create(system, label=f"n{n}"))["id"] for n in range(3)]
    listed = await system.ask("GET", f"{NATIVE}?page=1&itemsOnPage=2")
    assert [token["id"] for token in listed] == [ids[2], ids[1]]
    assert all("token" not in token for token in listed)
    assert [token["id"] for token in await system.ask("GET", f"{NATIVE}?page=2&itemsOnPage=2")] == [ids[0]]
    for method in ("GET", "DELETE"):
        for id_ in (ids[0], 999_999, "x", "0"):
            bearer = system.bob_secret if id_ == ids[0] else system.secret
            problem = await system.ask(method, f"{NATIVE}/{id_}", status=404, bearer=bearer)
            assert problem["field"] == "tokenId"
    assert await system.ask("GET", NATIVE, bearer=system.bob_secret) == []
    assert await system.ask("DELETE", f"{NATIVE}/{ids[0]}") is True
    assert [token["id"] for token in await system.ask("GET", NATIVE)] == [ids[2], ids[1]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"streams": []}, "streams"),
        ({"everyStream": True}, "everyStream"),
        ({"expires": 60, "expiresOn": "2035-01-01T00:00:00Z"}, "expiresOn"),
        ({"expires": 0}, "expires"),
        ({"form": "HS256"}, "form"),
        ({"form": "none"}, "form"),
        ({"groups": ["nowhere"]}, "groupId"),
        ({"allowedIpAddresses": ["x"]}, "allowedIpAddresses"),
        ({"expiresOn": "2020-01-01T00:00:00Z"}, "expiresOn"),
    ],
)
async def test_what_cannot_be_right_is_a_problem_about_its_field(system: Whole, body: Json, field: str) -> None:
    problem = await create(system, status=404 if field == "groupId" else 400, **body)
    assert problem["field"].startswith(field), problem
    assert await system.ask("GET", NATIVE) == []


async def test_the_value_is_kept_nowhere(system: Whole, settings: Settings) -> None:
    texts = [(await create(system, form=form))["token"] for form in ("ES256", "short")]
    texts.append(await made(system, streams=["cam"]))
    for text in texts:
        assert await system.attempt(text) == "ok"
    content = b"".join(file.read_bytes() for file in settings.data.iterdir() if file.is_file())
    assert not any(text.encode() in content for text in texts)
