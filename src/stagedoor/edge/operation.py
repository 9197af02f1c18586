"""What an API can do, as data: a table of operations, from which requests are answered and the OpenAPI document is made."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from stagedoor.edge.asgi import Headers
from stagedoor.model.application import NOBODY, Caller
from stagedoor.model.errors import NotPermitted, StagedoorError
from stagedoor.model.ids import AccountId


class Call(NamedTuple):
    """One call of an operation, whose caller has shown whom it speaks for and may do this.

    `path` are the parameters in the path. `body` and `query` are what the operation's schemas made of them, else None.
    `raw` is the body as it came.
    """

    account: AccountId
    path: Mapping[str, str]
    query: Any
    body: Any
    raw: bytes
    headers: Headers
    client_ip: str
    caller: Caller = NOBODY

    def header(self, name: bytes) -> str | None:
        """Return a header by its name in small letters, the first of several; None when there is none."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None


Handler = Callable[[Call], Awaitable[Any]]


class Page(NamedTuple):
    """An answer that is no JSON of the dialect's: sent as it is."""

    content_type: str
    content: bytes
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that a caller can ask for.

    `path` has its parameters in braces. `body`, `query` and `answer` are types that msgspec knows; `answer` is that of the data,
    before the dialect wraps it; None where there is nothing to answer (204). `scope`: what a caller has to be permitted (`model.scope`); everything that is not public has one. `names`: other names that fields of the body, or parameters of the query, may come under.
    `example`: a body for a runnable example, `example_query` the query of it. `refusals`: the statuses it may refuse with, apart
    from those that every operation has. `public`: no credential of the dialect's is asked for. `by_application`: an
    application shows its key and secret instead, which the operation looks at. `form`: the body is a form, not JSON. `sends`: the types of what it may answer with.
    `keyed`: what comes again with the same `Idempotency-Key` is carried out once. `choices`: what parameters of the path may be.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    handle: Handler
    answer: Any
    body: Any = None
    query: Any = None
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    example: Any = None
    example_query: str = ""
    status: int = 200
    refusals: tuple[int, ...] = (400,)
    public: bool = False
    scope: str = ""
    by_application: bool = False
    form: bool = False
    deprecated: bool = False
    text: str = ""
    sends: tuple[str, ...] = ("application/json",)
    keyed: bool = False
    choices: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))


class Answer(NamedTuple):
    """What is sent: status, type of the content, content, and further headers."""

    status: int
    content_type: bytes
    content: bytes
    headers: Headers = ()


class Dialect(Protocol):
    """How an API words its answers and refusals, and where its callers' credentials stand."""

    def credential(self, headers: Headers) -> str:
        """Return what a caller shows.

        Raises: NotPermitted when it shows nothing.
        """

    def wrap(self, data: Any) -> Any:
        """Return what is sent as JSON for an operation's data."""

    def refuse(self, error: StagedoorError) -> Answer:
        """Answer one of our own errors."""

    def refuse_request(self, status: int, message: str) -> Answer:
        """Answer a request that is for no operation, or that cannot be read."""

    def answer_schema(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the JSON schema of `wrap`, given the schema of the data."""

    def refusal_schema(self, status: int) -> tuple[str, Mapping[str, Any]]:
        """Return the type of the content of a refusal, and its JSON schema."""


class Bearer:
    """The part of a dialect that takes credentials as most do: `Authorization: Bearer` (RFC 6750 section 2.1)."""

    def credential(self, headers: Headers) -> str:
        """Return what a caller shows.

        Raises: NotPermitted when it shows nothing.
        """
        for name, value in headers:
            if name == b"authorization":
                scheme, _, secret = value.decode("latin-1").partition(" ")
                if scheme.lower() == "bearer":
                    return secret.strip()
        raise NotPermitted("Unauthorized")


class Mount(NamedTuple):
    """The operations under one prefix of paths, all in one dialect."""

    prefix: str
    dialect: Dialect
    operations: tuple[Operation, ...]
