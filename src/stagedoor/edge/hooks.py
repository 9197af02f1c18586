"""The door for engines: `/hooks/KIND/SECRET[/PATH]`, raw ASGI.

Four hops: dialect, authorize, decide, and back. The secret in the path is an engine's; a wrong one is answered 403 and
told nothing, whatever the rest of the call says. Nothing here logs a path.
"""

from collections.abc import Mapping
from typing import Final

from stagedoor.edge.asgi import MAX_HOOK_BODY, Receive, Reply, Scope, Send, read_body
from stagedoor.engines.dialect import Dialect
from stagedoor.model.decision import Reason
from stagedoor.model.engine import EngineKind
from stagedoor.model.errors import Unavailable
from stagedoor.service.authorize import Attempt, Authorizer, Notice

PREFIX: Final = "/hooks/"

_PREFIX_LENGTH: Final = len(PREFIX)
_TOO_LONG: Final = Notice("unknown", Reason.REQUEST_MALFORMED)
_FORBIDDEN: Final = Reply(403, "forbidden")
_UNAVAILABLE: Final = Reply(503, Reason.STORE_UNAVAILABLE)


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
        self._doors = {kind.value: _Door(dialect) for kind, dialect in dialects.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        kind, _, rest = scope["path"][_PREFIX_LENGTH:].partition("/")
        secret, _, path = rest.partition("/")
        body = await read_body(receive, MAX_HOOK_BODY)
        authorizer = self._authorizer
        try:
            if authorizer.behind():
                await authorizer.catch_up()
        except Unavailable:
            await _UNAVAILABLE.send(send)
            return
        engine = authorizer.engine(secret)
        # Security: the answer to a wrong secret is the same for every kind and every body.
        if engine is None or engine.kind != kind:
            await _FORBIDDEN.send(send)
            return
        door = self._doors[kind]
        asked = door.read(path, scope["headers"], body, secret) if body is not None else _TOO_LONG
        if isinstance(asked, Attempt):
            decided = authorizer.from_memory(engine, asked)
            decision = decided if decided is not None else await authorizer.authorize(engine, asked)
        else:
            decision = authorizer.note(engine, asked)
        reply = door.replies[decision.reason]
        await send(reply.start)
        await send(reply.body)
