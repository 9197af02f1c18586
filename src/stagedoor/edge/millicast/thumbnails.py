"""The operation that pictures a live stream: `/api/thumbnails`."""

from msgspec import Struct

from stagedoor.edge.operation import Call, Operation
from stagedoor.model.ids import TokenId
from stagedoor.service.thumbnails import Thumbnailer


class TriggerThumbnail(Struct, rename="camel"):
    """Which stream: by its name, by the id of the token that it is published with, or both."""

    stream_name: str | None = None
    token_id: int | None = None


def thumbnail_operations(thumbnailer: Thumbnailer) -> tuple[Operation, ...]:
    """Return the operation."""

    async def trigger(call: Call) -> bool:
        asked: TriggerThumbnail = call.body
        token_id = None if asked.token_id is None else TokenId(asked.token_id)
        await thumbnailer.picture(call.account, asked.stream_name, token_id)
        return True

    return (
        Operation(
            method="POST",
            path="/api/thumbnails",
            name="trigger_thumbnail",
            scope="live:thumbnail:create",
            tag="Thumbnails",
            summary="Picture a live stream and send the picture to the webhooks that ask for thumbnails",
            handle=trigger,
            body=TriggerThumbnail,
            answer=bool,
            example={"streamName": "main"},
            refusals=(400, 429),
            text="At most 6 a minute for each stream.",
        ),
    )
