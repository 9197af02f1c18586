"""The door for engines: `/hooks/KIND/SECRET[/PATH]`, raw ASGI.

Four hops: dialect, authorize, decide, and back. The secret in the path is an engine's; a wrong one is answered 403 and
told nothing, whatever the rest of the call says. Nothing here logs a path.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from stagedoor.edge.asgi import MAX_HOOK_BODY, Receive, Reply, Scope, Send, read_body
from stagedoor.engines.dialect import Dialect, Headers, OwnSecrets
from stagedoor.model.decision import Reason
from stagedoor.model.engine import Engine, EngineKind
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
    own_secrets: OwnSecrets
    rest: str
    secret_digest: bytes

    def __repr__(self) -> str:
        """Hide what finds the engine."""
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
        """Answer one call, asking the store where memory does not do."""
        body = await read_body(receive, MAX_HOOK_BODY)
        current = await self._catch_up()
        understood = self._understand(scope["path"], scope["headers"], body)
        if understood is None:
            await (self._forbidden() if current else _UNAVAILABLE).send(send)
            return
        engine, door, asked = understood
        if isinstance(asked, Attempt):
            # Also from a view that is behind: nothing new is let in then, and what runs goes on.
            decision = await self._authorizer.authorize(engine, asked)
        elif not current:
            await _UNAVAILABLE.send(send)
            return
        elif asked.ends is not None:
            decision = await self._authorizer.end(engine, asked)
        else:
            decision = self._authorizer.note(engine, asked)
        await door.replies[decision.reason].send(send)

    def from_memory(self, path: str, headers: Headers, body: bytes) -> Reply | None:
        """Answer one call now; None when the store has to be asked."""
        authorizer = self._authorizer
        if authorizer.behind():
            return None
        understood = self._understand(path, headers, body)
        if understood is None:
            return self._forbidden()
        engine, door, asked = understood
        if isinstance(asked, Attempt):
            decision = authorizer.from_memory(engine, asked)
            return door.replies[decision.reason] if decision is not None else None
        if asked.ends is not None:
            return None
        return door.replies[authorizer.note(engine, asked).reason]

    async def _catch_up(self) -> bool:
        """Bring the view up to date; tell whether it is."""
        try:
            if self._authorizer.behind():
                await self._authorizer.catch_up()
        except Unavailable:
            return False
        return True

    def _forbidden(self) -> Reply:
        """Tell the operator of a wrong secret, and the caller nothing."""
        self._authorizer.refuse_engine()
        return _FORBIDDEN

    def _understand(
        self, path: str, headers: Headers, body: bytes | None
    ) -> "tuple[Engine, _Door, Attempt | Notice] | None":
        """Tell which engine calls and what it asks; None when the secret is no engine's. `body`: None if too long."""
        known = self._known.get(path) or self._parse(path)
        engine = self._authorizer.engine(known.secret_digest)
        # Security: the answer to a wrong secret is the same for every kind and every body.
        if engine is None or engine.kind != known.kind:
            return None
        door = self._doors[engine.kind]
        return engine, door, door.read(known.rest, headers, body, known.own_secrets) if body is not None else _TOO_LONG

    def _parse(self, path: str) -> "_Path":
        """Take a path apart. It is kept when its secret is an engine's, so guesses are not."""
        kind, _, after = path[_PREFIX_LENGTH:].partition("/")
        secret, _, rest = after.partition("/")
        digest = self._authorizer.digest(secret)
        parsed = _Path(kind, OwnSecrets(secret, self._authorizer.control_secret(digest)), rest, digest)
        if self._authorizer.engine(parsed.secret_digest) is not None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[path] = parsed
        return parsed
