"""Which events a change of a token makes, and what they say."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from stagedoor.model import events
from stagedoor.model.access import Action, Protocol
from stagedoor.model.caveats import Budgets, SessionLimit, SingleUse
from stagedoor.model.grant import StreamPattern
from stagedoor.model.hours import Hours, Window
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import OpenSession, SessionStart
from stagedoor.model.token import PublishOptions, TokenRecord, TokenTerms

AT = 1_700_000_000.5

CHANGES: dict[str, tuple[str, object]] = {
    "label": ("label", "another"),
    "streams": ("streams", (StreamPattern("other"),)),
    "not_before": ("notBefore", 1),
    "expires_at": ("expiresOn", 1),
    "hours": ("hours", Hours("UTC", (Window((0,), 0, 60),))),
    "end_sessions_at_expiry": ("endSessionsAtExpiry", True),
    "allowed_addresses": ("allowedIpAddresses", ("192.0.2.1",)),
    "bind_ips_on_usage": ("bindIpsOnUsage", 1),
    "bind_ipv4_bits": ("bindTolerance", 24),
    "bind_ipv6_bits": ("bindTolerance", 64),
    "rebinds_an_hour": ("bindTolerance", 1),
    "allowed_origins": ("allowedOrigins", ("https://example.com",)),
    "allow_without_origin": ("allowWithoutOrigin", True),
    "allowed_countries": ("allowedCountries", ("PL",)),
    "denied_countries": ("deniedCountries", ("PL",)),
    "geo_applies_to": ("geoAppliesTo", (Action.PUBLISH,)),
    "allowed_protocols": ("allowedProtocols", (Protocol.RTMP,)),
    "allowed_user_agents": ("allowedUserAgents", ("*",)),
    "allowed_referrers": ("allowedReferrers", ("*",)),
    "subject": ("subject", "somebody"),
    "actions": ("actions", (Action.PUBLISH, Action.SUBSCRIBE)),
    "viewer_data": ("customViewerData", "seat=4"),
    "groups": ("groups", ("stage",)),
    "longest_seconds": ("longestSeconds", 60),
    "session_limit": ("sessionLimit", SessionLimit(1)),
    "single_use": ("singleUse", SingleUse(0)),
    "budgets": ("budgets", Budgets(1, None, None, None)),
    "shadow_until": ("shadowUntil", 1),
    "origin_cluster": ("originCluster", "phx-1"),
    "tracking_id": ("tracking", "t"),
}

PUBLISHING: dict[str, tuple[str, object]] = {
    "subscribe_requires_auth": ("subscribeRequiresAuth", True),
    "record": ("record", True),
    "clip": ("clip", True),
    "multisource": ("multisource", False),
    "low_latency_rtmp": ("lowLatencyRtmp", False),
    "enable_thumbnails": ("enableThumbnails", True),
    "display_srt_passphrase": ("displaySrtPassphrase", True),
    "drm": ("drm", True),
    "enable_utc_insertion": ("enableUTCInsertion", True),
    "geo_cascade": ("geoCascade", {"isEnabled": True}),
    "restream": ("restream", ({"url": "rtmp://example.com", "key": "a key of somebody's"},)),
    "priority": ("priority", 1),
    "encoder_profile_id": ("encoderProfileId", "p"),
}

MakeRecord = Callable[..., TokenRecord]


def test_every_setting_is_here() -> None:
    """A setting that is added has to be told of by the name that the API has for it."""
    other = {"active", "publishing", "not_understood"}
    assert set(CHANGES) | other == {each.name for each in fields(TokenTerms)}
    assert set(PUBLISHING) | {"restream_sync"} == {each.name for each in fields(PublishOptions)}


@pytest.mark.parametrize("setting", [*CHANGES, *PUBLISHING])
def test_a_change_is_told_by_the_apis_name_and_without_its_value(make_record: MakeRecord, setting: str) -> None:
    """One event that names the field, and nothing of what was or is in it."""
    old = make_record()
    if setting in CHANGES:
        name, value = CHANGES[setting]
        terms = replace(old.terms, **{setting: value})  # type: ignore[arg-type]
    else:
        name, value = PUBLISHING[setting]
        terms = replace(old.terms, publishing=replace(old.terms.publishing, **{setting: value}))  # type: ignore[arg-type]
    (told,) = events.events_of_change(old, replace(old, terms=terms), AT)
    assert (told.type, told.at, told.account) == ("token.changed", AT, "acct")
    assert told.data == {"tokenId": 7, "kind": "publish", "label": terms.label, "changed": [name]}


def test_several_changes_at_once_are_one_event_and_what_has_its_own_goes_beside(make_record: MakeRecord) -> None:
    """A new value, other terms and being switched off: three events; names are told once."""
    old = make_record()
    terms = replace(old.terms, active=False, bind_ipv4_bits=24, bind_ipv6_bits=64, label="x")
    told = events.events_of_change(old, replace(old, terms=terms, digest=b"n" * 32), AT)
    assert [one.type for one in told] == ["token.renewed", "token.changed", "token.disabled"]
    assert told[1].data["changed"] == ["bindTolerance", "label"]


def test_no_change_is_no_event(make_record: MakeRecord) -> None:
    """Writing down the same again is nothing to tell of."""
    record = make_record()
    assert events.events_of_change(record, replace(record, sealed=b"sealed anew"), AT) == ()
    synced = replace(record.terms, publishing=replace(record.terms.publishing, restream_sync=1))
    assert events.events_of_change(record, replace(record, terms=synced), AT) == ()


def test_being_made_switched_on_and_revoked(make_record: MakeRecord) -> None:
    """Each is one event, about the token and with no more than its names."""
    on, off = make_record(), make_record(active=False)
    told = events.events_of_new(on, AT) + events.events_of_change(off, on, AT) + events.events_of_revocation(on, AT)
    assert [one.type for one in told] == ["token.created", "token.enabled", "token.revoked"]
    assert {repr(one.data) for one in told} == {repr({"tokenId": 7, "kind": "publish", "label": "test"})}


def _session(**changes: Any) -> OpenSession:
    start = SessionStart(
        AccountId("acct"), TokenId(7), "", EngineId("e1"), "s", "show", Action.PUBLISH, Protocol.RTMP, "", AT
    )
    given: dict[str, Any] = {"id": 1, "start": start, "seen_at": AT} | changes
    return OpenSession(**given)


def test_a_feed_keeps_its_name_as_long_as_its_session_lives_and_no_other_has_it() -> None:
    """What changes while it runs does not count; its id, its account and its beginning do."""
    session = _session()
    name = events.feed_id(session)
    assert len(name) == 32
    assert events.feed_id(_session(seen_at=AT + 9, bytes=7, end_at=AT + 99)) == name
    others = [
        _session(id=2),
        _session(start=session.start._replace(account=AccountId("other"))),
        _session(start=session.start._replace(at=AT + 0.001)),
    ]
    assert len({name, *map(events.feed_id, others)}) == 4


def test_a_feed_without_a_priority_tells_none() -> None:
    """The contract leaves out what is not set; 0 is set."""
    assert "priority" not in events.feed_event(_session(), None).data
    assert events.feed_event(_session(), 0).data["priority"] == 0
    assert "ended" not in events.feed_event(_session(), 0).data
    assert events.feed_event(_session(), 0, AT + 1).data["ended"] == 1_700_000_001_500
