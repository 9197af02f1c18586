"""Pictures of live streams: on demand, and every so often for tokens that ask; sent to the account's webhooks.

A picture is taken of the stream as its engine plays it. A pass lets the program that takes it in: a token of our own for
that one stream, for a minute at most, which is revoked when the picture is there.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, Protocol

from stagedoor.model.engine import Engine
from stagedoor.model.errors import InvalidInput, StagedoorError, TooMany, Unavailable
from stagedoor.model.events import EventType, feed_id
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.secret import Secret
from stagedoor.model.session import OpenSession
from stagedoor.model.token import TokenTerms
from stagedoor.service.controls import Controls
from stagedoor.service.dispatch import lets_through
from stagedoor.service.ports import Clock
from stagedoor.service.webhook_ports import Thumbnails, WebhookPage, WebhookStore
from stagedoor.service.webhooks import MOST_WEBHOOKS
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.opaque import new_token, parse_opaque

_log = logging.getLogger(__name__)

MOST_A_MINUTE: Final = 6
"""How many pictures of a stream are taken on demand."""

EVERY_SECONDS: Final = 30.0
"""How often a stream is pictured whose token asks for it."""

PASS_SECONDS: Final = 60
"""How long a pass is good."""

_LOOK_SECONDS: Final = 2.0
_AT_ONCE: Final = 2
_TIDY_SECONDS: Final = 600.0
_KEPT_SECONDS: Final = 3600


class Source(NamedTuple):
    """Where a stream is played: the engine's address, the application and the name there, and what lets one in."""

    url: str
    application: str
    name: str
    token: Secret


TakeFrame = Callable[[Source], Awaitable[bytes]]
"""Return one picture of a live stream, a JPEG.

Raises: Unavailable.
"""


class PicturedStore(Protocol):
    """What is being published."""

    async def broadcasts(
        self, account: AccountId, *, stream: str | None = None, token_id: TokenId | None = None
    ) -> Sequence[OpenSession]:
        """Return the account's open broadcasts: of one stream, and with one token, where they are given."""

    async def asking_for_thumbnails(self) -> Sequence[OpenSession]:
        """Return the open broadcasts, of every account, whose tokens ask for thumbnails."""


class PassStore(Protocol):
    """Passes: tokens of our own."""

    async def add_pass(self, account: AccountId, terms: TokenTerms, digest: bytes, added_on: int) -> TokenId:
        """Keep a new pass and return its id."""

    async def revoke_pass(self, token_id: TokenId, at: int) -> None:
        """Put the tombstone `at` (seconds since the epoch): when this returns, no worker lets the pass in."""

    async def forget_passes(self, before: int) -> None:
        """Delete the passes that were added before an instant."""


class Turns(Protocol):
    """How often something was done lately, by everybody."""

    async def take_turn(self, account: AccountId, what: str, now: float, *, most: int, seconds: float) -> float | None:
        """Do `what` once more, if that makes at most `most` times within so many seconds.

        Returns None when it may be done, which counts; else how many seconds from `now` it may be.
        """


class Thumbnailer:
    """Takes and sends pictures."""

    def __init__(
        self,
        *,
        store: PicturedStore,
        passes: PassStore,
        turns: Turns,
        webhooks: WebhookStore,
        engines: Callable[[], Awaitable[Sequence[Engine]]],
        controls: Controls,
        take: TakeFrame,
        deliver: Thumbnails,
        keyring: Keyring,
        clock: Clock,
        may_work: Callable[[], bool],
    ) -> None:
        """Take the collaborators. `may_work`: of all processes, one pictures the streams that ask for it."""
        self._store = store
        self._passes = passes
        self._turns = turns
        self._webhooks = webhooks
        self._engines = engines
        self._controls = controls
        self._take = take
        self._deliver = deliver
        self._keyring = keyring
        self._clock = clock
        self._may_work = may_work
        self._due: dict[tuple[AccountId, str], float] = {}
        self._failing: set[tuple[AccountId, str]] = set()
        self._tidied_at = 0.0

    async def picture(self, account: AccountId, stream: str | None, token_id: TokenId | None) -> None:
        """Picture a live stream now, by its name, or by the token that it is published with, or both.

        Raises: InvalidInput when there is no such stream, or no way to picture it, or nobody to send it to; TooMany;
            Unavailable when the picture cannot be had at present.
        """
        if stream is None and token_id is None:
            raise InvalidInput("say which stream: streamName, or the tokenId it is published with", field="streamName")
        field = "tokenId" if stream is None else "streamName"
        opened = await self._store.broadcasts(account, stream=stream, token_id=token_id)
        if not opened:
            what = f"the stream {stream[:128]!r}" if stream is not None else f"what is published with token {token_id}"
            raise InvalidInput(f"{what} is not live, or its engine does not tell that it is", field=field)
        names = sorted({session.start.stream for session in opened})
        if len(names) > 1:
            raise InvalidInput(f"token {token_id} publishes {len(names)} streams; say which: streamName", field=field)
        if not await self._is_asked_for(account, names[0]):
            raise InvalidInput("no webhook of this account asks for thumbnails of this stream: isThumbnailHooks")
        session, engine = await self._playable(opened)
        wait = await self._turns.take_turn(
            account, f"thumbnail {names[0]}", self._clock(), most=MOST_A_MINUTE, seconds=60
        )
        if wait is not None:
            raise TooMany(
                f"at most {MOST_A_MINUTE} thumbnails of a stream a minute", retry_after_seconds=max(1, math.ceil(wait))
            )
        await self._send(session, engine)

    async def run(self) -> None:
        """Picture the streams that ask for it again and again, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._may_work():
                continue
            try:
                await self.picture_those_that_ask()
                await self._tidy()
            except Unavailable as error:
                _log.warning("thumbnails cannot be taken: %s", error.message)
            except Exception:  # noqa: BLE001  nothing that goes wrong once ends the worker
                _log.exception("thumbnails cannot be taken")

    async def picture_those_that_ask(self) -> None:
        """Picture every stream whose token asks for it and that was not pictured for long enough.

        Raises: Unavailable when the store does not answer.
        """
        now = self._clock()
        asking: dict[tuple[AccountId, str], list[OpenSession]] = {}
        for session in await self._store.asking_for_thumbnails():
            asking.setdefault((session.start.account, session.start.stream), []).append(session)
        self._due = {what: at for what, at in self._due.items() if what in asking}
        self._failing &= asking.keys()
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(what: tuple[AccountId, str], sessions: Sequence[OpenSession]) -> None:
            async with limit:
                await self._automatic(what, sessions)

        due = [(what, sessions) for what, sessions in asking.items() if self._due.get(what, 0.0) <= now]
        await asyncio.gather(*(one(what, sessions) for what, sessions in due))

    async def _automatic(self, what: tuple[AccountId, str], sessions: Sequence[OpenSession]) -> None:
        """Picture one stream, unless another process has; log once what keeps it from that."""
        account, stream = what
        now = self._clock()
        self._due[what] = now + EVERY_SECONDS
        try:
            if not await self._is_asked_for(account, stream):
                return
            # A little less than the interval: clocks and sleeps are not exact.
            seconds = EVERY_SECONDS - _LOOK_SECONDS
            if await self._turns.take_turn(account, f"every {stream}", now, most=1, seconds=seconds) is not None:
                return
            await self._send(*await self._playable(sessions))
        except StagedoorError as error:
            if what not in self._failing:
                self._failing.add(what)
                _log.warning("no thumbnail of %s/%s: %s", account, stream, error.message)
        else:
            self._failing.discard(what)

    async def _is_asked_for(self, account: AccountId, stream: str) -> bool:
        """Tell whether a webhook of the account wants pictures of a stream."""
        webhooks = await self._webhooks.webhooks(account, WebhookPage(None, MOST_WEBHOOKS, descending=False))
        return any(
            webhook.terms.asks_for(EventType.THUMBNAIL) and lets_through(webhook.terms, stream) for webhook in webhooks
        )

    async def _playable(self, opened: Sequence[OpenSession]) -> tuple[OpenSession, Engine]:
        """Return a broadcast that can be played, and its engine.

        Raises: InvalidInput that says what to set.
        """
        engines = {engine.id: engine for engine in await self._engines()}
        on = [(session, engines[session.start.engine]) for session in opened if session.start.engine in engines]
        for session, engine in on:
            if engine.media_url and engine.control_url:
                return session, engine
        if not on:
            raise InvalidInput("the engine that the stream was published on is not known any more")
        name = on[0][1].name
        raise InvalidInput(
            f"the engine {name} cannot be played from, since it has no media address, or no control address; set them:"
            f" stagedoor engine set {name} --media-url rtmp://HOST:PORT --control-url http://HOST:PORT"
        )

    async def _send(self, session: OpenSession, engine: Engine) -> None:
        """Picture a broadcast and send the picture.

        Raises: InvalidInput when it has ended; Unavailable.
        """
        start = session.start
        listed = await self._controls.of(engine).broadcasts(engine)
        broadcast = next((one for one in listed if one.session == start.session), None)
        if broadcast is None or broadcast.stream.name != start.stream:
            raise InvalidInput(f"the stream {start.stream!r} is not live any more")
        at = self._clock()
        pass_id, token = await self._issue_pass(start.account, start.stream, int(at))
        try:
            jpeg = await self._take(Source(engine.media_url, broadcast.application, broadcast.name, token))
        finally:
            # Also when this is given up: a pass must not be left behind for the rest of its minute.
            await asyncio.shield(self._passes.revoke_pass(pass_id, int(self._clock())))
        await self._deliver.enqueue_thumbnail(
            start.account,
            start.stream,
            jpeg,
            feed_id=feed_id(session),
            token_id=str(start.token_id),
            at=at,
        )

    async def _issue_pass(self, account: AccountId, stream: str, now: int) -> tuple[TokenId, Secret]:
        secret = new_token()
        value = parse_opaque(secret.reveal())
        assert value is not None  # noqa: S101  what new_token makes is a token
        terms = TokenTerms(label="thumbnail", streams=(StreamPattern(stream),), expires_at=now + PASS_SECONDS)
        return await self._passes.add_pass(account, terms, self._keyring.digest(value), now), secret

    async def _tidy(self) -> None:
        now = self._clock()
        if now - self._tidied_at >= _TIDY_SECONDS:
            await self._passes.forget_passes(int(now) - _KEPT_SECONDS)
            self._tidied_at = now
