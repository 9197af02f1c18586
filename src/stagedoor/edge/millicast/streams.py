"""The operations that end streams, and those that tell which tokens publish: `/api/stream`, `/api/publish_token/active`."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from stagedoor.edge.millicast.shapes import Int32
from stagedoor.edge.operation import Call, Operation
from stagedoor.model.ids import TokenId
from stagedoor.service.streams import Streams, reprioritize
from stagedoor.service.token_admin import TokenAdmin

StreamIdText = Annotated[str, Meta(min_length=1, max_length=300, description="ACCOUNT/NAME", examples=["ACCOUNT/main"])]

_TAG = "Streams"


class StoppingLevel(StrEnum):
    """What was ended: everything of the account, a stream, what a token runs; or nothing, since nothing ran."""

    ACCOUNT = "Account"
    STREAM = "Stream"
    FEED = "Feed"
    SERVER = "Server"
    TOKEN = "Token"
    NONE = "None"


class Stopped(Struct, rename="camel"):
    """What was ended."""

    stopping_level: StoppingLevel


class StopStream(Struct, rename="camel"):
    """A stream of the account, as `ACCOUNT/NAME`."""

    stream_id: StreamIdText


class Reprioritize(Struct, rename="camel"):
    """A publish token, and the priority that it is to have."""

    token_id: int
    update_priority: Int32


class OfStream(Struct, rename="camel"):
    """A stream of the account, as `ACCOUNT/NAME`."""

    stream_id: StreamIdText


class ActiveTokens(Struct, rename="camel"):
    """The publish tokens that are in use, each once, by id."""

    token_ids: list[int]


def stream_operations(streams: Streams, tokens: TokenAdmin) -> tuple[Operation, ...]:
    """Return the operations on what is being published."""

    async def stop(call: Call) -> Stopped:
        asked: StopStream = call.body
        return _stopped(StoppingLevel.STREAM, ran=await streams.stop(call.account, asked.stream_id))

    async def stop_all(call: Call) -> Stopped:
        return _stopped(StoppingLevel.ACCOUNT, ran=await streams.stop_all(call.account))

    async def change_priority(call: Call) -> Stopped:
        asked: Reprioritize = call.body
        ran = await reprioritize(streams, tokens, call.account, TokenId(asked.token_id), asked.update_priority)
        return _stopped(StoppingLevel.TOKEN, ran=ran)

    async def active(call: Call) -> ActiveTokens:
        asked: OfStream = call.query
        return ActiveTokens([*await streams.active_tokens(call.account, asked.stream_id)])

    async def active_all(call: Call) -> ActiveTokens:
        return ActiveTokens([*await streams.active_tokens(call.account)])

    return (
        Operation(
            method="POST",
            path="/api/stream/stop",
            name="stop_stream",
            scope="live:stream:stop",
            tag=_TAG,
            summary="End a stream",
            handle=stop,
            body=StopStream,
            answer=Stopped,
            example={"streamId": "ACCOUNT/main"},
            text="It ends on every media server at once; an encoder that comes back is let in. What cannot be ended is told.",
        ),
        Operation(
            method="POST",
            path="/api/stream/stop/all",
            name="stop_all_streams",
            scope="live:stream:stop",
            tag=_TAG,
            summary="End every stream of the account",
            handle=stop_all,
            answer=Stopped,
        ),
        Operation(
            method="POST",
            path="/api/stream/reprioritize",
            name="reprioritize_stream",
            scope="live:stream:update",
            tag=_TAG,
            summary="Give a publish token another priority, and restart what it runs",
            handle=change_priority,
            body=Reprioritize,
            answer=Stopped,
            example={"tokenId": 1, "updatePriority": 1},
        ),
        Operation(
            method="GET",
            path="/api/publish_token/active",
            name="active_publish_tokens_of_stream",
            scope="live:publish_token:read",
            tag="Publish tokens",
            summary="Tell which tokens a stream is published with",
            handle=active,
            query=OfStream,
            answer=ActiveTokens,
            example_query="streamId=ACCOUNT/main",
        ),
        Operation(
            method="GET",
            path="/api/publish_token/active/all",
            name="active_publish_tokens",
            scope="live:publish_token:read",
            tag="Publish tokens",
            summary="Tell which tokens are in use",
            handle=active_all,
            answer=ActiveTokens,
        ),
    )


def _stopped(level: StoppingLevel, *, ran: bool) -> Stopped:
    return Stopped(level if ran else StoppingLevel.NONE)
