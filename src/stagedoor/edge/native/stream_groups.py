"""The operations on groups of streams."""

from functools import partial
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from stagedoor.edge.operation import Call, Operation
from stagedoor.model.group import StreamGroup
from stagedoor.model.instants import instant
from stagedoor.service.groups import MAX_LABEL, MAX_STREAMS, Groups

_PATH: Final = "/v1/stream-groups"
_ONE: Final = f"{_PATH}/{{groupId}}"

_Streams = Annotated[list[str], Meta(max_length=MAX_STREAMS)]
_Label = Annotated[str, Meta(min_length=1, max_length=MAX_LABEL)]


class NewStreamGroup(Struct, kw_only=True, forbid_unknown_fields=True):
    """A group to be made; without an id it gets one."""

    label: _Label
    id: str | None = None
    streams: _Streams = field(default_factory=list)


class ChangeStreamGroup(Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """What to change in a group: streams are removed first, then added."""

    label: _Label | None = None
    add_streams: _Streams = field(default_factory=list)
    remove_streams: _Streams = field(default_factory=list)


class ShownStreamGroup(Struct, rename="camel", kw_only=True):
    """A group of streams, in the order of their names."""

    id: str
    label: str
    streams: list[str]
    added_on: str


class ListStreamGroups(Struct, kw_only=True):
    """The query of a list."""

    after: str = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class StreamGroups(Struct, rename="camel", kw_only=True):
    """Groups in the order of their ids; `next` goes on after the last one, and is absent at the end."""

    groups: list[ShownStreamGroup]
    next: str | UnsetType = UNSET


def stream_group_operations(groups: Groups) -> tuple[Operation, ...]:
    """Return the operations."""

    async def create(call: Call) -> ShownStreamGroup:
        asked: NewStreamGroup = call.body
        return _shown(await groups.add(call.account, asked.id, asked.label, asked.streams))

    async def list_(call: Call) -> StreamGroups:
        asked: ListStreamGroups = call.query
        found = await groups.list(call.account, asked.after, asked.limit + 1)
        listed = StreamGroups(groups=[_shown(group) for group in found[: asked.limit]])
        if len(found) > asked.limit:
            listed.next = found[asked.limit - 1].id
        return listed

    async def read(call: Call) -> ShownStreamGroup:
        return _shown(await groups.read(call.account, call.path["groupId"]))

    async def change(call: Call) -> ShownStreamGroup:
        asked: ChangeStreamGroup = call.body
        return _shown(
            await groups.change(
                call.account,
                call.path["groupId"],
                label=asked.label,
                add=asked.add_streams,
                remove=asked.remove_streams,
            )
        )

    async def delete(call: Call) -> bool:
        await groups.remove(call.account, call.path["groupId"])
        return True

    operation = partial(Operation, tag="Stream groups")
    return (
        operation(
            method="GET",
            path=_PATH,
            name="list_stream_groups",
            scope="live:stream_group:read",
            summary="List the stream groups",
            handle=list_,
            query=ListStreamGroups,
            answer=StreamGroups,
            example_query="limit=20",
        ),
        operation(
            method="POST",
            path=_PATH,
            name="create_stream_group",
            scope="live:stream_group:create",
            summary="Create a stream group",
            status=201,
            handle=create,
            body=NewStreamGroup,
            answer=ShownStreamGroup,
            example={"label": "The summer", "streams": ["main", "backstage"]},
            refusals=(400, 409),
        ),
        operation(
            method="GET",
            path=_ONE,
            name="read_stream_group",
            scope="live:stream_group:read",
            summary="Read a stream group",
            handle=read,
            answer=ShownStreamGroup,
            refusals=(404,),
        ),
        operation(
            method="PATCH",
            path=_ONE,
            name="update_stream_group",
            scope="live:stream_group:update",
            summary="Change a stream group",
            handle=change,
            body=ChangeStreamGroup,
            answer=ShownStreamGroup,
            example={"addStreams": ["encore"]},
            refusals=(400, 404),
            text="Tokens that name the group are good for what is in it when this returns.",
        ),
        operation(
            method="DELETE",
            path=_ONE,
            name="delete_stream_group",
            scope="live:stream_group:delete",
            summary="Delete a stream group",
            handle=delete,
            answer=bool,
            refusals=(404,),
            text="Tokens that name the group are good for none of its streams any more.",
        ),
    )


def _shown(group: StreamGroup) -> ShownStreamGroup:
    return ShownStreamGroup(
        id=group.id, label=group.label, streams=list(group.streams), added_on=instant(group.added_on)
    )
