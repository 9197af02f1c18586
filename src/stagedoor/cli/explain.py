"""`stagedoor explain`: what would be decided, and why."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stagedoor.cli.options import Data, Database, Json, given_or_read
from stagedoor.cli.output import print_explained
from stagedoor.cli.system import administer, settings
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.errors import InvalidInput
from stagedoor.model.ids import parse_stream_id

if TYPE_CHECKING:
    from stagedoor.app import Administration
    from stagedoor.service.explain import Explained


def explain(
    action: Annotated[Action, typer.Option(help="What is asked for.")],
    stream: Annotated[str, typer.Option(help="Which stream.", metavar="ACCOUNT/NAME")],
    token: Annotated[str, typer.Option(help="The token shown, if any; - reads it from standard input.")] = "",
    ip: Annotated[str, typer.Option(help="The client's address.")] = "",
    origin: Annotated[str | None, typer.Option(help="The browser's origin.")] = None,
    user_agent: Annotated[str, typer.Option(help="What the client calls itself.")] = "",
    referrer: Annotated[str, typer.Option(help="The address of the page.")] = "",
    protocol: Annotated[Protocol, typer.Option(help="How media would travel.")] = Protocol.UNKNOWN,
    engine: Annotated[
        str, typer.Option(help="The media server that asks; left out, one that can be believed and tells everything.")
    ] = "",
    running: Annotated[bool, typer.Option(help="Ask about a session that runs, not about a new one.")] = False,
    at: Annotated[str | None, typer.Option(help="When: RFC 3339, or seconds since the epoch.", metavar="TIME")] = None,
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Tell what would be decided, every rule that was looked at, and which one decided."""
    from stagedoor.service.authorize import Attempt  # noqa: PLC0415

    system = settings(data=data, database=database)
    access = Access(action, parse_stream_id(stream), protocol, ip, origin, user_agent, referrer)
    attempt = Attempt(access, given_or_read(token), running=running)
    when = _parse_time(at)

    async def read(admin: "Administration") -> "Explained":
        asks = await admin.engines.named(engine) if engine else None
        return await admin.explainer.explain(attempt, when, asks)

    print_explained(administer(system, read), as_json=as_json)


def _parse_time(text: str | None) -> float:
    """Read a time; None is now.

    Raises: InvalidInput.
    """
    if text is None:
        return time.time()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no time; write 2026-01-31T12:00:00Z or seconds since the epoch") from None
    return (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)).timestamp()
