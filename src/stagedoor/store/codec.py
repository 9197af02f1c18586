"""Between rows and records."""

import sys
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from sqlalchemy import RowMapping

from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms

_TERMS: Final = msgspec.json.Decoder(TokenTerms)


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


def publisher_names(terms: TokenTerms) -> Iterator[str]:
    """Yield the names under which `publisher_stream` finds a publish token; empty for its regular expressions."""
    yield from dict.fromkeys("" if pattern.is_regex else pattern.text for pattern in terms.streams)


def distinct(records: Iterable[TokenRecord]) -> tuple[TokenRecord, ...]:
    """Return the records with each token once."""
    return tuple({record.id: record for record in records}.values())
