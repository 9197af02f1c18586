"""Between rows and records.

Security: a setting that stands in a row and is not known here limits somebody. It is told of by its name, it refuses, and a
row that holds one is not written anew, since it would be lost.
"""

import logging
import string
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import RowMapping

from stagedoor.model.access import Action, Protocol
from stagedoor.model.account import AccountPolicy
from stagedoor.model.addresses import Network
from stagedoor.model.engine import AddressTrust, Engine, EngineKind
from stagedoor.model.errors import InvalidInput
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import OpenSession, SessionStart, TokenUse
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms

_log = logging.getLogger(__name__)

_TERMS: Final = msgspec.json.Decoder(TokenTerms)
_POLICY: Final = msgspec.json.Decoder(AccountPolicy)
_INSTANTS: Final = msgspec.json.Decoder(tuple[float, ...])

_Settings = TypeVar("_Settings", bound=TokenTerms | AccountPolicy)
_NO_GRANT: Final = {"label": "", "streams": []}
"""Stands for what terms cannot be without, where that is not understood."""

_LONGEST_CLUSTER: Final = 64
"""What the column that is searched takes; terms of an earlier version may have named longer ones."""

_EVERY_NAME: Final = frozenset({".*", ".+"})
"""Regular expressions that match every stream name."""

_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def write_terms(terms: TokenTerms) -> str:
    """Write terms as JSON.

    Raises: InvalidInput for terms with settings that are not understood.
    """
    return _write(terms, terms.not_understood)


def _write(settings: TokenTerms | AccountPolicy, not_understood: tuple[str, ...]) -> str:
    if not_understood:
        names = ", ".join(not_understood)
        raise InvalidInput(f"a newer version set {names}, which this one would lose; upgrade stagedoor")
    return _written(settings)


def _written(settings: TokenTerms | AccountPolicy) -> str:
    known: dict[str, object] = msgspec.to_builtins(settings)
    for found_anew in ("not_understood", "tells_viewers"):
        known.pop(found_anew, None)
    return msgspec.json.encode(known).decode()


def _read_terms(text: str) -> TokenTerms:
    terms, names = _read(text, _TERMS)
    return replace(terms, not_understood=names) if names else terms


def _read(text: str, decoder: msgspec.json.Decoder[_Settings]) -> tuple[_Settings, tuple[str, ...]]:
    """Read settings, and the names of those that are not known here, at any depth, or set to what is not known here."""
    with suppress(msgspec.ValidationError):
        read = decoder.decode(text)
        # What is written as it stands there has nothing else in it; to look for that takes several times as long.
        if _written(read) == text:
            return read, ()
    stored: dict[str, object] = msgspec.json.decode(text)
    strange: list[str] = []
    try:
        read = decoder.decode(text)
    except msgspec.ValidationError:
        types = {field.name: field.type for field in fields(decoder.type)}
        strange = [name for name, value in stored.items() if name in types and not _fits(value, types[name])]
        rest = {name: value for name, value in stored.items() if name not in strange}
        read = msgspec.convert(_NO_GRANT | rest, decoder.type)
    return read, tuple(sorted({*strange, *_missing(stored, msgspec.to_builtins(read))}))


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _missing(stored: object, known: object) -> Iterator[str]:
    """Yield the names of what is `stored` and not `known`."""
    if isinstance(stored, dict) and isinstance(known, dict):
        for name, value in stored.items():
            if name not in known:
                yield name
            else:
                yield from _missing(value, known[name])
    elif isinstance(stored, list) and isinstance(known, list | tuple):
        for value, of_it in zip(stored, known, strict=False):
            yield from _missing(value, of_it)


def record_of(row: RowMapping) -> TokenRecord:
    """Read a row of `token`."""
    return TokenRecord(
        id=TokenId(row["id"]),
        account=AccountId(sys.intern(row["account_id"])),
        kind=TokenKind(row["kind"]),
        terms=_read_terms(row["terms"]),
        digest=row["digest"],
        sealed=row["sealed"],
        added_on=row["added_on"],
        revoked_at=row["revoked_at"],
        parent=None if row["parent_id"] is None else TokenId(row["parent_id"]),
        key_id=row["key_id"] or 0,
    )


def token_row(record: TokenRecord) -> dict[str, object]:
    """Write a row of `token`, without its id and its tombstone.

    Raises: InvalidInput for terms with settings that are not understood.
    """
    return {
        "account_id": record.account,
        "kind": record.kind,
        "label": record.terms.label,
        "terms": write_terms(record.terms),
        "digest": record.digest,
        "sealed": record.sealed,
        "added_on": record.added_on,
        "expires_at": record.terms.expires_at,
        # A longer one is no cluster's id, and is found by none.
        "cluster_id": record.terms.origin_cluster[:_LONGEST_CLUSTER],
        "parent_id": record.parent,
        "key_id": record.key_id or None,
    }


def write_policy(policy: AccountPolicy) -> str:
    """Write an account's policy as JSON.

    Raises: InvalidInput for a policy with settings that are not understood.
    """
    return _write(policy, policy.not_understood)


def policy_of(row: RowMapping) -> AccountPolicy:
    """Read a row of `account`."""
    policy, names = _read(row["policy"], _POLICY)
    if names:
        # Security: a rule for all tokens that is not understood lets none of them in.
        _log.error(
            "account %s sets %s, which this version does not know; upgrade stagedoor", row["id"], ", ".join(names)
        )
    return replace(policy, enabled=row["enabled"] and not names, not_understood=names)


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
        media_url=row["media_url"],
        cluster_id=row["cluster_id"],
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
        row["shown"],
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
        "shown": start.shown,
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


def searched_names(terms: TokenTerms) -> tuple[str, ...]:
    """Return the stream names that a token is searched by, as they were written; none where any name would do."""
    if len(terms.streams) == 1 and terms.streams[0].is_regex and terms.streams[0].text in _EVERY_NAME:
        return ()
    return tuple(dict.fromkeys(pattern.text for pattern in terms.streams))


def lower_ascii(text: str) -> str:
    """Return a text with the letters of ASCII in lower case and the others as they are, as databases do it."""
    return text.translate(_LOWER)


def distinct(records: Iterable[TokenRecord]) -> tuple[TokenRecord, ...]:
    """Return the records with each token once."""
    return tuple({record.id: record for record in records}.values())
