"""The APIs: find the operation of a request, see who calls, read what is asked, answer in the words of its dialect.

Every route that is not on the hot path. Why it stands on ASGI itself: docs/adr/0008.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from stagedoor.edge.asgi import Headers, Receive, Scope, Send, read_body
from stagedoor.edge.operation import Answer, Call, Dialect, Mount, Operation, Page
from stagedoor.edge.parse import parse_body, parse_form, parse_query
from stagedoor.model.application import NOBODY, Caller
from stagedoor.model.errors import OutOfScope, StagedoorError
from stagedoor.model.scope import KNOWN, covers

_log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 1_000_000

Authenticate = Callable[[str, str], Awaitable[Caller]]
"""Return who shows a credential, from an address.

Raises: NotPermitted, TooMany.
"""

_JSON: Final = b"application/json"
_PARAMETER: Final = "{}"
_NO_PATH: Final = MappingProxyType[str, str]({})
_INTERNAL: Final = "Internal error; the server's log says more"
_encode: Final = msgspec.json.Encoder().encode


class _Node:
    """One segment of paths: what may follow, and the operations that end here, by method."""

    __slots__ = ("follow", "operations")

    def __init__(self) -> None:
        self.follow: dict[str, _Node] = {}
        self.operations: dict[str, Operation] = {}


class Api:
    """The ASGI application of all operations."""

    def __init__(self, mounts: Sequence[Mount], *, authenticate: Authenticate) -> None:
        """Take the operations, and how a caller is known. The first mount answers for paths that are nobody's.

        Of several mounts that a path begins as, that with the longest prefix answers.
        """
        self._mounts = mounts
        self._longest = sorted(mounts, key=lambda mount: len(mount.prefix), reverse=True)
        self._authenticate = authenticate
        self._root = _Node()
        for mount in mounts:
            for operation in mount.operations:
                self._add(operation)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        dialect = next(
            (mount.dialect for mount in self._longest if path.startswith(mount.prefix)), self._mounts[0].dialect
        )
        try:
            answer = await self._answer(scope, receive, dialect)
        except StagedoorError as error:
            answer = dialect.refuse(error)
        except Exception as error:  # noqa: BLE001  a fault of ours: logged whole, and answered
            _log.exception("unexpected %s at %s", type(error).__name__, scope["method"])
            answer = dialect.refuse_request(500, _INTERNAL)
        await _send(send, answer, scope["method"])

    def _add(self, operation: Operation) -> None:
        if operation.scope not in KNOWN and not operation.public:
            raise ValueError(f"{operation.method} {operation.path} has no scope that there is: {operation.scope!r}")
        node = self._root
        for segment in operation.path.strip("/").split("/"):
            node = node.follow.setdefault(_PARAMETER if segment.startswith("{") else segment, _Node())
        if operation.method in node.operations:
            raise ValueError(f"{operation.method} {operation.path} stands twice in the tables")
        node.operations[operation.method] = operation

    def _find(self, path: str) -> tuple[_Node, list[str]] | None:
        """Return where a path leads, and what stands for its parameters. A name goes before a parameter."""
        node, values = self._root, []
        for segment in path.strip("/").split("/"):
            named = node.follow.get(segment)
            if named is None:
                named = node.follow.get(_PARAMETER)
                if named is None:
                    return None
                values.append(segment)
            node = named
        return (node, values) if node.operations else None

    async def _answer(self, scope: Scope, receive: Receive, dialect: Dialect) -> Answer:
        found = self._find(scope["path"])
        if found is None:
            return dialect.refuse_request(404, f"there is nothing at {scope['path'][:100]}")
        node, values = found
        method: str = scope["method"]
        operation = node.operations.get("GET" if method == "HEAD" else method)
        if operation is None:
            allowed = ", ".join(sorted(node.operations))
            refused = dialect.refuse_request(405, f"only {allowed} here")
            return refused._replace(headers=((b"allow", allowed.encode()),))
        headers: Headers = scope["headers"]
        client = scope.get("client")
        client_ip = client[0] if client else ""
        caller = NOBODY
        if not operation.public:
            caller = await self._authenticate(dialect.credential(headers), client_ip)
            # Security: an operation without a scope does not get into the tree, so this asks for one of every caller.
            if not covers(caller.scopes, operation.scope):
                raise OutOfScope(f"this needs the scope {operation.scope}", scope=operation.scope)
        raw = await read_body(receive, MAX_BODY_BYTES)
        if raw is None:
            return dialect.refuse_request(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        body = None
        if operation.body is not None:
            body = (
                parse_form(raw, operation.body, headers)
                if operation.form
                else parse_body(raw, operation.body, operation.names)
            )
        query = operation.query
        if query is not None:
            query = parse_query(scope["query_string"], query, operation.names)
        path = _NO_PATH if not values else dict(zip(_parameters(operation.path), values, strict=True))
        data = await operation.handle(Call(caller.account, path, query, body, raw, headers, client_ip, caller))
        if isinstance(data, Page):
            return Answer(operation.status, data.content_type.encode(), data.content, data.headers)
        return Answer(operation.status, _JSON, _encode(dialect.wrap(data)))


def _parameters(path: str) -> list[str]:
    return [segment[1:-1] for segment in path.split("/") if segment.startswith("{")]


async def _send(send: Send, answer: Answer, method: str) -> None:
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", answer.content_type),
        (b"content-length", str(len(answer.content)).encode()),
        *answer.headers,
    ]
    if answer.status == 204:
        del headers[:2]  # there is no content to tell of (RFC 9110 section 8.6)
    start: dict[str, Any] = {"type": "http.response.start", "status": answer.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.content})
