"""What the unit tests share."""

from collections.abc import Callable

import pytest

from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import PublishOptions, TokenKind, TokenRecord, TokenTerms
from stagedoor.tokens.keyring import Keyring


@pytest.fixture
def keyring() -> Keyring:
    """Return a keyring with new keys."""
    return Keyring.generate()


@pytest.fixture
def make_record() -> Callable[..., TokenRecord]:
    """Return a maker of records: `terms` by keyword, `names` and `regexes` of its streams, `requires_auth`."""

    def make(
        *,
        kind: TokenKind = TokenKind.PUBLISH,
        names: tuple[str, ...] = ("show",),
        regexes: tuple[str, ...] = (),
        requires_auth: bool = False,
        revoked_at: int | None = None,
        **terms: object,
    ) -> TokenRecord:
        streams = tuple(StreamPattern(name) for name in names) + tuple(StreamPattern(text, True) for text in regexes)
        values: dict[str, object] = {"label": "test", "streams": streams} | terms
        values.setdefault("publishing", PublishOptions(subscribe_requires_auth=requires_auth))
        return TokenRecord(
            id=TokenId(7),
            account=AccountId("acct"),
            kind=kind,
            terms=TokenTerms(**values),  # type: ignore[arg-type]
            digest=b"d" * 32,
            sealed=b"",
            added_on=0,
            revoked_at=revoked_at,
        )

    return make
