"""What one decision costs in process, by what it has to look at."""

import timeit
from collections.abc import Callable
from functools import partial

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.decision import Standing
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId, StreamId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord, TokenState, TokenTerms
from stagedoor.policy import decide
from stagedoor.tokens.verify import verified

NOW = 1_000_000
ROUNDS = 5
CALLS = 20_000


def print_decision_figures() -> None:
    """Measure `decide` and print the median of some rounds, in microseconds of this machine today."""
    print("one decision in process, warm")
    access = Access(Action.PUBLISH, StreamId(AccountId("acc"), "cam-1"), Protocol.RTMP, "203.0.113.7")
    standing = Standing(TokenState.ACTIVE, True, True, (), 1)
    names = (StreamPattern("cam-1"),)
    cases = {
        "exact name": TokenTerms(label="x", streams=names),
        "exact name, window": TokenTerms(label="x", streams=names, not_before=1, expires_at=NOW * 2),
        "regular expression": TokenTerms(label="x", streams=(StreamPattern("cam-[0-9]+", True),)),
        "all rules there are": TokenTerms(
            label="x",
            streams=(StreamPattern("cam-[0-9]+", True),),
            not_before=1,
            expires_at=NOW * 2,
            allowed_addresses=("203.0.113.0/24", "2001:db8::/32"),
        ),
    }
    for name, terms in cases.items():
        record = TokenRecord(
            id=TokenId(1),
            account=AccountId("acc"),
            kind=TokenKind.PUBLISH,
            terms=terms,
            digest=b"",
            sealed=b"",
            added_on=0,
        )
        token = verified(record)
        assert decide(token, access, standing, NOW).allowed
        cost = _microseconds(partial(decide, token, access, standing, NOW))
        print(f"  {name:<22}{cost:>8.2f} us")


def _microseconds(call: Callable[[], object]) -> float:
    return sorted(timeit.repeat(call, number=CALLS, repeat=ROUNDS))[ROUNDS // 2] / CALLS * 1e6
