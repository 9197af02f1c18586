"""Picturing streams: when, of what, and with what pass. The real nginx and ffmpeg are in tests/e2e/test_thumbnails.py."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from stagedoor.engines.dialect import stream_of
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.decision import Reason
from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.errors import InvalidInput, StagedoorError, TooMany, Unavailable
from stagedoor.model.events import feed_id
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.session import Broadcast, OpenSession
from stagedoor.model.webhook import WebhookId, WebhookKind, WebhookTerms
from stagedoor.service.authorize import Attempt
from stagedoor.service.controls import Controls
from stagedoor.service.thumbnails import Source, Thumbnailer
from stagedoor.service.webhook_ports import NewWebhook
from stagedoor.store.sql import SqlStore
from tests.world import BASE, ENGINES, World, opened

MEDIA = "rtmp://127.0.0.1:1935"
NGINX = replace(ENGINES["nginx"], control_url="http://127.0.0.1:8088", media_url=MEDIA)
JPEG = b"\xff\xd8\xffa picture"

Sent = tuple[str, bytes, str, str]
"""The stream, the picture, the feed and the token."""


class Bench:
    """A world, with an engine that lists what the store has, and something that takes pictures of it."""

    def __init__(self, world: World) -> None:
        assert isinstance(world.store, SqlStore)
        self.world, self.store = world, world.store
        self.engines: list[Engine] = [NGINX]
        self.listed: list[Broadcast] = []
        self.sources: list[Source] = []
        self.decided: list[Reason] = []
        self.sent: list[Sent] = []
        self.failure: Exception | None = None
        self.hold = asyncio.Event()
        self.hold.set()

    def thumbnailer(self) -> Thumbnailer:
        """Make one, as each worker has its own."""
        return Thumbnailer(
            store=self.store.broadcasts,
            passes=self.store.passes,
            turns=self.store.turns,
            webhooks=self.store.webhooks,
            engines=self._engines,
            controls=Controls({EngineKind.NGINX_RTMP: lambda: self}),
            take=self.take,
            deliver=self,
            keyring=self.world.keyring,
            clock=self.world.clock,
            may_work=lambda: True,
        )

    async def _engines(self) -> Sequence[Engine]:
        return self.engines

    # -- the engine

    async def sessions(self, engine: Engine) -> Mapping[str, int]:
        """Nobody asks here."""
        raise NotImplementedError

    async def broadcasts(self, engine: Engine) -> Sequence[Broadcast]:
        """List what is published."""
        return self.listed

    async def end(self, engine: Engine, session: OpenSession) -> None:
        """Nobody asks here."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close."""

    # -- who takes and who sends

    async def show(self, source: Source) -> Reason:
        """Show the pass at the door, as the engine would when ffmpeg comes."""
        access = Access(Action.SUBSCRIBE, stream_of(source.name), Protocol.RTMP, "127.0.0.1")
        return (await self.world.authorizer.authorize(NGINX, Attempt(access, source.token.reveal(), "99"))).reason

    async def take(self, source: Source) -> bytes:
        """Take a picture."""
        self.sources.append(source)
        self.decided.append(await self.show(source))
        await self.hold.wait()
        if self.failure is not None:
            raise self.failure
        return JPEG

    async def enqueue_thumbnail(
        self, account: AccountId, stream: str, jpeg: bytes, *, feed_id: str, token_id: str, at: float
    ) -> int:
        """Take note of a picture that is to be sent."""
        self.sent.append((f"{account}/{stream}", jpeg, feed_id, token_id))
        return 1

    # -- the world

    async def publish(self, name: str, token: str = "pub", session: str | None = None, *, listed: bool = True) -> None:
        """Have a stream published."""
        step = {"do": "publish", "stream": f"A/{name}", "engine": "nginx", "protocol": "rtmp", "token": token}
        assert (await self.world.authorize({**step, "session": session or name})).allowed
        if listed:
            path = f"{self.world.account}/{name}"
            self.listed.append(Broadcast(session or name, stream_of(path), Protocol.RTMP, "live", path))

    async def hook(self, kind: WebhookKind = WebhookKind.THUMBNAIL, only: str | None = None) -> None:
        """Add a webhook."""
        terms = WebhookTerms(url="http://127.0.0.1:1/", kinds=frozenset({kind}), filter=only)
        new = NewWebhook(account=self.world.account, terms=terms, seal=_sealed, added_on=BASE)
        await self.store.webhooks.add_webhook(new, 10)

    async def session(self) -> OpenSession:
        """Return the one broadcast."""
        (found,) = await self.store.broadcasts.broadcasts(self.world.account)
        return found


def _sealed(_: WebhookId) -> bytes:
    return b"sealed"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench with two publish tokens for any stream, one of which asks for pictures."""
    async with opened("sqlite", tmp_path) as world:
        token = {"kind": "publish", "streams": [{"streamName": ".*", "isRegex": True}], "subscribeRequiresAuth": True}
        await world.begin({"pub": token, "asks": {**token, "enableThumbnails": True}})
        yield Bench(world)


async def refused(bench: Bench, stream: str | None = "cam", token_id: int | None = None) -> StagedoorError:
    """Return why a picture cannot be had."""
    with pytest.raises(StagedoorError) as caught:
        await bench.thumbnailer().picture(bench.world.account, stream, None if token_id is None else TokenId(token_id))
    return caught.value


async def test_a_picture_is_taken_where_the_stream_is_played_and_sent_with_whose_it_is(bench: Bench) -> None:
    """By the stream's name, by its token, or by both."""
    await bench.publish("cam")
    await bench.hook()
    account, token_id = bench.world.account, bench.world.tokens["pub"].record.id
    for stream, token in (("cam", None), (None, token_id), ("cam", token_id)):
        await bench.thumbnailer().picture(account, stream, token)
    assert [source[:3] for source in bench.sources] == [(MEDIA, "live", f"{account}/cam")] * 3
    feed = feed_id(await bench.session())
    assert bench.sent == [(f"{account}/cam", JPEG, feed, str(token_id))] * 3


async def test_a_pass_is_good_while_the_picture_is_taken_and_no_longer(bench: Bench) -> None:
    """Each picture has its own."""
    await bench.publish("cam")
    await bench.hook()
    for _ in range(2):
        await bench.thumbnailer().picture(bench.world.account, "cam", None)
    assert bench.decided == [Reason.OK, Reason.OK]
    assert [await bench.show(source) for source in bench.sources] == [Reason.TOKEN_REVOKED] * 2
    assert bench.sources[0].token.reveal() != bench.sources[1].token.reveal()


@pytest.mark.parametrize("failure", [Unavailable("no picture"), RuntimeError("something else")])
async def test_a_picture_that_cannot_be_taken_leaves_no_pass_behind(bench: Bench, failure: Exception) -> None:
    """Whatever went wrong."""
    await bench.publish("cam")
    await bench.hook()
    bench.failure = failure
    with pytest.raises(type(failure)):
        await bench.thumbnailer().picture(bench.world.account, "cam", None)
    assert bench.decided == [Reason.OK]
    assert await bench.show(bench.sources[0]) is Reason.TOKEN_REVOKED
    assert bench.sent == []


async def test_who_gives_up_leaves_no_pass_behind(bench: Bench) -> None:
    """A caller that goes away while the picture is taken."""
    await bench.publish("cam")
    await bench.hook()
    bench.hold.clear()
    taking = asyncio.ensure_future(bench.thumbnailer().picture(bench.world.account, "cam", None))
    while not bench.decided:
        await asyncio.sleep(0.01)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    for _ in range(100):
        if await bench.show(bench.sources[0]) is Reason.TOKEN_REVOKED:
            break
        await asyncio.sleep(0.01)
    assert await bench.show(bench.sources[0]) is Reason.TOKEN_REVOKED


async def test_what_cannot_be_pictured_has_its_own_words(bench: Bench) -> None:
    """In the order in which an owner would mend it; none of these counts as a picture."""
    assert (await refused(bench, None)).field == "streamName"
    assert "not live" in (await refused(bench)).message
    error = await refused(bench, None, 999)
    assert (error.field, "not live" in error.message) == ("tokenId", True)
    await bench.publish("cam")
    assert "isThumbnailHooks" in (await refused(bench)).message
    await bench.hook(WebhookKind.FEEDS)
    assert "isThumbnailHooks" in (await refused(bench)).message
    await bench.hook(only="other")
    assert "isThumbnailHooks" in (await refused(bench)).message
    await bench.hook(only="c.m")
    for lacking in (replace(NGINX, media_url=""), replace(NGINX, control_url="")):
        bench.engines = [lacking]
        assert "stagedoor engine set nginx --media-url" in (await refused(bench)).message
    bench.engines = []
    assert "not known any more" in (await refused(bench)).message
    bench.engines = [NGINX]
    assert bench.sources == []
    for _ in range(6):
        await bench.thumbnailer().picture(bench.world.account, "cam", None)


async def test_a_token_that_publishes_several_streams_does_not_say_which(bench: Bench) -> None:
    """The name does."""
    await bench.publish("cam")
    await bench.publish("stage")
    await bench.hook()
    token_id = bench.world.tokens["pub"].record.id
    error = await refused(bench, None, token_id)
    assert isinstance(error, InvalidInput)
    assert "2 streams" in error.message
    await bench.thumbnailer().picture(bench.world.account, "stage", token_id)
    assert [sent[0] for sent in bench.sent] == [f"{bench.world.account}/stage"]
    other = bench.world.tokens["asks"].record.id
    assert "not live" in (await refused(bench, "stage", other)).message


async def test_a_session_that_the_engine_does_not_have_is_not_pictured(bench: Bench) -> None:
    """Neither one that has ended there, nor one of the same id that is another stream by now: no pass is made for it."""
    await bench.publish("cam", listed=False)
    await bench.hook()
    assert "not live any more" in (await refused(bench)).message
    bench.listed = [Broadcast("cam", stream_of("other"), Protocol.RTMP, "live", "other")]
    assert "not live any more" in (await refused(bench)).message
    assert bench.sources == []


async def test_of_two_encoders_the_one_is_pictured_that_can_be(bench: Bench) -> None:
    """On the engine that has a media address."""
    bench.engines = [replace(NGINX, media_url=""), replace(NGINX, id=ENGINES["nginx2"].id, name="nginx2")]
    await bench.publish("cam", listed=False)
    step = {"do": "publish", "stream": "A/cam", "engine": "nginx2", "protocol": "rtmp", "token": "asks"}
    assert (await bench.world.authorize({**step, "session": "two"})).allowed
    bench.listed = [Broadcast("two", stream_of("cam"), Protocol.RTMP, "live", "cam")]
    await bench.hook()
    await bench.thumbnailer().picture(bench.world.account, "cam", None)
    assert bench.sent[0][3] == str(bench.world.tokens["asks"].record.id)


async def test_six_a_minute_whichever_worker_is_asked(bench: Bench) -> None:
    """Of one stream; another one has its own six, and what was refused counts for nothing."""
    await bench.publish("cam")
    await bench.publish("stage")
    await bench.hook()
    account, workers = bench.world.account, [bench.thumbnailer(), bench.thumbnailer()]
    for number in range(6):
        bench.world.now = BASE + number
        await workers[number % 2].picture(account, "cam", None)
    for worker in workers:
        with pytest.raises(TooMany) as caught:
            await worker.picture(account, "cam", None)
        assert caught.value.retry_after_seconds == 55
    await workers[0].picture(account, "stage", None)
    bench.world.now = BASE + 59.5
    assert isinstance(await refused(bench), TooMany)
    bench.world.now = BASE + 60
    await workers[0].picture(account, "cam", None)


async def test_streams_whose_tokens_ask_are_pictured_every_half_minute_by_one_worker(bench: Bench) -> None:
    """At once when they begin, and then each by itself; others are not, and nobody does it twice."""
    await bench.publish("cam", "asks")
    await bench.publish("plain")
    await bench.hook()
    workers = [bench.thumbnailer(), bench.thumbnailer()]

    async def look(seconds: float) -> list[str]:
        bench.world.now = BASE + seconds
        bench.sent.clear()
        for worker in workers:
            await worker.picture_those_that_ask()
        return [sent[0].partition("/")[2] for sent in bench.sent]

    assert await look(0) == ["cam"]
    assert await look(2) == []
    await bench.publish("later", "asks")
    assert await look(10) == ["later"]
    assert await look(29) == []
    assert await look(30) == ["cam"]
    assert await look(40) == ["later"]
    await bench.world.sessions.ended(NGINX.id, "cam", Action.PUBLISH)
    assert await look(70) == ["later"]


async def test_automatic_pictures_do_not_count_as_those_on_demand(bench: Bench) -> None:
    """An owner has six, whatever a token asks for."""
    await bench.publish("cam", "asks")
    await bench.hook()
    worker = bench.thumbnailer()
    await worker.picture_those_that_ask()
    for _ in range(6):
        await worker.picture(bench.world.account, "cam", None)
    bench.world.now = BASE + 31
    await worker.picture_those_that_ask()
    assert len(bench.sent) == 8


async def test_nobody_to_send_it_to_takes_no_picture(bench: Bench) -> None:
    """A token may ask for what no webhook wants."""
    await bench.publish("cam", "asks")
    await bench.thumbnailer().picture_those_that_ask()
    assert bench.sources == []


async def test_what_keeps_failing_is_told_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """And once more when it has worked in between. The others are pictured all the same."""
    await bench.publish("cam", "asks")
    await bench.publish("gone", "asks", listed=False)
    await bench.hook()
    worker = bench.thumbnailer()
    for number in range(3):
        bench.world.now = BASE + 30 * number
        with caplog.at_level(logging.WARNING):
            await worker.picture_those_that_ask()
    assert len(bench.sent) == 3
    assert caplog.text.count("no thumbnail of") == 1
    assert f"{bench.world.account}/gone" in caplog.text
