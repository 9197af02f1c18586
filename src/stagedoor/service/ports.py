"""What the use cases need from outside, as protocols; `store` and `cluster` provide them.

Every write of a port is one transaction that also numbers it (the revision) and records what it touched (a `Change`).
It returns when no worker of this system answers by the old state any more.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from stagedoor.model.access import Access
from stagedoor.model.caveats import Caveat
from stagedoor.model.decision import Decision
from stagedoor.model.engine import Engine
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord, TokenState, TokenTerms, VerifiedToken

Clock = Callable[[], float]
"""Seconds since the epoch."""

Announce = Callable[[int], Awaitable[None]]
"""Make a committed revision known to every worker; returns when none answers by an older one."""


class ChangeKind(StrEnum):
    """What a change touches."""

    TOKEN = "token"
    PUBLISHERS = "publishers"
    ACCOUNT = "account"
    ENGINE = "engine"


class Change(NamedTuple):
    """One thing touched at `revision`: a token (by digest), the publish tokens of an account, an account, an engine."""

    revision: int
    kind: ChangeKind
    account: AccountId
    digest: bytes = b""


class Facts(NamedTuple):
    """What one read of the store says of a token and of a stream.

    `record` is None when no token has the digest. `publishers` are the publish tokens, revoked ones left out, that
    may cover the stream (exact name equal, or any regular expression). `revision` numbers the state that was read.
    """

    record: TokenRecord | None
    account: AccountId
    publishers: tuple[TokenRecord, ...]
    revision: int


class FactSource(Protocol):
    """The cold side of a decision."""

    async def facts(self, digest: bytes | None, account: AccountId, name: str, *, with_publishers: bool) -> Facts:
        """Read the token with `digest` and, if asked, the publishers of stream `name`, in one statement.

        The stream is of `account`, or where that is empty of the token's account.

        Raises: Unavailable when the store does not answer.
        """

    async def changes_after(self, revision: int) -> tuple[int, Sequence[Change] | None]:
        """Return the newest revision and what changed after `revision`, oldest first; None when that is not kept."""

    async def engines(self) -> Sequence[Engine]:
        """Return all engines."""

    async def disabled_accounts(self) -> frozenset[AccountId]:
        """Return the accounts that are closed."""


class SortBy(StrEnum):
    """Order of a list of tokens; equal labels go by id."""

    NAME = "Name"
    ADDED_ON = "AddedOn"


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: page `number` (from 1) of `size` rows each."""

    number: int
    size: int
    sort_by: SortBy = SortBy.NAME
    descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token about to be kept; `seal` makes the sealed value once the id is known, since it is bound to its row."""

    account: AccountId
    kind: TokenKind
    terms: TokenTerms
    digest: bytes
    seal: Callable[[TokenId], bytes]
    added_on: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChange:
    """What to change in a token: new terms, made from those in force inside the transaction, and maybe a new value."""

    terms: Callable[[TokenTerms], TokenTerms] | None = None
    digest: bytes | None = None
    sealed: bytes | None = None


class TokenStore(Protocol):
    """Tokens as their owners administer them. Revoked tokens are not found."""

    async def add_token(self, new: NewToken) -> TokenRecord:
        """Keep a new token and return it with its id."""

    async def token(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> TokenRecord:
        """Return a token.

        Raises: NotFound.
        """

    async def tokens(self, account: AccountId, kind: TokenKind, page: Page) -> Sequence[TokenRecord]:
        """Return one page of the account's tokens; empty past the end."""

    async def change_token(
        self, account: AccountId, kind: TokenKind, token_id: TokenId, change: TokenChange
    ) -> TokenRecord:
        """Apply `change` and return the token as it is now.

        Raises: NotFound; whatever `change.terms` raises, with nothing changed.
        """

    async def revoke_token(self, account: AccountId, kind: TokenKind, token_id: TokenId, at: int) -> None:
        """Put the tombstone `at` (seconds since the epoch).

        Raises: NotFound.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """An account with its first administrator and its first API secret (by digest)."""

    id: AccountId
    admin_email: str
    admin_password_hash: str
    api_secret_digest: bytes
    added_on: int


class AccountStore(Protocol):
    """Accounts and who may act for them."""

    async def add_first_account(self, new: NewAccount) -> None:
        """Keep the first account.

        Raises: Conflict when there is an account already.
        """

    async def accounts(self) -> Sequence[AccountId]:
        """Return all account ids, oldest first."""

    async def account_of_api_secret(self, digest: bytes) -> AccountId | None:
        """Return the open account whose API secret has `digest`; None when there is none."""

    async def set_account_enabled(self, account: AccountId, enabled: bool) -> None:
        """Open or close an account.

        Raises: NotFound.
        """


class EngineStore(Protocol):
    """The operator's media servers."""

    async def add_engine(self, engine: Engine) -> None:
        """Keep a new engine.

        Raises: Conflict when its name is taken; NotFound when its account does not exist.
        """

    async def engines(self) -> Sequence[Engine]:
        """Return all engines, by name."""

    async def remove_engine(self, name: str) -> None:
        """Forget an engine: its hook secret is refused from now on.

        Raises: NotFound.
        """

    async def replace_engine_secret(self, engine_id: EngineId, digest: bytes) -> None:
        """Give an engine a new hook secret; the old one is refused from now on.

        Raises: NotFound.
        """


class TokenFacts(NamedTuple):
    """A token as the view holds it: what it grants, and whether it stands. `token` is None when there is none."""

    token: VerifiedToken | None
    state: TokenState


class Publisher(NamedTuple):
    """A publish token that covers a stream, as watching that stream needs it. Times in seconds since the epoch."""

    active: bool
    not_before: int
    expires_at: int | None
    requires_auth: bool
    viewer_caveats: tuple[Caveat, ...]


Publishers = tuple[Publisher, ...]
"""All publish tokens that cover one stream, revoked ones left out."""


class View(Protocol):
    """This process's memory of the store, never older than the newest acknowledged write.

    Call `behind` first; while it is false the other reads are current, until the next await.
    """

    @property
    def revision(self) -> int:
        """The revision this view has caught up to."""

    def behind(self) -> bool:
        """Tell whether a newer revision was announced."""

    async def catch_up(self) -> None:
        """Ask the store and apply its changes; when this returns, nothing newer was announced.

        Raises: Unavailable when the store does not answer, or changes faster than it can be followed.
        """

    def engine(self, secret_digest: bytes) -> Engine | None:
        """Return the engine with that hook secret."""

    def account_enabled(self, account: AccountId) -> bool:
        """Tell whether an account is open; one that does not exist has nothing to close."""

    def token(self, digest: bytes) -> TokenFacts | None:
        """Return what is known of a token; None when the store has to be asked."""

    def publishers(self, account: AccountId, name: str) -> Publishers | None:
        """Return who covers a stream; None when the store has to be asked."""

    async def load(
        self, digest: bytes | None, account: AccountId, name: str, *, with_publishers: bool
    ) -> tuple[TokenFacts, Publishers, int]:
        """Ask the store, keep the answer while that is safe, and return it with the revision it was read at.

        Raises: Unavailable when the store does not answer.
        """


class AccessEvent(NamedTuple):
    """One decision, for the access log. Holds no secret. `at` is in seconds since the epoch.

    `event` is what was asked for: an action, or another word of the engine's dialect, which then has no `access`.
    """

    at: float
    decision: Decision
    event: str
    access: Access | None
    client_ip: str
    token_id: TokenId | None
    engine: str
    session: str


class AccessLog(Protocol):
    """Where decisions are told. Never blocks and never fails; what cannot be kept is counted."""

    def record(self, event: AccessEvent) -> None:
        """Take note of one decision."""
