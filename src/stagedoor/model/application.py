"""Applications that call the API, their tokens, and whoever calls."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from stagedoor.model.ids import AccountId
from stagedoor.model.scope import Scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationSecret:
    """A secret of an application's. Its value is not kept; `hint` is how it begins."""

    id: int
    hint: str
    added_on: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An application of an account's. `key` names it to everybody; with a secret it shows itself. `scopes`: what it may do."""

    id: int
    account: AccountId
    label: str
    key: str
    scopes: Scopes
    added_on: int
    secrets: tuple[ApplicationSecret, ...] = ()


class ApiTokenKind(StrEnum):
    """What an API token is for: the application itself, or a client that it hands the token to."""

    ACCESS = "access"
    CLIENT = "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """An API token as it is kept: never its text. Good while `issued_at <= now < expires_at`, seconds since the epoch.

    `scopes` are those it was made with; `external_id` is whom the application made it for, in its own words.
    """

    jti: str
    account: AccountId
    application_id: int
    key_id: int
    kind: ApiTokenKind
    scopes: Scopes
    external_id: str
    issued_at: int
    expires_at: int
    revoked_at: int | None = None


class ApiTokenFacts(NamedTuple):
    """What the store says of an API token: itself, and of what it hangs on.

    `open`: it and its signing key are not revoked, its application has a secret, its account is open and has an API secret.
    `client_id` is the key of the application, `application_scopes` what that may do now.
    """

    token: ApiToken
    client_id: str
    application_scopes: Scopes
    open: bool


class CallerKind(StrEnum):
    """What somebody calls the API with."""

    NOBODY = "nobody"
    API_SECRET = "api_secret"
    ACCESS_TOKEN = "access_token"
    CLIENT_TOKEN = "client_token"


class Caller(NamedTuple):
    """Somebody who calls the API: for which account, what it may do, what it shows, and through which application (0: none)."""

    account: AccountId
    scopes: Scopes = frozenset()
    kind: CallerKind = CallerKind.NOBODY
    application_id: int = 0


NOBODY = Caller(AccountId(""))
"""Who calls what is open to everybody."""
