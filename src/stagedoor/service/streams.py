"""End what is being published: one stream, all of an account's, or all that a token runs.

What is open in the store is ended, and what the engines themselves list: a broadcast that began a moment ago is not in the
store yet. A session is closed in the store when its engine has said so. What cannot be ended is told of, after all that can
be has been; nothing is ever passed over in silence.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from stagedoor.model.access import Action
from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.errors import InvalidInput, StagedoorError, Unavailable
from stagedoor.model.ids import AccountId, EngineId, StreamId, TokenId, parse_stream_id
from stagedoor.model.session import NO_TOKEN, Broadcast, OpenSession, SessionStart
from stagedoor.model.token import TokenKind, TokenTerms
from stagedoor.service.controls import Controls
from stagedoor.service.ports import Clock
from stagedoor.service.token_admin import TokenAdmin

_log = logging.getLogger(__name__)

END_TOKEN_SECONDS: Final = 3.0
"""How long the deletion of a token waits for the end of what it runs. What takes longer goes on behind it."""

_AT_ONCE: Final = 8
"""How many sessions of one engine are being ended at a time."""


class BroadcastStore(Protocol):
    """What is known of what is being published."""

    async def broadcasts(
        self, account: AccountId, *, stream: str | None = None, token_id: TokenId | None = None
    ) -> Sequence[OpenSession]:
        """Return the account's open broadcasts: of one stream, and with one token, where they are given."""

    async def active_tokens(self, account: AccountId, stream: str | None) -> Sequence[TokenId]:
        """Return the tokens that a stream, or any of the account's, is being published with: each once, by id."""

    async def end_session(self, engine: EngineId, session: str, at: float, action: Action | None = None) -> None:
        """End what is open of an engine's session, and count it."""


class _Unended(NamedTuple):
    """Why something on an engine could not be ended. `away`: it may be later; else its operator has to do something."""

    text: str
    away: bool


class _Outcome(NamedTuple):
    """What came of ending what one engine publishes: whether there was something, and why not all of it could be ended."""

    found: bool
    unended: tuple[_Unended, ...]


class Streams:
    """Ends broadcasts."""

    def __init__(
        self,
        *,
        store: BroadcastStore,
        engines: Callable[[], Awaitable[Sequence[Engine]]],
        controls: Controls,
        clock: Clock,
    ) -> None:
        """Take the collaborators."""
        self._store = store
        self._engines = engines
        self._controls = controls
        self._clock = clock
        self._behind: set[asyncio.Task[bool]] = set()

    async def close(self) -> None:
        """Give up what is still being ended."""
        for task in self._behind:
            task.cancel()
        await asyncio.gather(*self._behind, return_exceptions=True)

    async def active_tokens(self, account: AccountId, stream_id: str | None = None) -> Sequence[TokenId]:
        """Return the tokens that the account's stream `ACCOUNT/NAME`, or any of them, is being published with, by id.

        Raises: InvalidInput for what is no stream of the account.
        """
        stream = None if stream_id is None else _own_stream(account, stream_id)
        return await self._store.active_tokens(account, stream)

    async def stop(self, account: AccountId, stream_id: str) -> bool:
        """End the account's stream `ACCOUNT/NAME` wherever it is published; tell whether it was.

        Raises: InvalidInput for what is no stream of the account, or when an engine cannot be told to end anything;
            Unavailable when one does not answer.
        """
        stream = _own_stream(account, stream_id)
        return await self._end(account, await self._store.broadcasts(account, stream=stream), stream=stream)

    async def stop_all(self, account: AccountId) -> bool:
        """End all that the account publishes; tell whether there was anything.

        Raises: InvalidInput, Unavailable, as `stop` does.
        """
        return await self._end(account, await self._store.broadcasts(account))

    async def stop_token(self, account: AccountId, token_id: TokenId) -> bool:
        """End all that is published with a token; tell whether there was anything.

        Raises: InvalidInput, Unavailable, as `stop` does.
        """
        return await self._end(account, await self._store.broadcasts(account, token_id=token_id), listed=False)

    async def end_token(self, account: AccountId, token_id: TokenId) -> None:
        """End all that is published with a token that was revoked, as far as that can be done now. Never raises.

        What is missed ends when its engine asks about it, or is looked after (see `service.keeper`).
        """
        task = asyncio.create_task(self.stop_token(account, token_id))
        self._behind.add(task)
        task.add_done_callback(_tell)
        task.add_done_callback(self._behind.discard)
        await asyncio.wait({task}, timeout=END_TOKEN_SECONDS)

    async def _end(
        self, account: AccountId, opened: Sequence[OpenSession], *, stream: str | None = None, listed: bool = True
    ) -> bool:
        """End sessions, and with `listed` what else the engines say is published of a stream, or of the account.

        Raises: InvalidInput, Unavailable.
        """
        if not opened and not listed:
            return False
        engines = {engine.id: engine for engine in await self._engines()}
        own: dict[EngineId, list[OpenSession]] = {}
        for session in opened:
            own.setdefault(session.start.engine, []).append(session)
        for engine_id in own.keys() - engines.keys():
            # Its hooks are refused, so nothing can go on there for long.
            for session in own[engine_id]:
                await self._store.end_session(engine_id, session.start.session, self._clock())
        asked = [
            engine
            for engine in engines.values()
            if engine.id in own or (listed and engine.account in {AccountId(""), account})
        ]
        ends = [self._end_on(engine, own.get(engine.id, []), account, stream, listed=listed) for engine in asked]
        done = await asyncio.gather(*ends)
        found = bool(opened) or any(outcome.found for outcome in done)
        # A stream that was found is not looked for on engines that do not tell what they run.
        decisive = [outcome for outcome in done if outcome.found or not (found and stream is not None)]
        unended = [problem for outcome in decisive for problem in outcome.unended]
        if unended:
            raise _error(unended)
        return found

    async def _end_on(
        self, engine: Engine, sessions: list[OpenSession], account: AccountId, stream: str | None, *, listed: bool
    ) -> _Outcome:
        """End what is published on one engine."""
        if not engine.control_url:
            nothing = engine.kind is EngineKind.NGINX_RTMP and not sessions
            return _Outcome(bool(sessions), () if nothing else (_no_control(engine),))
        control = self._controls.of(engine)
        unended: list[_Unended] = []
        if listed:
            try:
                known = {session.start.session for session in sessions}
                sessions += [
                    self._unknown(broadcast, engine, account)
                    for broadcast in await control.broadcasts(engine)
                    if broadcast.session not in known and _is_of(broadcast, engine, account, stream)
                ]
            except Unavailable as error:
                unended.append(_Unended(error.message, away=True))
        limit = asyncio.Semaphore(_AT_ONCE)

        async def end(session: OpenSession) -> None:
            async with limit:
                await control.end(engine, session)
                await self._store.end_session(engine.id, session.start.session, self._clock())

        for outcome in await asyncio.gather(*map(end, sessions), return_exceptions=True):
            if isinstance(outcome, StagedoorError):
                unended.append(_Unended(outcome.message, away=True))
            elif isinstance(outcome, BaseException):
                raise outcome
        return _Outcome(bool(sessions), tuple(dict.fromkeys(unended)))

    def _unknown(self, broadcast: Broadcast, engine: Engine, account: AccountId) -> OpenSession:
        """Return a broadcast that an engine tells of as a session, of which nothing more is known."""
        start = SessionStart(
            account,
            NO_TOKEN,
            "",
            engine.id,
            broadcast.session,
            broadcast.stream.name,
            Action.PUBLISH,
            broadcast.protocol,
            "",
            self._clock(),
        )
        return OpenSession(id=0, start=start, seen_at=start.at)


async def reprioritize(
    streams: Streams, tokens: TokenAdmin, account: AccountId, token_id: TokenId, priority: int
) -> bool:
    """Give a publish token another priority, and end what it runs, so that it comes back with it; tell whether it ran.

    Raises: NotFound; InvalidInput, Unavailable, as `Streams.stop` does, with the priority changed.
    """

    def changed(terms: TokenTerms) -> TokenTerms:
        return replace(terms, publishing=replace(terms.publishing, priority=priority))

    await tokens.change(account, TokenKind.PUBLISH, token_id, changed)
    return await streams.stop_token(account, token_id)


def _own_stream(account: AccountId, stream_id: str) -> str:
    """Return the name in a stream id of the account's own.

    Raises: InvalidInput.
    """
    try:
        stream = parse_stream_id(stream_id)
    except InvalidInput as error:
        raise InvalidInput(error.message, field="streamId") from None
    if stream.account != account:
        raise InvalidInput(
            f"{str(stream)!r} is no stream of this account; its own begin with {account}/", field="streamId"
        )
    return stream.name


def _is_of(broadcast: Broadcast, engine: Engine, account: AccountId, stream: str | None) -> bool:
    """Tell whether a broadcast that an engine lists is of the account, and of a stream if one is given.

    Where neither path nor engine names the account, only the store knows whose it is.
    """
    named = StreamId(broadcast.stream.account or engine.account, broadcast.stream.name)
    return bool(named.name) and named.account == account and stream in {None, named.name}


def _no_control(engine: Engine) -> _Unended:
    return _Unended(
        f"what is published on the engine {engine.name} cannot be ended from here, since it has no control address; set it:"
        f" stagedoor engine set {engine.name} --control-url http://HOST:PORT",
        away=False,
    )


def _error(unended: Sequence[_Unended]) -> StagedoorError:
    text = "; ".join(problem.text for problem in unended)
    return Unavailable(text) if any(problem.away for problem in unended) else InvalidInput(text)


def _tell(task: asyncio.Task[bool]) -> None:
    """Log why what a revoked token runs could not be ended at once."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, StagedoorError):
        _log.warning("what a revoked token runs was not ended at once: %s", error.message)
    elif error is not None:
        _log.error("what a revoked token runs was not ended at once: %s", type(error).__name__)
