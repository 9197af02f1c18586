"""The judges of caveats, each at its boundaries."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import OPEN
from stagedoor.model.addresses import parse_address, parse_network
from stagedoor.model.caveats import (
    BoundAddresses,
    Budgets,
    ClientAddresses,
    Condition,
    Countries,
    ExpiresAt,
    NotBefore,
    Origins,
    Over,
    Protocols,
    Referrers,
    SessionLimit,
    SingleUse,
    Tried,
    Unjudged,
    UserAgents,
    WithinHours,
)
from stagedoor.model.decision import Reason, Standing
from stagedoor.model.hours import Window
from stagedoor.model.ids import AccountId, StreamId
from stagedoor.model.origins import parse_origin_pattern
from stagedoor.model.token import TokenState
from stagedoor.model.usage import UNUSED, Session, Usage
from stagedoor.policy.caveats import REBIND_SECONDS, judge, watched_seconds
from stagedoor.tokens.patterns import compile_wildcard

NOW = 1_000_000
PUBLISH = Access(Action.PUBLISH, StreamId(AccountId("acct"), "show"), Protocol.RTMP, "192.0.2.1")
WATCH = PUBLISH._replace(action=Action.SUBSCRIBE, protocol=Protocol.HLS)
GOOD = Standing(TokenState.ACTIVE, account=OPEN, secured=True, viewer_caveats=(), revision=9, live=True)


@dataclass(frozen=True)
class Newer:
    """A caveat that this version has never heard of."""

    text: str = "only on Sundays"


def _used(**use: Any) -> Standing:
    return GOOD._replace(usage=UNUSED._replace(**use))


def _sessions(*end_at: float | None, own: Session | None = None) -> Standing:
    """Return a standing with one open session for each instant at which it has to end; None stays."""
    return _used(sessions=tuple(Session(n, NOW - 10, at) for n, at in enumerate(end_at, 1)), own=own)


# -- what nobody can judge


@pytest.mark.parametrize("kind", [kind for kind in get_args(Condition) if kind is not Unjudged])
def test_every_kind_of_condition_has_a_judge(kind: type[object]) -> None:
    """But the one whose purpose is to have none."""
    filled: dict[type[object], object] = {
        NotBefore: NotBefore(0),
        ExpiresAt: ExpiresAt(0),
        WithinHours: WithinHours((), UTC),
        BoundAddresses: BoundAddresses(1),
        SessionLimit: SessionLimit(1),
    }
    one = filled[kind] if kind in filled else kind() if kind in (Countries, SingleUse, Budgets) else kind(())  # type: ignore[call-arg]
    assert judge(one, WATCH, GOOD, NOW) is not Reason.CAVEAT_NOT_JUDGED


@pytest.mark.parametrize("caveat", [Unjudged("allowedOrigins"), Newer(), None, "expires", 0, NotBefore, object()])
def test_an_unknown_type_of_caveat_refuses(caveat: object) -> None:
    """What no judge is written for never passes."""
    assert judge(caveat, PUBLISH, GOOD, NOW) is Reason.CAVEAT_NOT_JUDGED


def test_a_subclass_of_a_caveat_is_an_unknown_caveat() -> None:
    """A judge of the base type would not see what the subclass adds."""

    class OnSundays(NotBefore):
        pass

    assert judge(OnSundays(0), PUBLISH, GOOD, NOW) is Reason.CAVEAT_NOT_JUDGED


@pytest.mark.parametrize("caveat", [Unjudged("allowedOrigins"), Newer(), NotBefore, None])
def test_an_unknown_caveat_that_is_tried_out_is_unknown_all_the_same(caveat: Any) -> None:
    """Trying out is no judging."""
    assert judge(Tried(caveat, NOW + 1), PUBLISH, GOOD, NOW) is Reason.CAVEAT_NOT_JUDGED


@pytest.mark.parametrize("until", [NOW - 1, NOW, NOW + 1])
def test_what_is_tried_out_is_judged_as_ever(until: int) -> None:
    """Whether that counts is decided elsewhere."""
    assert judge(Tried(ExpiresAt(NOW), until), PUBLISH, GOOD, NOW) is Reason.TOKEN_EXPIRED
    assert judge(Tried(ExpiresAt(NOW + 1), until), PUBLISH, GOOD, NOW) is None


# -- time


@pytest.mark.parametrize(
    ("now", "reason"),
    [(NOW - 1, Reason.TOKEN_NOT_YET_VALID), (NOW - 0.001, Reason.TOKEN_NOT_YET_VALID), (NOW, None), (NOW + 1, None)],
)
def test_not_before_is_good_from_its_instant_on(now: float, reason: Reason | None) -> None:
    """-1, 0, +1 around the boundary, and just before it."""
    assert judge(NotBefore(NOW), PUBLISH, GOOD, now) is reason


@pytest.mark.parametrize(
    ("now", "reason"),
    [(NOW - 1, None), (NOW - 0.001, None), (NOW, Reason.TOKEN_EXPIRED), (NOW + 1, Reason.TOKEN_EXPIRED)],
)
def test_expires_at_is_good_before_its_instant(now: float, reason: Reason | None) -> None:
    """-1, 0, +1 around the boundary, and just before it."""
    assert judge(ExpiresAt(NOW), PUBLISH, GOOD, now) is reason


def test_a_clock_that_makes_no_sense_refuses() -> None:
    """Not-a-number is neither after the one nor before the other."""
    assert judge(NotBefore(0), PUBLISH, GOOD, float("nan")) is Reason.TOKEN_NOT_YET_VALID
    assert judge(ExpiresAt(NOW), PUBLISH, GOOD, float("nan")) is Reason.TOKEN_EXPIRED


RUNNING = GOOD._replace(running=True)
NOT_TOLD = GOOD._replace(sessions_told=False)


@pytest.mark.parametrize(("ends", "reason"), [(False, None), (True, Reason.TOKEN_EXPIRED)])
def test_what_runs_outlives_the_expiry_unless_sessions_end_there(ends: bool, reason: Reason | None) -> None:
    """A new start is refused either way."""
    assert judge(ExpiresAt(NOW, ends), WATCH, RUNNING, NOW) is reason
    assert judge(ExpiresAt(NOW, ends), WATCH, GOOD, NOW) is Reason.TOKEN_EXPIRED
    assert judge(ExpiresAt(NOW + 1, ends), WATCH, RUNNING, NOW) is None


def test_what_runs_has_begun() -> None:
    """A notBefore that is set later stops it all the same."""
    assert judge(NotBefore(NOW + 1), WATCH, RUNNING, NOW) is Reason.TOKEN_NOT_YET_VALID


@pytest.mark.parametrize("caveat", [ExpiresAt(NOW + 1, ends_sessions=True), WithinHours((), UTC, ends_sessions=True)])
def test_sessions_that_have_to_end_are_not_let_in_where_nobody_tells_of_them(caveat: Condition) -> None:
    """Before and after the time is over: they could not be ended, or would not be known to have."""
    assert judge(caveat, WATCH, NOT_TOLD, NOW) is Reason.USAGE_UNKNOWN


def test_sessions_that_may_go_on_are_let_in_where_nobody_tells_of_them() -> None:
    """Nothing is to be known of them."""
    assert judge(ExpiresAt(NOW + 1), WATCH, NOT_TOLD, NOW) is None
    assert judge(WithinHours((ALL_WEEK,), UTC), WATCH, NOT_TOLD, NOW) is None


ALL_WEEK = Window(tuple(range(7)), 0, 1440)
NINE_TO_FIVE = WithinHours((Window((0,), 9 * 60, 17 * 60),), UTC)
MONDAY = datetime(2026, 1, 5, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("seconds", "good"),
    [(9 * 3600 - 1, False), (9 * 3600, True), (9 * 3600 + 1, True)]
    + [(17 * 3600 - 1, True), (17 * 3600, False), (17 * 3600 + 1, False)],
)
def test_hours_are_half_open(seconds: int, good: bool) -> None:
    """-1, 0, +1 around the beginning and the end."""
    reason = None if good else Reason.TOKEN_OUTSIDE_HOURS
    assert judge(NINE_TO_FIVE, WATCH, GOOD, MONDAY + seconds) is reason


@pytest.mark.parametrize(("ends", "reason"), [(False, None), (True, Reason.TOKEN_OUTSIDE_HOURS)])
def test_what_runs_outlives_the_hours_unless_sessions_end_there(ends: bool, reason: Reason | None) -> None:
    """A new start is refused either way."""
    caveat = WithinHours(NINE_TO_FIVE.windows, UTC, ends)
    assert judge(caveat, WATCH, RUNNING, MONDAY) is reason
    assert judge(caveat, WATCH, GOOD, MONDAY) is Reason.TOKEN_OUTSIDE_HOURS


# -- addresses


@pytest.mark.parametrize(
    ("client_ip", "reason"),
    [
        ("192.0.2.0", None),
        ("192.0.2.255", None),
        ("::ffff:192.0.2.7", None),
        ("192.0.1.255", Reason.ADDRESS_NOT_ALLOWED),
        ("192.0.3.0", Reason.ADDRESS_NOT_ALLOWED),
        ("2001:db8::1", Reason.ADDRESS_NOT_ALLOWED),
        ("", Reason.ADDRESS_UNKNOWN),
        ("192.0.2.010", Reason.ADDRESS_UNKNOWN),
        ("192.0.2.1:80", Reason.ADDRESS_UNKNOWN),
        ("unix:", Reason.ADDRESS_UNKNOWN),
    ],
)
def test_client_addresses(client_ip: str, reason: Reason | None) -> None:
    """In the network passes, outside is refused, and what cannot be read is refused with its own reason."""
    caveat = ClientAddresses((parse_network("192.0.2.0/24"),))
    assert judge(caveat, PUBLISH._replace(client_ip=client_ip), GOOD, NOW) is reason


def test_no_networks_is_good_from_nowhere() -> None:
    """An empty list refuses everyone."""
    assert judge(ClientAddresses(()), PUBLISH, GOOD, NOW) is Reason.ADDRESS_NOT_ALLOWED


ELSEWHERE = GOOD._replace(address_trusted=False)


@pytest.mark.parametrize(
    "caveat", [ClientAddresses((parse_network("0.0.0.0/0"),)), BoundAddresses(5), Countries(denied=("DE",))]
)
def test_an_address_that_may_be_made_up_is_refused_by_every_rule_about_addresses(caveat: Condition) -> None:
    """Also where it would pass, and where it cannot be read."""
    for client_ip in ("192.0.2.1", "", "nonsense"):
        access = WATCH._replace(client_ip=client_ip)
        assert judge(caveat, access, ELSEWHERE, NOW) is Reason.ADDRESS_NOT_TRUSTED


def _bound(*texts: str) -> dict[Any, float]:
    return {parse_network(text): float(at) for at, text in enumerate(texts)}


@pytest.mark.parametrize(("most", "reason"), [(1, Reason.ADDRESS_NOT_BOUND), (2, Reason.ADDRESS_NOT_BOUND), (3, None)])
def test_a_token_takes_as_many_networks_as_it_may(most: int, reason: Reason | None) -> None:
    """Two are bound: -1, 0, +1 around that."""
    used = _used(bound=_bound("198.51.100.1", "198.51.100.2"))
    assert judge(BoundAddresses(most), WATCH, used, NOW) is reason


def test_a_bound_network_is_let_in_again() -> None:
    """However many are bound, as long as it is among those that count."""
    used = _used(bound=_bound("198.51.100.1", "192.0.2.1", "198.51.100.3"))
    for most, reason in ((3, None), (2, None), (1, Reason.ADDRESS_NOT_BOUND)):
        assert judge(BoundAddresses(most), WATCH, used, NOW) is reason


@pytest.mark.parametrize(
    ("bits", "client_ip", "reason"),
    [
        (24, "192.0.2.0", None),
        (24, "192.0.2.255", None),
        (24, "192.0.1.255", Reason.ADDRESS_NOT_BOUND),
        (24, "192.0.3.0", Reason.ADDRESS_NOT_BOUND),
        (32, "192.0.2.0", Reason.ADDRESS_NOT_BOUND),
    ],
)
def test_an_address_is_cut_to_its_network(bits: int, client_ip: str, reason: Reason | None) -> None:
    """By the token's tolerance: the first and last address of the network, and their neighbours."""
    used = _used(bound=_bound("192.0.2.0/24" if bits == 24 else "192.0.2.1"))
    caveat = BoundAddresses(1, ipv4_bits=bits)
    assert judge(caveat, WATCH._replace(client_ip=client_ip), used, NOW) is reason


def test_ipv4_and_ipv6_have_their_own_tolerance() -> None:
    """Both count together; an IPv4 address in the form of IPv6 is the IPv4 one."""
    caveat = BoundAddresses(2, ipv4_bits=24, ipv6_bits=64)
    used = _used(bound=_bound("192.0.2.0/24", "2001:db8::/64"))
    for client_ip, reason in (
        ("192.0.2.9", None),
        ("::ffff:192.0.2.9", None),
        ("2001:db8::ffff", None),
        ("2001:db8:0:1::", Reason.ADDRESS_NOT_BOUND),
        ("192.0.3.9", Reason.ADDRESS_NOT_BOUND),
    ):
        assert judge(caveat, WATCH._replace(client_ip=client_ip), used, NOW) is reason


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (NOW - REBIND_SECONDS - 1, None),
        (NOW - REBIND_SECONDS, None),
        (NOW - REBIND_SECONDS + 1, Reason.ADDRESS_NOT_BOUND),
        (NOW, Reason.ADDRESS_NOT_BOUND),
    ],
)
def test_a_rebinding_counts_for_an_hour(at: float, reason: Reason | None) -> None:
    """-1, 0, +1 around the end of it."""
    used = _used(bound=_bound("198.51.100.1"), rebinds=(at,))
    assert judge(BoundAddresses(1, rebinds_an_hour=1), WATCH, used, NOW) is reason


@pytest.mark.parametrize(
    ("rebinds", "reason"), [(1, None), (2, Reason.ADDRESS_NOT_BOUND), (3, Reason.ADDRESS_NOT_BOUND)]
)
def test_a_token_is_rebound_so_many_times_in_any_hour(rebinds: int, reason: Reason | None) -> None:
    """-1, 0, +1 around two; those of an hour ago do not count."""
    recent = (NOW - 9000.0, *(NOW - 1.0 for _ in range(rebinds)))
    used = _used(bound=_bound("198.51.100.1"), rebinds=recent)
    assert judge(BoundAddresses(1, rebinds_an_hour=2), WATCH, used, NOW) is reason


@pytest.mark.parametrize("client_ip", ["", "unknown", "192.0.2.01", "fe80::1%eth0"])
def test_nothing_is_bound_to_an_address_that_cannot_be_read(client_ip: str) -> None:
    """Though there would be room."""
    assert judge(BoundAddresses(9), WATCH._replace(client_ip=client_ip), GOOD, NOW) is Reason.ADDRESS_UNKNOWN


# -- countries


@pytest.mark.parametrize(
    ("caveat", "country", "reason"),
    [
        (Countries(allowed=("PL", "DE")), "PL", None),
        (Countries(allowed=("PL", "DE")), "DE", None),
        (Countries(allowed=("PL", "DE")), "FR", Reason.COUNTRY_NOT_ALLOWED),
        (Countries(allowed=("PL", "DE")), "", Reason.COUNTRY_UNKNOWN),
        (Countries(denied=("PL", "DE")), "PL", Reason.COUNTRY_NOT_ALLOWED),
        (Countries(denied=("PL", "DE")), "FR", None),
        (Countries(denied=("PL", "DE")), "", None),
        (Countries(("PL",), ("PL",)), "PL", Reason.COUNTRY_NOT_ALLOWED),
        (Countries(("PL",), ("DE",)), "PL", None),
        (Countries(("PL",), ("DE",)), "", Reason.COUNTRY_UNKNOWN),
        (Countries(), "PL", None),
    ],
)
def test_countries(caveat: Countries, country: str, reason: Reason | None) -> None:
    """In the list of allowed ones, or outside that of denied ones; nowhere known is not allowed, and not denied."""
    assert judge(caveat, WATCH, GOOD._replace(country=country), NOW) is reason


@pytest.mark.parametrize("applies_to", [Action.PUBLISH, Action.SUBSCRIBE])
def test_countries_are_asked_of_what_they_are_about(applies_to: Action) -> None:
    """Not of the other action, wherever it comes from."""
    caveat = Countries(allowed=("PL",), applies_to=(applies_to,))
    for access in (PUBLISH, WATCH):
        asked = access.action is applies_to
        assert judge(caveat, access, GOOD._replace(country="DE"), NOW) is (
            Reason.COUNTRY_NOT_ALLOWED if asked else None
        )
        assert judge(caveat, access, ELSEWHERE, NOW) is (Reason.ADDRESS_NOT_TRUSTED if asked else None)


# -- what a client says


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("https://example.org", None),
        ("http://example.org:8080", None),
        ("https://EXAMPLE.org", None),
        ("https://a.example.net", None),
        ("https://example.net", Reason.ORIGIN_NOT_ALLOWED),
        ("https://evilexample.org", Reason.ORIGIN_NOT_ALLOWED),
        ("null", Reason.ORIGIN_NOT_ALLOWED),
        ("", Reason.ORIGIN_NOT_ALLOWED),
        ("https://example.org/", Reason.ORIGIN_NOT_ALLOWED),
        ("https://example.org\n", Reason.ORIGIN_NOT_ALLOWED),
        (None, Reason.ORIGIN_MISSING),
    ],
)
def test_origins(origin: str | None, reason: Reason | None) -> None:
    """One of the patterns has to match; what is no origin matches none, and none at all is told apart."""
    caveat = Origins((parse_origin_pattern("example.org"), parse_origin_pattern("*.example.net")))
    assert judge(caveat, WATCH._replace(origin=origin), GOOD, NOW) is reason


def test_no_patterns_are_no_origins() -> None:
    """An empty list refuses every page."""
    assert judge(Origins(()), WATCH._replace(origin="https://example.org"), GOOD, NOW) is Reason.ORIGIN_NOT_ALLOWED


@pytest.mark.parametrize("protocol", Protocol)
def test_only_encoders_pass_without_an_origin(protocol: Protocol) -> None:
    """Where the owner says so; a browser's protocols always need one, and so does an engine that says nothing."""
    encoders = {Protocol.RTMP, Protocol.RTSP, Protocol.SRT}
    caveat = Origins((parse_origin_pattern("example.org"),), without_origin=True)
    access = PUBLISH._replace(protocol=protocol)
    assert judge(caveat, access, GOOD, NOW) is (None if protocol in encoders else Reason.ORIGIN_MISSING)
    assert judge(Origins(caveat.patterns), access, GOOD, NOW) is Reason.ORIGIN_MISSING
    wrong = access._replace(origin="https://evil.example")
    assert judge(caveat, wrong, GOOD, NOW) is Reason.ORIGIN_NOT_ALLOWED


@pytest.mark.parametrize("protocol", Protocol)
def test_protocols(protocol: Protocol) -> None:
    """One of those that are named; an engine that does not say is none of them."""
    caveat = Protocols((Protocol.RTMP, Protocol.HLS))
    reason = None if protocol in caveat.protocols else Reason.PROTOCOL_NOT_ALLOWED
    assert judge(caveat, WATCH._replace(protocol=protocol), GOOD, NOW) is reason


@pytest.mark.parametrize(
    ("said", "good"),
    [
        ("ExamplePlayer/2.1", True),
        ("exampleplayer/", True),
        ("VLC", True),
        ("vlc", True),
        ("VLC/3", False),
        ("The ExamplePlayer/2.1", False),
        ("", False),
    ],
)
def test_user_agents_and_referrers_match_as_a_whole(said: str, good: bool) -> None:
    """`*` stands for anything, upper and lower case are the same; one of the patterns is enough."""
    patterns = (compile_wildcard("ExamplePlayer/*"), compile_wildcard("VLC"))
    agent = judge(UserAgents(patterns), WATCH._replace(user_agent=said, referrer="x"), GOOD, NOW)
    page = judge(Referrers(patterns), WATCH._replace(referrer=said, user_agent="x"), GOOD, NOW)
    assert (agent, page) == ((None, None) if good else (Reason.USER_AGENT_NOT_ALLOWED, Reason.REFERRER_NOT_ALLOWED))


# -- sessions


LIMITED = [SessionLimit(1), SingleUse(), Budgets(session_seconds=1), Budgets(watch_seconds=1), Budgets(bytes=1)]


@pytest.mark.parametrize("caveat", LIMITED)
def test_what_counts_sessions_refuses_where_nobody_tells_of_them(caveat: Condition) -> None:
    """Also the first one."""
    assert judge(caveat, WATCH, NOT_TOLD, NOW) is Reason.USAGE_UNKNOWN


def test_starts_are_counted_where_nobody_tells_of_sessions() -> None:
    """They are known when they begin."""
    assert judge(Budgets(starts=1), WATCH, NOT_TOLD, NOW) is None


def test_bytes_need_an_engine_that_tells_them() -> None:
    """Sessions alone are not enough, and for the other budgets they are."""
    standing = GOOD._replace(bytes_told=False)
    assert judge(Budgets(bytes=1), WATCH, standing, NOW) is Reason.USAGE_UNKNOWN
    assert judge(Budgets(session_seconds=1, watch_seconds=1), WATCH, standing, NOW) is None


@pytest.mark.parametrize(("most", "reason"), [(1, Reason.TOO_MANY_SESSIONS), (2, Reason.TOO_MANY_SESSIONS), (3, None)])
def test_as_many_sessions_as_the_limit_says(most: int, reason: Reason | None) -> None:
    """Two are open: -1, 0, +1 around that."""
    assert judge(SessionLimit(most), WATCH, _sessions(None, None), NOW) is reason


@pytest.mark.parametrize(
    ("over", "reason"), [(Over.REFUSE, Reason.TOO_MANY_SESSIONS), (Over.END_OLDEST, None), (Over.GRACE, None)]
)
def test_one_session_too_many(over: Over, reason: Reason | None) -> None:
    """It is refused, or an older one makes room."""
    assert judge(SessionLimit(2, over=over, grace_seconds=5), WATCH, _sessions(None, None), NOW) is reason


@pytest.mark.parametrize(
    ("over", "ends_at", "reason"),
    [
        (Over.REFUSE, NOW + 1, Reason.TOO_MANY_SESSIONS),
        (Over.REFUSE, NOW, None),
        (Over.GRACE, NOW + 1, None),
        (Over.END_OLDEST, NOW + 1, None),
    ],
)
def test_a_session_that_has_to_end(over: Over, ends_at: float, reason: Reason | None) -> None:
    """It counts until then where one too many is refused, and leaves room where the oldest makes it."""
    limit = SessionLimit(2, over=over, grace_seconds=5 if over is Over.GRACE else 0)
    assert judge(limit, WATCH, _sessions(None, ends_at), NOW) is reason


@pytest.mark.parametrize(("most", "reason"), [(1, Reason.TOO_MANY_SESSIONS), (2, Reason.TOO_MANY_SESSIONS), (3, None)])
def test_no_more_sessions_leave_at_a_time_than_the_limit_says(most: int, reason: Reason | None) -> None:
    """Else a client that reconnects without end has any number of them: two are leaving, -1, 0, +1 around that."""
    leaving = _sessions(NOW + 1, NOW + 1, *[None] * most)
    assert judge(SessionLimit(most, over=Over.GRACE, grace_seconds=5), WATCH, leaving, NOW) is reason


@pytest.mark.parametrize(("end_at", "room"), [(NOW - 1, True), (NOW, True), (NOW + 1, False)])
def test_a_session_whose_grace_is_over_leaves_no_more(end_at: float, room: bool) -> None:
    """-1, 0, +1 around its end, though its engine has not told of it yet."""
    caveat = SessionLimit(1, over=Over.GRACE, grace_seconds=5)
    reason = None if room else Reason.TOO_MANY_SESSIONS
    assert judge(caveat, WATCH, _sessions(end_at, None), NOW) is reason


@pytest.mark.parametrize(
    ("caveat", "reason"), [(SessionLimit(1), Reason.TOO_MANY_SESSIONS), (SingleUse(), Reason.TOKEN_USED)]
)
@pytest.mark.parametrize(("end_at", "good"), [(None, True), (NOW + 1, True), (NOW, False), (NOW - 1, False)])
def test_a_session_goes_on_until_it_has_to_end(
    caveat: Condition, reason: Reason, end_at: float | None, good: bool
) -> None:
    """Whatever else is open; -1, 0, +1 around its end."""
    own = Session(1, NOW - 10, end_at)
    standing = _sessions(None, None, None, own=own)
    standing = standing._replace(usage=standing.usage._replace(starts=9), live=False)
    assert judge(caveat, WATCH, standing, NOW) is (None if good else reason)


# -- single use


def test_a_single_use_is_the_first() -> None:
    """And not the second."""
    assert judge(SingleUse(), WATCH, GOOD, NOW) is None
    assert judge(SingleUse(), WATCH, _used(starts=1), NOW) is Reason.TOKEN_USED


def test_a_single_use_is_not_spent_on_a_stream_that_is_not_live() -> None:
    """For viewers, and only where something new begins; who publishes makes it live."""
    idle = GOOD._replace(live=False)
    assert judge(SingleUse(), WATCH, idle, NOW) is Reason.STREAM_NOT_LIVE
    assert judge(SingleUse(), PUBLISH, idle, NOW) is None
    assert judge(SingleUse(), WATCH, idle._replace(running=True), NOW) is None


def _back(last_at: float | None, ip: str = "192.0.2.1") -> Standing:
    return _used(starts=1, last_at=last_at, last_address=parse_address(ip))


@pytest.mark.parametrize(
    ("last_at", "good"),
    [(NOW - 31, False), (NOW - 30, False), (NOW - 29, True), (NOW, True), (None, True)],
)
def test_a_page_may_be_loaded_again_within_the_grace(last_at: float | None, good: bool) -> None:
    """-1, 0, +1 around the end of it; it has not begun while the session is open."""
    assert judge(SingleUse(30), WATCH, _back(last_at), NOW) is (None if good else Reason.TOKEN_USED)


@pytest.mark.parametrize("ip", ["192.0.2.2", "", "2001:db8::1"])
def test_only_the_same_address_loads_a_page_again(ip: str) -> None:
    """One that cannot be read is none, the one before as well as the one now."""
    assert judge(SingleUse(30), WATCH, _back(NOW, ip), NOW) is Reason.TOKEN_USED
    assert judge(SingleUse(30), WATCH._replace(client_ip=ip), _back(NOW), NOW) is Reason.TOKEN_USED
    assert judge(SingleUse(30), WATCH._replace(client_ip=""), _back(NOW, ""), NOW) is Reason.TOKEN_USED


def test_an_address_that_may_be_made_up_loads_no_page_again() -> None:
    """The first use is let in, since it is about no address."""
    assert judge(SingleUse(30), WATCH, _back(NOW)._replace(address_trusted=False), NOW) is Reason.TOKEN_USED
    assert judge(SingleUse(30), WATCH, ELSEWHERE, NOW) is None


# -- budgets


@pytest.mark.parametrize(("since", "good"), [(NOW - 59, True), (NOW - 60, False), (NOW - 61, False)])
def test_a_session_runs_for_its_budget(since: float, good: bool) -> None:
    """-1, 0, +1 around its end; a new one begins."""
    standing = _used(own=Session(1, since))
    assert judge(Budgets(session_seconds=60), WATCH, standing, NOW) is (None if good else Reason.SESSION_TOO_LONG)
    assert judge(Budgets(session_seconds=60), WATCH, GOOD, NOW) is None


@pytest.mark.parametrize(("seconds", "good"), [(99, True), (99.999, True), (100, False), (101, False)])
def test_watch_time_is_spent_by_all_sessions_together(seconds: float, good: bool) -> None:
    """-1, 0, +1 around the budget; those that ended, one that is open, or both."""
    reason = None if good else Reason.WATCH_TIME_SPENT
    for use in (
        {"watched_seconds": seconds},
        {"open_since": (NOW - seconds,)},
        {"watched_seconds": seconds - 50.0, "open_since": (NOW - 20, NOW - 30)},
    ):
        assert judge(Budgets(watch_seconds=100), WATCH, _used(**use), NOW) is reason


def test_a_session_that_begins_in_the_future_has_not_run() -> None:
    """Clocks of two machines differ; it takes nothing back either."""
    assert watched_seconds(Usage(watched_seconds=5.0, open_since=(NOW + 10, NOW - 1)), NOW) == 6.0


@pytest.mark.parametrize(("carried", "good"), [(99, True), (100, False), (101, False)])
def test_bytes_are_spent(carried: int, good: bool) -> None:
    """-1, 0, +1 around the budget."""
    assert judge(Budgets(bytes=100), WATCH, _used(bytes=carried), NOW) is (None if good else Reason.BYTES_SPENT)


@pytest.mark.parametrize(("starts", "good"), [(1, True), (2, False), (3, False)])
def test_starts_are_spent(starts: int, good: bool) -> None:
    """-1, 0, +1 around the budget; what goes on is no start."""
    assert judge(Budgets(starts=2), WATCH, _used(starts=starts), NOW) is (None if good else Reason.STARTS_SPENT)
    assert judge(Budgets(starts=2), WATCH, _used(starts=starts, own=Session(1, NOW)), NOW) is None


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        ({"starts": 5}, Reason.STARTS_SPENT),
        ({"watched_seconds": 5.0}, Reason.WATCH_TIME_SPENT),
        ({"bytes": 5}, Reason.BYTES_SPENT),
        ({"own": Session(1, NOW - 5)}, Reason.SESSION_TOO_LONG),
        ({"starts": 4, "watched_seconds": 4.0, "bytes": 4, "own": Session(1, NOW - 4)}, None),
    ],
)
def test_each_budget_is_one_of_its_own(use: dict[str, Any], reason: Reason | None) -> None:
    """One that is spent is enough."""
    caveat = Budgets(session_seconds=5, watch_seconds=5, bytes=5, starts=5)
    assert judge(caveat, WATCH, _used(**use), NOW) is reason


@pytest.mark.parametrize(
    ("caveat", "use"),
    [
        (Budgets(session_seconds=0), {"own": Session(1, NOW)}),
        (Budgets(watch_seconds=0), {}),
        (Budgets(bytes=0), {}),
        (Budgets(starts=0), {}),
    ],
)
def test_a_budget_of_nothing_is_spent(caveat: Budgets, use: dict[str, Any]) -> None:
    """Zero is a number like any other."""
    assert judge(caveat, WATCH, _used(**use), NOW) is not None
