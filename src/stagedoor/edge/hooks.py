"""The door for engines: `/hooks/KIND/SECRET[/PATH]`, raw ASGI.

Four hops: dialect, authorize, decide, and back. The secret in the path is an engine's; a wrong one is answered 403 and
told nothing, whatever the rest of the call says. Nothing here logs a path.
"""

from collections.abc import Mapping
from typing import Final

from stagedoor.edge.asgi import MAX_HOOK_BODY, Receive, Reply, Scope, Send, read_body
from stagedoor.engines.dialect import Answer, Dialect, HookCall
from stagedoor.model.decision import Reason
from stagedoor.model.engine import EngineKind
from stagedoor.model.errors import Unavailable
from stagedoor.service.authorize import Authorizer, Notice

PREFIX: Final = "/hooks/"

_FORBIDDEN: Final = Reply(403, "forbidden")
_UNAVAILABLE: Final = Reply(503, Reason.STORE_UNAVAILABLE)


class Hooks:
    """The ASGI application for engines' calls."""

    def __init__(self, *, authorizer: Authorizer, dialects: Mapping[EngineKind, Dialect]) -> None:
        """Take who decides, and how each kind of engine speaks."""
        self._authorizer = authorizer
        self._dialects = {kind.value: dialect for kind, dialect in dialects.items()}
        self._replies: dict[Answer, Reply] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        kind, _, rest = scope["path"][len(PREFIX) :].partition("/")
        secret, _, path = rest.partition("/")
        authorizer = self._authorizer
        try:
            engine = await authorizer.engine(secret)
        except Unavailable:
            await _UNAVAILABLE.send(send)
            return
        # Security: the answer to a wrong secret is the same for every kind and every body.
        if engine is None or engine.kind != kind:
            await _FORBIDDEN.send(send)
            return
        dialect = self._dialects[kind]
        body = await read_body(receive, MAX_HOOK_BODY)
        if body is None:
            decision = authorizer.note(engine, Notice("unknown", Reason.REQUEST_MALFORMED))
        else:
            asked = dialect.read(HookCall(path, scope["headers"], body, secret))
            if isinstance(asked, Notice):
                decision = authorizer.note(engine, asked)
            else:
                decision = await authorizer.authorize(engine, asked)
        answer = dialect.answer(decision)
        reply = self._replies.get(answer)
        if reply is None:
            # Answers are a status and a reason: a closed, small set.
            reply = self._replies[answer] = Reply(answer.status, answer.text)
        await reply.send(send)
