# ruff: noqa: D103
"""Minting on a real store: what comes out is no wider than the token, and no longer-lived."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from stagedoor.model.access import Action, Protocol
from stagedoor.model.addresses import parse_network
from stagedoor.model.errors import InvalidInput, NotFound, Refused, StagedoorError, Unavailable
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind
from stagedoor.model.verifier import AddressClaim, CatAlgorithm, VerifierKind, VerifierSettings
from stagedoor.service.mint import Minted, Minter, MintRequest
from stagedoor.service.verifiers import Verifiers
from stagedoor.store.sql import SqlStore
from stagedoor.tokens.mint import cat
from tests.signer import Es256Signer
from tests.world import BASE, World, opened

SECRET = Secret("a-secret-of-the-verifier-of-40-characters")
CAT_KEY = Secret("6b" * 32)

VERIFIERS: dict[str, tuple[VerifierKind, str, Secret | None, VerifierSettings]] = {
    "mtx": (VerifierKind.MEDIAMTX, "", None, VerifierSettings(url="rtsp://mtx.example.com:8554")),
    "mtx-rtmp": (VerifierKind.MEDIAMTX, "", None, VerifierSettings(protocols=(Protocol.RTMP,))),
    "mtx-webrtc": (VerifierKind.MEDIAMTX, "", None, VerifierSettings(protocols=(Protocol.WEBRTC,))),
    "ome": (VerifierKind.OVENMEDIAENGINE, "", SECRET, VerifierSettings(url="wss://ome.example.com:3334/app")),
    "ome-hls": (
        VerifierKind.OVENMEDIAENGINE,
        "",
        SECRET,
        VerifierSettings(url="https://ome.example.com:3334/app", file="llhls.m3u8", address_claim=AddressClaim.REAL_IP),
    ),
    "ome-rtmp": (VerifierKind.OVENMEDIAENGINE, "", SECRET, VerifierSettings(url="rtmp://ome.example.com:1935/app")),
    "livekit": (VerifierKind.LIVEKIT, "APIkey", SECRET, VerifierSettings(url="wss://lk.example.com")),
    "janus": (VerifierKind.JANUS, "", SECRET, VerifierSettings()),
    "janus-watch": (VerifierKind.JANUS, "", SECRET, VerifierSettings(opens=(Action.SUBSCRIBE,))),
    "nginx": (
        VerifierKind.SECURE_LINK,
        "",
        SECRET,
        VerifierSettings(url="https://cdn.example.com/live", file="index.m3u8"),
    ),
    "nginx-bound": (
        VerifierKind.SECURE_LINK,
        "",
        SECRET,
        VerifierSettings(url="https://cdn.example.com/live", file="index.m3u8", bind_address=True),
    ),
    "cat": (VerifierKind.CAT, "k1", CAT_KEY, VerifierSettings(url="https://cdn.example.com/live")),
}
WATCHES = ("mtx", "ome", "livekit", "janus-watch", "nginx", "cat")
"""One of each kind."""


@dataclass
class Bench:
    """A world with an account, its verifiers, and a minter."""

    world: World
    minter: Minter
    verifiers: Verifiers
    signer: Es256Signer

    async def token(self, **body: Any) -> Secret:
        """Issue a subscribe token for cam, or what else the body says."""
        issued = await self.world.issue({"kind": "subscribe", "streams": [{"streamName": "cam"}], **body})
        return issued.secret

    async def mint(self, verifier: str, token: Secret, **more: Any) -> Minted:
        request = {"stream": "cam", "action": Action.SUBSCRIBE} | more
        return await self.minter.mint(self.world.account, MintRequest(verifier=verifier, token=token, **request))

    async def refused(self, verifier: str, token: Secret, **more: Any) -> tuple[str, str | None]:
        """Return the reason and the field of a refusal."""
        with pytest.raises(Refused) as refused:
            await self.mint(verifier, token, **more)
        assert token.reveal() not in str(refused.value)
        return refused.value.reason, refused.value.field


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(opened("sqlite", tmp_path))
        await world.begin({})
        assert isinstance(world.store, SqlStore)
        verifiers = Verifiers(store=world.store.verifiers, keyring=world.keyring, clock=world.clock)
        for name, (kind, key_name, secret, settings) in VERIFIERS.items():
            await verifiers.add(world.account, name, kind, key_name=key_name, secret=secret, settings=settings)
        signer = Es256Signer()
        minter = Minter(
            explainer=world.explainer,
            tokens=world.admin,
            verifiers=verifiers,
            clock=world.clock,
            longest_seconds=300,
            signer=signer,
        )
        yield Bench(world, minter, verifiers, signer)


def claims_of(minted: Minted) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(minted.token.reveal(), options={"verify_signature": False})
    return claims


def policy_of(minted: Minted) -> dict[str, Any]:
    [policy] = parse_qs(minted.token.reveal())["policy"]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(policy + "=="))
    return decoded


# -- what comes out


async def test_mediamtx_is_given_one_action_on_one_exact_path(bench: Bench) -> None:
    token = await bench.token()
    minted = await bench.mint("mtx", token)
    account = bench.world.account
    public = bench.signer.key.public_key()
    claims = jwt.decode(
        minted.token.reveal(),
        public,
        algorithms=["ES256"],
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert claims == {
        "mediamtx_permissions": [{"action": "read", "path": f"{account}/cam"}],
        "sub": str((await bench.world.admin.find(token.reveal())).id),
        "iat": BASE,
        "nbf": BASE,
        "exp": BASE + 300,
    }
    assert minted.expires_at == BASE + 300
    assert minted.url is not None
    assert minted.url.reveal() == f"rtsp://mtx.example.com:8554/{account}/cam?token={minted.token.reveal()}"
    assert minted.length == len(minted.token.reveal())
    assert "rtmp" not in minted.carriers
    assert "url" in minted.carriers


async def test_mediamtx_publishers_get_publish(bench: Bench) -> None:
    token = await bench.token(kind="publish")
    assert (
        claims_of(await bench.mint("mtx", token, action=Action.PUBLISH))["mediamtx_permissions"][0]["action"]
        == "publish"
    )


async def test_without_our_keys_nothing_is_signed(bench: Bench) -> None:
    bench.minter._signer = None
    with pytest.raises(Unavailable, match="no key"):
        await bench.mint("mtx", await bench.token())


async def test_livekit_viewers_may_watch_and_nothing_else(bench: Bench) -> None:
    minted = await bench.mint("livekit", await bench.token())
    claims = jwt.decode(
        minted.token.reveal(), SECRET.reveal(), algorithms=["HS256"], options={"verify_exp": False, "verify_nbf": False}
    )
    assert claims["iss"] == "APIkey"
    assert (claims["nbf"], claims["exp"]) == (BASE, BASE + 300)
    assert claims["video"] == {
        "roomJoin": True,
        "room": f"{bench.world.account}/cam",
        "canPublish": False,
        "canSubscribe": True,
        "canPublishData": False,
        "canUpdateOwnMetadata": False,
    }
    assert minted.url is not None
    assert minted.url.reveal() == "wss://lk.example.com"
    again = await bench.mint("livekit", await bench.token())
    assert claims_of(again)["sub"] != claims["sub"]
    named = await bench.mint("livekit", await bench.token(), identity="ada")
    assert claims_of(named)["sub"] == "ada"


async def test_janus_rooms_that_let_do_more_than_the_token_are_refused(bench: Bench) -> None:
    token = await bench.token()
    assert await bench.refused("janus", token) == ("not_carried", "action")
    minted = await bench.mint("janus-watch", token)
    assert minted.token.reveal().startswith(f"{BASE + 299},janus.plugin.videoroom,room={bench.world.account}/cam:")
    publishing = await bench.token(kind="publish")
    assert await bench.refused("janus-watch", publishing, action=Action.PUBLISH) == ("not_carried", "action")


async def test_a_stream_name_with_a_comma_makes_no_other_room(bench: Bench) -> None:
    token = await bench.token(streams=[{"streamName": "cam,room=other"}, {"streamName": "cam:x"}])
    for name in ("cam,room=other", "cam:x"):
        with pytest.raises(InvalidInput, match="comma or a colon"):
            await bench.mint("janus-watch", token, stream=name)


async def test_ovenmediaengine_signs_the_url_that_is_used(bench: Bench) -> None:
    minted = await bench.mint("ome", await bench.token())
    assert policy_of(minted) == {"url_expire": (BASE + 300) * 1000 - 1}
    assert minted.url is not None
    assert minted.url.reveal() == f"wss://ome.example.com:3334/app/cam?{minted.token.reveal()}"
    publishing = await bench.token(kind="publish")
    sent = await bench.mint("ome", publishing, action=Action.PUBLISH)
    assert sent.token.reveal().startswith("direction=send&policy=")
    played = await bench.mint("ome-hls", await bench.token())
    assert played.url is not None
    assert urlsplit(played.url.reveal()).path == "/app/cam/llhls.m3u8"
    with pytest.raises(InvalidInput, match="gives none"):
        await bench.mint("ome-rtmp", await bench.token())
    streamed = await bench.mint("ome-rtmp", publishing, action=Action.PUBLISH)
    assert "rtmp" in streamed.carriers


async def test_cat_is_for_the_directory_of_the_stream(bench: Bench) -> None:
    minted = await bench.mint("cat", await bench.token())
    key = cat.key_of("HS256", CAT_KEY)
    account = bench.world.account
    good = cat.CatRequest(f"https://cdn.example.com/live/{account}/cam/index.m3u8", "GET")
    claims = cat.verify(minted.token.reveal(), key, good, BASE + 299)
    assert (claims.not_before, claims.expires_at, len(claims.id)) == (BASE, BASE + 300, 16)
    for other in (
        good._replace(url=f"https://cdn.example.com/live/{account}/cam2/index.m3u8"),
        good._replace(url=f"https://cdn.example.com/live/{account}/cam/../cam2/index.m3u8"),
        good._replace(method="POST"),
    ):
        with pytest.raises(cat.InvalidCat):
            cat.verify(minted.token.reveal(), key, other, BASE + 299)
    with pytest.raises(InvalidInput, match="watching"):
        await bench.mint("cat", await bench.token(kind="publish"), action=Action.PUBLISH)


async def test_a_token_is_given_by_its_id_too_and_not_by_another_accounts(bench: Bench) -> None:
    token = await bench.token()
    token_id = (await bench.world.admin.find(token.reveal())).id
    request = MintRequest(verifier="cat", stream="cam", action=Action.SUBSCRIBE, token_id=token_id)
    assert (await bench.minter.mint(bench.world.account, request)).form is VerifierKind.CAT
    with pytest.raises(NotFound):
        await bench.minter.mint(
            bench.world.account,
            MintRequest(verifier="cat", stream="cam", action=Action.SUBSCRIBE, token_id=TokenId(99)),
        )
    with pytest.raises(NotFound):
        await bench.minter.mint(AccountId("other"), request)
    wrongs: list[dict[str, Any]] = [{"token": token, "token_id": token_id}, {}]
    for wrong in wrongs:
        with pytest.raises(InvalidInput, match="one of them"):
            await bench.minter.mint(
                bench.world.account, MintRequest(verifier="cat", stream="cam", action=Action.SUBSCRIBE, **wrong)
            )


# -- the decision


@pytest.mark.parametrize("verifier", WATCHES)
async def test_what_a_token_does_not_allow_is_not_minted(bench: Bench, verifier: str) -> None:
    token = await bench.token()
    assert await bench.refused(verifier, token, stream="other") == ("stream_not_granted", None)
    assert await bench.refused(verifier, Secret("0" * 64)) == ("token_unknown", None)
    assert await bench.refused(verifier, Secret("malformed?!")) == ("token_malformed", None)
    publishing = await bench.token(kind="publish")
    assert await bench.refused(verifier, publishing) == ("action_not_granted", None)
    record = await bench.world.admin.find(token.reveal())
    await bench.world.admin.revoke(bench.world.account, record.kind, record.id)
    assert await bench.refused(verifier, token) == ("token_revoked", None)


async def test_an_open_stream_asks_for_the_token_nevertheless(bench: Bench) -> None:
    """Anyone may watch it now; what is minted would outlast that."""
    await bench.token(kind="publish", subscribeRequiresAuth=False)
    assert (await bench.world.explain({"do": "subscribe", "stream": "A/cam"})).decision.reason == "ok_open_stream"
    assert await bench.refused("mtx", Secret("0" * 64)) == ("token_unknown", None)
    ended = await bench.token(expiresOn="2026-01-01T00:00:01Z")
    bench.world.now += 1
    assert await bench.refused("mtx", ended) == ("token_expired", None)


async def test_what_is_tried_out_is_not_minted_from(bench: Bench) -> None:
    token = await bench.token(allowedIpAddresses=["192.0.2.1"], shadowUntil="2026-01-02T00:00:00Z")
    assert await bench.refused("ome", token, client_ip="192.0.2.9") == ("address_not_allowed", None)


async def test_another_accounts_token_is_as_unknown_as_none(bench: Bench) -> None:
    token = await bench.token()
    other = AccountId("other")
    with pytest.raises(NotFound):
        await bench.minter.mint(other, MintRequest(verifier="mtx", stream="cam", action=Action.SUBSCRIBE, token=token))


# -- no wider


UNCARRIED: dict[str, Any] = {
    "allowedOrigins": ["example.com"],
    "allowedUserAgents": ["*"],
    "allowedReferrers": ["*"],
    "sessionLimit": {"most": 5},
    "singleUse": {"graceSeconds": 1},
    "budgets": {"starts": 5},
    "bindIpsOnUsage": 3,
}


@pytest.mark.parametrize("setting", UNCARRIED)
@pytest.mark.parametrize("verifier", WATCHES)
async def test_a_rule_that_no_form_carries_refuses_and_is_named(bench: Bench, verifier: str, setting: str) -> None:
    """Without it the same is minted."""
    more: dict[str, Any] = {"client_ip": "192.0.2.9"}
    assert (await bench.mint(verifier, await bench.token(), **more)).token
    token = await bench.token(**{setting: UNCARRIED[setting]})
    assert await bench.refused(verifier, token, **more) == ("not_carried", setting)
    await bench.world.admin.change(
        bench.world.account,
        TokenKind.SUBSCRIBE,
        (await bench.world.admin.find(token.reveal())).id,
        lambda terms: replace(terms, active=False),
    )
    assert await bench.refused(verifier, token, **more) == ("token_disabled", None)


@pytest.mark.parametrize("rule", [{"allowedIpAddresses": ["192.0.2.0/24"]}, {"allowedCountries": ["PL"]}])
async def test_rules_about_addresses_need_a_form_that_binds_one(bench: Bench, rule: dict[str, Any]) -> None:
    token, [setting] = await bench.token(**rule), list(rule)
    for verifier in ("mtx", "livekit", "janus-watch", "nginx"):
        assert await bench.refused(verifier, token, client_ip="192.0.2.9") == ("not_carried", setting)
    for verifier in ("ome", "ome-hls", "nginx-bound", "cat"):
        assert (await bench.refused(verifier, token))[0] in {"address_unknown", "country_unknown"}
        assert (await bench.refused(verifier, token, client_ip="198.51.100.1"))[0].endswith("_not_allowed")
    assert policy_of(await bench.mint("ome", token, client_ip="192.0.2.9"))["allow_ip"] == "192.0.2.9/32"
    assert policy_of(await bench.mint("ome-hls", token, client_ip="192.0.2.9"))["real_ip"] == "192.0.2.9/32"
    bound = await bench.mint("cat", token, client_ip="192.0.2.9")
    request = cat.CatRequest(f"https://cdn.example.com/live/{bench.world.account}/cam/x", "GET", "192.0.2.9")
    key = cat.key_of("HS256", CAT_KEY)
    assert cat.verify(bound.token.reveal(), key, request, BASE).networks == (parse_network("192.0.2.9"),)
    with pytest.raises(cat.InvalidCat):
        cat.verify(bound.token.reveal(), key, request._replace(address="192.0.2.10"), BASE)
    links = [(await bench.mint("nginx-bound", token, client_ip=ip)).token.reveal() for ip in ("192.0.2.9", "192.0.2.8")]
    assert links[0] != links[1]


async def test_countries_that_others_set_for_viewers_count_too(bench: Bench) -> None:
    token = await bench.token()
    await bench.world.change({"account": {"deniedCountries": ["US"]}})
    assert await bench.refused("mtx", token, client_ip="192.0.2.9") == ("not_carried", "allowedCountries")
    await bench.world.change({"account": {"deniedCountries": ["US"], "geoAppliesTo": ["publish"]}})
    assert (await bench.mint("mtx", token, client_ip="192.0.2.9")).token
    await bench.token(kind="publish", deniedCountries=["US"], subscribeRequiresAuth=True)
    assert await bench.refused("mtx", token, client_ip="192.0.2.9") == ("not_carried", "allowedCountries")


async def test_ovenmediaengine_binds_no_ipv6(bench: Bench) -> None:
    token = await bench.token(allowedIpAddresses=["2001:db8::/32"])
    assert await bench.refused("ome", token, client_ip="2001:db8::1") == ("not_carried", "allowedIpAddresses")
    with pytest.raises(InvalidInput, match="IPv4"):
        await bench.mint("ome", await bench.token(), client_ip="2001:db8::1")


async def test_links_that_are_bound_ask_whose_they_are(bench: Bench) -> None:
    with pytest.raises(InvalidInput, match="bound to an address"):
        await bench.mint("nginx-bound", await bench.token())
    with pytest.raises(InvalidInput, match="clientIp is"):
        await bench.mint("nginx-bound", await bench.token(), client_ip="here")


async def test_every_protocol_that_is_opened_has_to_be_allowed(bench: Bench) -> None:
    token = await bench.token(allowedProtocols=["webrtc", "srt"])
    reason, field = await bench.refused("mtx", token)
    # The first that it opens is judged by the decision.
    assert (reason, field) == ("protocol_not_allowed", None)
    mostly = await bench.token(allowedProtocols=["rtsp", "webrtc"])
    assert await bench.refused("mtx", mostly) == ("not_carried", "allowedProtocols")
    assert (await bench.mint("mtx-webrtc", token)).token
    assert (await bench.mint("livekit", token)).token
    assert await bench.refused("cat", token) == ("protocol_not_allowed", None)


async def test_a_token_too_long_for_its_protocol_is_refused_and_the_short_form_offered(bench: Bench) -> None:
    with pytest.raises(InvalidInput, match=r"rtmp has room for .* short form \(43 characters of base64url\)"):
        await bench.mint("mtx-rtmp", await bench.token())


# -- no longer


@pytest.mark.parametrize("verifier", WATCHES)
@pytest.mark.parametrize("left", [120, 121, 299, 300, 301])
async def test_nothing_outlives_the_token_or_the_setting(bench: Bench, verifier: str, left: int) -> None:
    token = await bench.token(expires=left)
    minted = await bench.mint(verifier, token)
    # LiveKit takes a token for a minute after its end.
    latest = BASE + left - (60 if verifier == "livekit" else 0)
    assert minted.expires_at == min(BASE + 300, latest)


async def test_livekits_leeway_leaves_no_time_at_the_end_of_a_token(bench: Bench) -> None:
    token = await bench.token(expires=61)
    assert (await bench.mint("livekit", token)).expires_at == BASE + 1
    assert await bench.refused("livekit", await bench.token(expires=60)) == ("ends_too_soon", None)


@pytest.mark.parametrize(("ttl", "good"), [(1, True), (300, True), (301, False), (0, False), (-1, False)])
async def test_how_long_is_asked_for_within_the_setting(bench: Bench, ttl: int, good: bool) -> None:
    token = await bench.token()
    if good:
        assert (await bench.mint("mtx", token, ttl_seconds=ttl)).expires_at == BASE + ttl
    else:
        with pytest.raises(InvalidInput, match="from 1 to 300"):
            await bench.mint("mtx", token, ttl_seconds=ttl)


async def test_it_ends_where_the_hours_end_even_if_they_begin_again(bench: Bench) -> None:
    """The world begins at midnight in UTC, a Thursday."""
    windows = [{"days": ["thu"], "from": "00:00", "to": "00:02"}, {"days": ["thu"], "from": "00:04", "to": "09:00"}]
    token = await bench.token(hours={"timeZone": "UTC", "windows": windows})
    assert (await bench.mint("mtx", token)).expires_at == BASE + 120
    bench.world.now += 119.5
    assert (await bench.mint("mtx", token)).expires_at == BASE + 120
    bench.world.now += 0.5
    assert await bench.refused("mtx", token) == ("token_outside_hours", None)


async def test_the_accounts_longest_lifetime_ends_it_too(bench: Bench) -> None:
    token = await bench.token()
    await bench.world.change({"account": {"longestLifetime": 200}})
    assert (await bench.mint("mtx", token)).expires_at == BASE + 200


async def test_it_ends_when_other_rules_would_begin_to_refuse(bench: Bench) -> None:
    """At 100 s the publish token ends that let everyone watch, and another decides that denies a country."""
    token = await bench.token()
    await bench.token(kind="publish", subscribeRequiresAuth=True, expires=100)
    await bench.token(
        kind="publish", subscribeRequiresAuth=True, deniedCountries=["US"], notBefore="2026-01-01T00:01:40Z"
    )
    minted = await bench.mint("cat", token, client_ip="198.51.100.1")
    assert minted.expires_at == BASE + 100


async def test_sessions_that_end_with_the_token_need_a_form_that_ends_them(bench: Bench) -> None:
    token = await bench.token(expires=1000, endSessionsAtExpiry=True)
    for verifier in ("mtx", "livekit", "janus-watch"):
        assert await bench.refused(verifier, token) == ("not_carried", "endSessionsAtExpiry")
    minted = await bench.mint("ome", token)
    assert policy_of(minted) == {"url_expire": (BASE + 300) * 1000 - 1, "stream_expire": (BASE + 1000) * 1000 - 1}
    assert (await bench.mint("nginx", token)).token


# -- secrets


@pytest.mark.parametrize("verifier", WATCHES)
async def test_nothing_that_is_printed_shows_a_secret(bench: Bench, verifier: str) -> None:
    token = await bench.token()
    minted = await bench.mint(verifier, token)
    request = MintRequest(verifier=verifier, stream="cam", action=Action.SUBSCRIBE, token=token)
    found = await bench.verifiers.read(bench.world.account, verifier)
    for shown in (repr(minted), repr(request), repr(found)):
        for secret in (token, SECRET, CAT_KEY, minted.token):
            assert secret.reveal() not in shown
    for field in (minted.token, minted.url):
        assert field is None or token.reveal() not in field.reveal()


# -- verifiers


BAD: dict[str, tuple[VerifierKind, dict[str, Any], str]] = {
    "no secret": (VerifierKind.JANUS, {"secret": None}, "secret"),
    "a secret for MediaMTX": (VerifierKind.MEDIAMTX, {}, "secret"),
    "no key name": (VerifierKind.LIVEKIT, {}, "keyName"),
    "a key name": (VerifierKind.JANUS, {"key_name": "x"}, "keyName"),
    "a setting of another kind": (VerifierKind.JANUS, {"settings": VerifierSettings(file="x")}, "file"),
    "no port": (VerifierKind.OVENMEDIAENGINE, {"settings": VerifierSettings(url="wss://h/app")}, "url"),
    "no file": (VerifierKind.SECURE_LINK, {"settings": VerifierSettings(url="https://h/live")}, "file"),
    "no url": (VerifierKind.CAT, {"secret": CAT_KEY}, "url"),
    "a query": (VerifierKind.CAT, {"settings": VerifierSettings(url="https://h/x?y=1"), "secret": CAT_KEY}, "url"),
    "a user": (VerifierKind.CAT, {"settings": VerifierSettings(url="https://u:p@h/x"), "secret": CAT_KEY}, "url"),
    "a short key": (
        VerifierKind.CAT,
        {"settings": VerifierSettings(url="https://h/x"), "secret": Secret("6b" * 31)},
        "secret",
    ),
    "no PEM": (
        VerifierKind.CAT,
        {"settings": VerifierSettings(url="https://h/x", algorithm=CatAlgorithm.ES256), "secret": CAT_KEY},
        "secret",
    ),
    "a variable of nginx": (
        VerifierKind.SECURE_LINK,
        {"settings": VerifierSettings(url="https://h/x", file="i.m3u8"), "secret": Secret("$remote_addr-and-more")},
        "secret",
    ),
    "a protocol it has not": (
        VerifierKind.MEDIAMTX,
        {"settings": VerifierSettings(protocols=(Protocol.UNKNOWN,)), "secret": None},
        "protocols",
    ),
    "a name": (VerifierKind.JANUS, {"name": "a b"}, "name"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_verifier_that_could_not_work_is_refused_and_the_field_named(bench: Bench, case: str) -> None:
    kind, given, field = BAD[case]
    full: dict[str, Any] = {"name": "new", "secret": SECRET, "settings": VerifierSettings(), "key_name": ""} | given
    with pytest.raises(InvalidInput) as refused:
        await bench.verifiers.add(bench.world.account, full.pop("name"), kind, **full)
    assert refused.value.field == field
    assert SECRET.reveal() not in str(refused.value)


async def test_a_secret_is_kept_sealed_for_its_place(bench: Bench) -> None:
    found = await bench.verifiers.read(bench.world.account, "ome")
    assert SECRET.reveal().encode() not in found.sealed
    assert (
        bench.world.keyring.unseal(found.sealed, f"verifier.sealed:{bench.world.account}/ome").reveal()
        == SECRET.reveal()
    )
    with pytest.raises(StagedoorError):
        bench.world.keyring.unseal(found.sealed, f"verifier.sealed:{bench.world.account}/nginx")
