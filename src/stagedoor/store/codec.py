"""Between rows and records."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import msgspec
from sqlalchemy import RowMapping

from stagedoor.model.access import Action, Protocol
from stagedoor.model.account import AccountPolicy
from stagedoor.model.addresses import Network
from stagedoor.model.engine import AddressTrust, Engine, EngineKind
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import OpenSession, SessionStart, TokenUse
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms

_TERMS: Final = msgspec.json.Decoder(TokenTerms)
_POLICY: Final = msgspec.json.Decoder(AccountPolicy)
_INSTANTS: Final = msgspec.json.Decoder(tuple[float, ...])


def write_terms(terms: TokenTerms) -> str:
    """Write terms as JSON."""
    return msgspec.json.encode(terms).decode()


def record_of(row: RowMapping) -> TokenRecord:
    """Read a row of `token`."""
    return TokenRecord(
        id=TokenId(row["id"]),
        account=AccountId(sys.intern(row["account_id"])),
        kind=TokenKind(row["kind"]),
        terms=_TERMS.decode(row["terms"]),
        digest=row["digest"],
        sealed=row["sealed"],
        added_on=row["added_on"],
        revoked_at=row["revoked_at"],
    )


def write_policy(policy: AccountPolicy) -> str:
    """Write an account's policy as JSON."""
    return msgspec.json.encode(policy).decode()


def policy_of(row: RowMapping) -> AccountPolicy:
    """Read a row of `account`."""
    return replace(_POLICY.decode(row["policy"]), enabled=row["enabled"])


def engine_of(row: RowMapping) -> Engine:
    """Read a row of `engine`."""
    return Engine(
        id=EngineId(row["id"]),
        kind=EngineKind(row["kind"]),
        name=row["name"],
        account=AccountId(row["account_id"]),
        secret_digest=row["secret_digest"],
        added_on=row["added_on"],
        address_trust=AddressTrust(row["address_trust"]),
        control_url=row["control_url"],
    )


def session_of(row: RowMapping) -> OpenSession:
    """Read a row of `session`."""
    start = SessionStart(
        AccountId(row["account_id"]),
        TokenId(row["token_id"]),
        row["subject"],
        EngineId(row["engine_id"]),
        row["engine_session"],
        row["stream"],
        Action(row["action"]),
        Protocol(row["protocol"]),
        row["client_ip"],
        row["since"],
    )
    return OpenSession(id=row["id"], start=start, seen_at=row["seen_at"], end_at=row["end_at"], bytes=row["bytes"])


def session_row(start: SessionStart) -> dict[str, object]:
    """Write a new row of `session`."""
    return {
        "engine_id": start.engine,
        "engine_session": start.session,
        "account_id": start.account,
        "token_id": start.token_id,
        "subject": start.subject,
        "stream": start.stream,
        "action": start.action,
        "protocol": start.protocol,
        "client_ip": start.client_ip,
        "since": start.at,
        "seen_at": start.at,
        "end_at": None,
        "ended_at": None,
        "bytes": 0,
    }


def use_of(row: RowMapping | None, bound: Mapping[Network, float]) -> TokenUse:
    """Read a row of `token_use`; None is a token that was not used yet."""
    if row is None:
        return TokenUse(bound=bound)
    return TokenUse(
        starts=row["starts"],
        watched_seconds=row["watched_seconds"],
        bytes=row["bytes"],
        last_ip=row["last_ip"],
        last_at=row["last_at"],
        rebinds=_INSTANTS.decode(row["rebinds"]),
        bound=bound,
    )


def write_instants(instants: Iterable[float]) -> str:
    """Write instants as JSON."""
    return msgspec.json.encode(list(instants)).decode()


def publisher_names(terms: TokenTerms) -> Iterator[str]:
    """Yield the names under which `publisher_stream` finds a publish token; empty for its regular expressions."""
    yield from dict.fromkeys("" if pattern.is_regex else pattern.text for pattern in terms.streams)


def distinct(records: Iterable[TokenRecord]) -> tuple[TokenRecord, ...]:
    """Return the records with each token once."""
    return tuple({record.id: record for record in records}.values())
