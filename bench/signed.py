"""What verifying a child token costs: warm, as each further call of an engine has it, and cold, as the first one."""

import time
import timeit
from collections.abc import Callable
from typing import Any

import jwt

from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms
from stagedoor.service.child_ports import Parentage
from stagedoor.service.children import Children
from stagedoor.service.ports import Facts, TokenFacts
from stagedoor.sign import sign_child
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.sealed import sealed_at
from stagedoor.tokens.shown import shown_digest
from stagedoor.tokens.signed import parse_signed, verify_child

CALLS = 2_000
ROUNDS = 7
WARM_GOAL, COLD_GOAL = 5.0, 1.5


def print_signed_figures() -> None:
    """Measure both, in turns with PyJWT's decode of the same token, and print the medians of the rounds' ratios."""
    parent = "d2e166fdda89824a6c493d8a2af7a0754199eff9e38c579cba8783767a44039c"
    text = sign_child(
        parent,
        token_id=12345,
        stream_name="myStreamName",
        issued_at=1_750_813_271,
        expires_at=4_102_444_800,
        tracking={"trackingId": "groupAbc"},
        custom_viewer_data="user=user123;appVersion=x.y.z",
    )
    keyring = Keyring.generate()
    terms = TokenTerms(label="x", streams=(StreamPattern("myStreamName"),))
    token_id = TokenId(12345)
    record = TokenRecord(
        id=token_id,
        account=AccountId("acc"),
        kind=TokenKind.SUBSCRIBE,
        terms=terms,
        digest=b"d" * 32,
        sealed=keyring.seal(Secret(parent), sealed_at(token_id)),
        added_on=0,
    )
    nothing: Any = None
    children = Children(keyring=keyring, source=nothing, store=nothing, clock=time.time)
    read = Facts(None, record.account, (), 1, parentage=Parentage(record))
    known: dict[bytes, TokenFacts] = {}

    def cold() -> bool:
        unverified = parse_signed(text)
        return unverified is not None and bool(verify_child(unverified, Secret(parent)))

    def whole() -> TokenFacts:
        return children.facts(read, children.ask(text))

    def warm() -> TokenFacts:
        digest = shown_digest(keyring.digest, text)
        assert digest is not None
        return known[digest]

    def decode() -> object:
        return jwt.decode(text, parent, algorithms=["HS256"])

    digest = shown_digest(keyring.digest, text)
    assert digest is not None
    known[digest] = whole()
    assert known[digest].token is not None
    assert cold()
    print("a child token, verified (microseconds of processor time; ratio to PyJWT's decode of the same token)")
    rounds = [tuple(_cost(call) for call in (decode, warm, cold, whole)) for _ in range(ROUNDS)]
    decoded, warmed, colded, done = (sorted(costs)[ROUNDS // 2] for costs in zip(*rounds, strict=True))
    faster = sorted(theirs / ours for theirs, ours, *_ in rounds)[ROUNDS // 2]
    slower = sorted(ours / theirs for theirs, _, ours, _ in rounds)[ROUNDS // 2]
    print(f"  {'PyJWT':<34}{decoded:>8.2f}")
    print(
        f"  {'warm':<34}{warmed:>8.2f}  {faster:.1f} times as fast (goal >= {WARM_GOAL:.0f}: {_met(faster >= WARM_GOAL)})"
    )
    print(
        f"  {'cold: its claims and its signature':<34}{colded:>8.2f}  {slower:.2f} times its cost (goal <= {COLD_GOAL}: {_met(slower <= COLD_GOAL)})"
    )
    rest = sorted(ours / theirs for theirs, *_, ours in rounds)[ROUNDS // 2]
    print(f"  {'cold, with its parent and its rules':<35}{done:>7.2f}  {rest:.2f} times its cost")


def _met(good: bool) -> str:
    return "met" if good else "MISSED"


def _cost(call: Callable[[], object]) -> float:
    return timeit.timeit(call, number=CALLS, timer=time.process_time) / CALLS * 1e6
