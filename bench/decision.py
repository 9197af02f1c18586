"""What one decision costs in process, by what it has to look at."""

import time
import timeit
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import OPEN, AccountPolicy
from stagedoor.model.addresses import parse_network
from stagedoor.model.caveats import Budgets, ClientAddresses, Countries, Over, SessionLimit, SingleUse
from stagedoor.model.decision import Decision, Standing
from stagedoor.model.grant import StreamPattern
from stagedoor.model.hours import Hours, Window
from stagedoor.model.ids import AccountId, StreamId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord, TokenState, TokenTerms, VerifiedToken
from stagedoor.model.usage import Effects, Session, Usage
from stagedoor.policy import admit, decide
from stagedoor.tokens.verify import verified

NOW = 1_000_000
ROUNDS = 7
CALLS = 20_000
GOAL_MICROSECONDS = 25.0

EVERY_RULE = TokenTerms(
    label="x",
    streams=(StreamPattern("stage"), StreamPattern("cam-[0-9]+", True)),
    not_before=1,
    expires_at=NOW * 2,
    hours=Hours("Europe/Warsaw", (Window((0, 1, 2, 3, 4, 5, 6), 0, 1440),)),
    end_sessions_at_expiry=True,
    bind_ips_on_usage=2,
    bind_ipv4_bits=24,
    bind_ipv6_bits=64,
    rebinds_an_hour=3,
    allowed_origins=("https://www.example.com", "*.example.com"),
    allowed_countries=("PL", "DE"),
    allowed_protocols=(Protocol.WEBRTC, Protocol.HLS),
    allowed_user_agents=("*Firefox*", "*Chrome*"),
    allowed_referrers=("https://*.example.com/*",),
    subject="user-1",
    session_limit=SessionLimit(3, over=Over.GRACE, grace_seconds=10),
    single_use=SingleUse(10),
    budgets=Budgets(3600, 7200, 10**9, 100),
)
"""Every rule there is. (Addresses exclude binding, so those are added below: the policy judges both.)"""


def print_decision_figures() -> None:
    """Measure `decide` and print the median of some rounds, in microseconds of processor time of this machine today."""
    print("one decision in process, warm (microseconds of processor time)")
    names = (StreamPattern("cam-1"),)
    plain = Standing(TokenState.ACTIVE, OPEN, True, (), 1)
    encoder = Access(Action.PUBLISH, StreamId(AccountId("acc"), "cam-1"), Protocol.RTMP, "203.0.113.7")
    cases = {
        "exact name": TokenTerms(label="x", streams=names),
        "exact name, window": TokenTerms(label="x", streams=names, not_before=1, expires_at=NOW * 2),
        "regular expression": TokenTerms(label="x", streams=(StreamPattern("cam-[0-9]+", True),)),
    }
    for name, terms in cases.items():
        _print(name, partial(decide, _token(TokenKind.PUBLISH, terms), encoder, plain, NOW))
    browser = Access(
        Action.SUBSCRIBE,
        StreamId(AccountId("acc"), "cam-1"),
        Protocol.WEBRTC,
        "203.0.113.7",
        "https://shop.example.com",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "https://shop.example.com/live/cam-1",
    )
    usage = Usage(
        bound={parse_network("198.51.100.0/24"): 1.0, parse_network("203.0.113.0/24"): 2.0},
        watched_seconds=100.0,
        bytes=1000,
        open_since=(NOW - 10.0, NOW - 5.0),
        sessions=(Session(1, NOW - 10.0), Session(2, NOW - 5.0)),
    )
    everything = plain._replace(
        account=AccountPolicy(longest_lifetime_seconds=NOW * 2, countries=Countries(denied=("US",))),
        viewer_caveats=(Countries(allowed=("PL",)),),
        country="PL",
        live=True,
        usage=usage,
    )
    token = _token(TokenKind.SUBSCRIBE, EVERY_RULE)
    cost = _print("every rule there is", partial(decide, token, browser, everything, NOW))
    print(f"  {'':<34}(goal <= {GOAL_MICROSECONDS:.0f}: {'met' if cost <= GOAL_MICROSECONDS else 'MISSED'})")
    _print("every rule, and what it changes", partial(admit, token, browser, everything, NOW))


def _token(kind: TokenKind, terms: TokenTerms) -> VerifiedToken:
    record = TokenRecord(
        id=TokenId(1), account=AccountId("acc"), kind=kind, terms=terms, digest=b"", sealed=b"", added_on=0
    )
    token = verified(record)
    if terms is not EVERY_RULE:
        return token
    return replace(token, caveats=(*token.caveats, ClientAddresses((parse_network("203.0.113.0/24"),))))


def _print(name: str, call: Callable[[], Decision | tuple[Decision, Effects]]) -> float:
    answer = call()
    decision = answer if isinstance(answer, Decision) else answer[0]
    assert decision.reason == "ok", decision
    rounds = timeit.repeat(call, number=CALLS, repeat=ROUNDS, timer=time.process_time)
    cost = sorted(rounds)[ROUNDS // 2] / CALLS * 1e6
    print(f"  {name:<34}{cost:>8.2f}")
    return cost
