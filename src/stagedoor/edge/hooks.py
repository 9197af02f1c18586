"""The door for engines: `/hooks/KIND/SECRET[/PATH]`, raw ASGI.

Four hops: dialect, authorize, decide, and back. The secret in the path is an engine's; a wrong one is answered 403 and
told nothing, whatever the rest of the call says. Nothing here logs a path.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from stagedoor.edge.asgi import MAX_HOOK_BODY, Receive, Reply, Scope, Send, read_body
from stagedoor.engines.dialect import Dialect
from stagedoor.model.decision import Reason
from stagedoor.model.engine import EngineKind
from stagedoor.model.errors import Unavailable
from stagedoor.service.authorize import Attempt, Authorizer, Notice

PREFIX: Final = "/hooks/"

_MOST_KNOWN: Final = 1024
_PREFIX_LENGTH: Final = len(PREFIX)
_TOO_LONG: Final = Notice("unknown", Reason.REQUEST_MALFORMED)
_FORBIDDEN: Final = Reply(403, "forbidden")
_UNAVAILABLE: Final = Reply(503, Reason.STORE_UNAVAILABLE)


class _Path(NamedTuple):
    """A path taken apart, with the digest of its secret. Whether an engine has that digest is asked of the view anew."""

    kind: str
    secret: str
    rest: str
    secret_digest: bytes

    def __repr__(self) -> str:
        """Hide the secret."""
        return f"_Path({self.kind}, ***, {self.rest!r})"


class _Door:
    """One dialect, with its answers made beforehand: there is one for each reason."""

    __slots__ = ("read", "replies")

    def __init__(self, dialect: Dialect) -> None:
        self.read = dialect.read
        answers = {reason: dialect.answer(reason) for reason in Reason}
        self.replies = {reason: Reply(answer.status, answer.text) for reason, answer in answers.items()}


class Hooks:
    """The ASGI application for engines' calls."""

    def __init__(self, *, authorizer: Authorizer, dialects: Mapping[EngineKind, Dialect]) -> None:
        """Take who decides, and how each kind of engine speaks."""
        self._authorizer = authorizer
        self._doors = {kind: _Door(dialect) for kind, dialect in dialects.items()}
        self._known: dict[str, _Path] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        body = await read_body(receive, MAX_HOOK_BODY)
        authorizer = self._authorizer
        try:
            if authorizer.behind():
                await authorizer.catch_up()
        except Unavailable:
            await _UNAVAILABLE.send(send)
            return
        known = self._known.get(scope["path"]) or self._parse(scope["path"])
        engine = authorizer.engine(known.secret_digest)
        # Security: the answer to a wrong secret is the same for every kind and every body.
        if engine is None or engine.kind != known.kind:
            await _FORBIDDEN.send(send)
            return
        door = self._doors[engine.kind]
        asked = door.read(known.rest, scope["headers"], body, known.secret) if body is not None else _TOO_LONG
        if isinstance(asked, Attempt):
            decided = authorizer.from_memory(engine, asked)
            decision = decided if decided is not None else await authorizer.authorize(engine, asked)
        else:
            decision = authorizer.note(engine, asked)
        reply = door.replies[decision.reason]
        await send(reply.start)
        await send(reply.body)

    def _parse(self, path: str) -> "_Path":
        """Take a path apart. It is kept when its secret is an engine's, so guesses are not."""
        kind, _, after = path[_PREFIX_LENGTH:].partition("/")
        secret, _, rest = after.partition("/")
        parsed = _Path(kind, secret, rest, self._authorizer.digest(secret))
        if self._authorizer.engine(parsed.secret_digest) is not None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[path] = parsed
        return parsed
