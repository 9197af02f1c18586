"""What the use cases need from outside, as protocols; `store` and `cluster` provide them.

Every write of a port is one transaction that also numbers it (the revision) and records what it touched (a `Change`).
It returns when no worker of this system answers by the old state any more.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from stagedoor.model.access import Access
from stagedoor.model.account import AccountPolicy
from stagedoor.model.addresses import Network
from stagedoor.model.api_secret import ApiSecret
from stagedoor.model.caveats import Caveat
from stagedoor.model.cluster import Cluster, Place
from stagedoor.model.decision import Decision
from stagedoor.model.engine import Engine
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import Broadcast, OpenSession
from stagedoor.model.token import TokenKind, TokenRecord, TokenState, TokenTerms, VerifiedToken
from stagedoor.model.usage import UNUSED, Usage
from stagedoor.service.child_ports import Asked, Former, Parentage

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
    LIVE = "live"
    GROUP = "group"
    KEY = "key"
    CREDENTIAL = "credential"


class Change(NamedTuple):
    """One thing touched at `revision`.

    A token, the publish tokens of an account, an account, an engine, who is live, a group of streams, a key that we sign with,
    what somebody calls the API with. `key`: the digest of the token, the name of the stream that somebody began or ceased to
    publish, or the id of the group.
    """

    revision: int
    kind: ChangeKind
    account: AccountId
    key: bytes = b""


class Facts(NamedTuple):
    """What one read of the store says of a token and of a stream.

    `record` is None when no token has the digest; `bound` are the networks it is bound to. `publishers` are the publish
    tokens, revoked ones left out, that may cover the stream (exact name equal, or any regular expression); `live` are those it
    is being published with. `revision` numbers the state that was read. `parentage`: that of a token that others signed.
    `former_until`: the digest is of a value that the token had before, and that is good until then. `shown`: that digest, in such a case. `groups`: the streams in
    the groups that the token names. `key_revoked`: the key that we signed it with is.
    """

    record: TokenRecord | None
    account: AccountId
    publishers: tuple[TokenRecord, ...]
    revision: int
    live: tuple[TokenRecord, ...] = ()
    bound: Mapping[Network, float] = MappingProxyType({})
    parentage: Parentage | None = None
    former_until: int | None = None
    groups: tuple[str, ...] = ()
    key_revoked: bool = False
    shown: bytes = b""


class FactSource(Protocol):
    """The cold side of a decision."""

    async def facts(
        self, digest: bytes | None, account: AccountId, name: str, *, with_publishers: bool, asked: Asked | None = None
    ) -> Facts:
        """Read the token with `digest` and, if asked, the publishers of stream `name`, in one statement.

        The stream is of `account`, or where that is empty of the token's account. No token of ours having that digest, also
        read what is known of the parent that `asked` names; what is read of that is no older than `revision`.

        Raises: Unavailable when the store does not answer.
        """

    async def changes_after(self, revision: int) -> tuple[int, Sequence[Change] | None]:
        """Return the newest revision and what changed after `revision`, oldest first; None when that is not kept."""

    async def engines(self) -> Sequence[Engine]:
        """Return all engines."""

    async def account_policies(self) -> Mapping[AccountId, AccountPolicy]:
        """Return the policies of accounts; those that set nothing may be left out."""


class SortBy(StrEnum):
    """Order of a list of tokens; equal labels go by id."""

    NAME = "Name"
    ADDED_ON = "AddedOn"


class FilterBy(StrEnum):
    """What a name is looked for in."""

    NONE = "None"
    TOKEN_NAME = "TokenName"
    STREAM_NAME = "StreamName"
    TOKEN_OR_STREAM_NAME = "TokenOrStreamName"


class Idempotency(NamedTuple):
    """What tells a request for a new token that is sent again: the caller's own key, and a digest of what is asked for.

    The key has up to 255 characters, the fingerprint 32 bytes.
    """

    key: str
    fingerprint: bytes


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
    key_id: int = 0
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChange:
    """What to change in a token: new terms, made from those in force inside the transaction, and maybe a new value.

    `at`: when, in seconds since the epoch. `former` makes of the token what is kept of the value that it had, which stays good
    for a while; without it that one, and those before it, are dead.
    """

    at: float
    terms: Callable[[TokenTerms], TokenTerms] | None = None
    digest: bytes | None = None
    sealed: bytes | None = None
    former: Callable[[TokenRecord], Former] | None = None


class FormerUse(NamedTuple):
    """A value that a token had before, how often it was let in since, and when last. Instants in seconds since the epoch."""

    replaced_at: int
    until: int
    uses: int
    last_used_at: float | None


IDEMPOTENCY_SECONDS: Final = 24 * 3600
"""For how long a key stands for the request that it came with first."""


class TokenReader(Protocol):
    """Where single tokens are read."""

    async def token(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> TokenRecord:
        """Return a token.

        Raises: NotFound.
        """


class PolicyReader(Protocol):
    """Where it is read what accounts set."""

    async def account_policy(self, account: AccountId) -> AccountPolicy:
        """Return what an account sets for its tokens.

        Raises: NotFound.
        """


class TokenStore(Protocol):
    """Tokens as their owners administer them. Revoked tokens are not found."""

    async def add_token(self, new: NewToken) -> TokenRecord:
        """Keep a new token and return it with its id. Those that are added at the same time may share one write.

        With the `idempotency` of a token that the account added within `IDEMPOTENCY_SECONDS`, that one is returned as it is
        now, and none is added.

        Raises: Conflict when the key stood for another request, or its token has been revoked; whatever `seal` raises.
        """

    async def token(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> TokenRecord:
        """Return a token.

        Raises: NotFound.
        """

    async def find_token(self, token: TokenId | bytes) -> TokenRecord:
        """Return a token by its id or its digest, of any account and kind, revoked ones too.

        Raises: NotFound.
        """

    async def tokens(self, account: AccountId, kind: TokenKind, page: Page) -> Sequence[TokenRecord]:
        """Return one page of the account's tokens; empty past the end."""

    async def count_tokens(self, account: AccountId, kind: TokenKind) -> int:
        """Return how many tokens the account has."""

    async def tokens_by_name(
        self, account: AccountId, kind: TokenKind, name: str, by: FilterBy | None, page: Page
    ) -> Sequence[TokenRecord]:
        """Return one page of the tokens with `name` as a part of their label or of a stream name.

        Upper and lower case of ASCII are the same. A token whose only stream is a regular expression that matches every name
        is found by none. `by` None, or `FilterBy.NONE`: all tokens.
        """

    async def tokens_by_cluster(
        self, account: AccountId, kind: TokenKind, cluster: str, default_cluster: str, page: Page
    ) -> Sequence[TokenRecord]:
        """Return one page of the tokens that name `cluster`, or name none if it is the `default_cluster`."""

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

    async def former_uses(self, token_id: TokenId) -> Sequence[FormerUse]:
        """Return what is known of the values that a token had before and that were not ended, newest first."""

    async def end_former(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> None:
        """Refuse from now on all values that a token had before.

        Raises: NotFound.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """An account with its first administrator and its first API secret (by digest, and by how it begins)."""

    id: AccountId
    admin_email: str
    admin_password_hash: str
    api_secret_digest: bytes
    added_on: int
    api_secret_hint: str = ""


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

    async def account_policy(self, account: AccountId) -> AccountPolicy:
        """Return what an account sets for its tokens.

        Raises: NotFound.
        """

    async def change_account(
        self, account: AccountId, change: Callable[[AccountPolicy], AccountPolicy]
    ) -> AccountPolicy:
        """Apply `change` and return the account's policy as it is now.

        Raises: NotFound; whatever `change` raises, with nothing changed.
        """


class ApiSecretStore(Protocol):
    """The API secrets of accounts, by their digests."""

    async def list(self, account: AccountId) -> Sequence[ApiSecret]:
        """Return the account's secrets, oldest first."""

    async def add(self, account: AccountId, label: str, digest: bytes, hint: str, added_on: int) -> ApiSecret:
        """Keep a new secret.

        Raises: NotFound when there is no such account.
        """

    async def refresh(self, account: AccountId, secret_id: int, digest: bytes, hint: str, added_on: int) -> ApiSecret:
        """Give a secret another value: the old one is refused from now on.

        Raises: NotFound.
        """

    async def remove(self, account: AccountId, secret_id: int) -> None:
        """Remove a secret: it is refused from now on.

        Raises: NotFound.
        """


class EngineStore(Protocol):
    """The operator's media servers."""

    async def add_engine(self, engine: Engine) -> None:
        """Keep a new engine.

        Raises: Conflict when its name is taken; NotFound when its account or its cluster does not exist.
        """

    async def engines(self) -> Sequence[Engine]:
        """Return all engines, by name."""

    async def remove_engine(self, name: str) -> None:
        """Forget an engine: its hook secret is refused from now on.

        Raises: NotFound.
        """

    async def change_engine(self, engine_id: EngineId, change: Callable[[Engine], Engine]) -> Engine:
        """Apply `change` (a new hook secret, by its digest: the old one is refused from now on) and return the engine.

        Raises: NotFound.
        """


class ClusterStore(Protocol):
    """The clusters that the operator makes of the media servers."""

    async def add_cluster(self, cluster: Cluster) -> None:
        """Keep a new cluster.

        Raises: Conflict when its id is taken.
        """

    async def clusters(self) -> Sequence[Cluster]:
        """Return all clusters, by id."""

    async def change_cluster(self, cluster_id: str, change: Callable[[Cluster], Cluster]) -> Cluster:
        """Apply `change` and return the cluster as it is now.

        Raises: NotFound; whatever `change` raises, with nothing changed.
        """

    async def remove_cluster(self, cluster_id: str) -> None:
        """Forget a cluster.

        Raises: NotFound; Conflict while engines are in it, or it is the default of an account.
        """


class EngineControl(Protocol):
    """The control API of one kind of engine."""

    async def sessions(self, engine: Engine) -> Mapping[str, int]:
        """Return what runs on an engine: the bytes each session carried so far, by the id that its hook calls have.

        Raises: Unavailable.
        """

    async def broadcasts(self, engine: Engine) -> Sequence[Broadcast]:
        """Return what is being published on an engine.

        Raises: Unavailable.
        """

    async def end(self, engine: Engine, session: OpenSession) -> None:
        """End a session. One that has ended already is none.

        Raises: Unavailable.
        """

    async def close(self) -> None:
        """Close the connections."""


class CountryLookup(Protocol):
    """Where addresses are."""

    def country(self, address: str) -> str:
        """Return the ISO 3166-1 alpha-2 code of the country of an IP address; empty when it is not known. Never raises."""


class PlaceLookup(CountryLookup, Protocol):
    """Where addresses are, more exactly."""

    def coordinates(self, address: str) -> Place | None:
        """Return where an IP address is; None when that is not known so exactly. Never raises."""


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """A token as the view holds it: what it grants, and whether it stands. `token` is None when there is none.

    `usage` holds the networks it is bound to, and nothing else. `depends`: digests of others; a change of one of them is one of
    this token.
    """

    token: VerifiedToken | None
    state: TokenState
    usage: Usage = UNUSED
    depends: tuple[bytes, ...] = ()


class Publisher(NamedTuple):
    """A publish token that covers a stream, as watching that stream needs it. Times in seconds since the epoch.

    `live`: the stream is being published with it.
    """

    active: bool
    not_before: int
    expires_at: int | None
    requires_auth: bool
    viewer_caveats: tuple[Caveat, ...]
    live: bool = False


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

    def account(self, account: AccountId) -> AccountPolicy:
        """Return what an account sets; one that does not exist sets nothing."""

    def token(self, digest: bytes) -> TokenFacts | None:
        """Return what is known of a token; None when the store has to be asked."""

    def publishers(self, account: AccountId, name: str) -> Publishers | None:
        """Return who covers a stream; None when the store has to be asked."""

    async def load(
        self, digest: bytes | None, account: AccountId, name: str, *, with_publishers: bool, asked: Asked | None = None
    ) -> tuple[TokenFacts, Publishers, int]:
        """Ask the store, keep the answer while that is safe, and return it with the revision it was read at.

        Raises: Unavailable when the store does not answer.
        """


class AccessEvent(NamedTuple):
    """One decision, for the access log. Holds no secret. `at` is in seconds since the epoch.

    `event` is what was asked for: an action, or another word of the engine's dialect, which then has no `access`. `child` tells a
    token that others signed from all others (`Lineage.fingerprint`).
    """

    at: float
    decision: Decision
    event: str
    access: Access | None
    client_ip: str
    token_id: TokenId | None
    engine: str
    session: str
    child: str = ""


class AccessLog(Protocol):
    """Where decisions are told. Never blocks and never fails; what cannot be kept is counted."""

    def record(self, event: AccessEvent) -> None:
        """Take note of one decision."""
