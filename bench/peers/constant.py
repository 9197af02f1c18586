"""The ceiling: the same server, the body read as any hook must, a constant answer."""

from stagedoor.edge.asgi import MAX_HOOK_BODY, Receive, Reply, Scope, Send, read_body

_OK = Reply(200, "ok")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every call alike."""
    await read_body(receive, MAX_HOOK_BODY)
    await _OK.send(send)
