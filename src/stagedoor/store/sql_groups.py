"""Groups of streams on SQL."""

from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from stagedoor.model.errors import Conflict, NotFound
from stagedoor.model.group import StreamGroup
from stagedoor.model.ids import AccountId
from stagedoor.service.ports import ChangeKind
from stagedoor.store import schema
from stagedoor.store.transactions import Database, Write

_g, _s = schema.stream_group.c, schema.stream_group_stream.c


class SqlGroups:
    """The port `GroupStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def add(self, group: StreamGroup) -> None:
        """Keep a new group."""
        async with self._writing() as write:
            row = {"account_id": group.account, "id": group.id, "label": group.label, "added_on": group.added_on}
            try:
                await write.connection.execute(insert(schema.stream_group).values(row))
            except IntegrityError:
                raise Conflict(f"there is a stream group {group.id!r} already; choose another id", field="id") from None
            await _write_streams(write, group)

    async def list(self, account: AccountId, after: str, limit: int) -> Sequence[StreamGroup]:
        """Return groups of the account in the order of their ids, those that come after one."""
        query = select(schema.stream_group).where(_g.account_id == account, _g.id > after).order_by(_g.id).limit(limit)
        async with self._reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
            streams = select(_s.group_id, _s.stream).where(
                _s.account_id == account, _s.group_id.in_([row["id"] for row in rows])
            )
            found: dict[str, list[str]] = {}
            for group_id, stream in await connection.execute(streams.order_by(_s.stream)):
                found.setdefault(group_id, []).append(stream)
        return [
            StreamGroup(
                account=account,
                id=row["id"],
                label=row["label"],
                streams=tuple(found.get(row["id"], ())),
                added_on=row["added_on"],
            )
            for row in rows
        ]

    async def read(self, account: AccountId, group_id: str) -> StreamGroup:
        """Return a group."""
        async with self._reading() as connection:
            return await _find(connection, account, group_id)

    async def change(
        self, account: AccountId, group_id: str, change: Callable[[StreamGroup], StreamGroup]
    ) -> StreamGroup:
        """Apply `change` and return the group as it is now."""
        async with self._writing() as write:
            group = change(await _find(write.connection, account, group_id))
            mine = update(schema.stream_group).where(_g.account_id == account, _g.id == group_id)
            await write.connection.execute(mine.values(label=group.label))
            await _write_streams(write, group)
        return group

    async def remove(self, account: AccountId, group_id: str) -> None:
        """Forget a group: tokens that name it grant none of its streams any more."""
        async with self._writing() as write:
            await _find(write.connection, account, group_id)
            await write.connection.execute(
                delete(schema.stream_group_stream).where(_s.account_id == account, _s.group_id == group_id)
            )
            await write.connection.execute(
                delete(schema.stream_group).where(_g.account_id == account, _g.id == group_id)
            )
            write.touches(ChangeKind.GROUP, account, group_id.encode())


async def _write_streams(write: Write, group: StreamGroup) -> None:
    await write.connection.execute(
        delete(schema.stream_group_stream).where(_s.account_id == group.account, _s.group_id == group.id)
    )
    rows = [{"account_id": group.account, "group_id": group.id, "stream": stream} for stream in group.streams]
    if rows:
        await write.connection.execute(insert(schema.stream_group_stream), rows)
    write.touches(ChangeKind.GROUP, group.account, group.id.encode())


async def _find(connection: AsyncConnection, account: AccountId, group_id: str) -> StreamGroup:
    query = select(schema.stream_group).where(_g.account_id == account, _g.id == group_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("there is no such stream group", field="groupId")
    streams = select(_s.stream).where(_s.account_id == account, _s.group_id == group_id).order_by(_s.stream)
    names = tuple((await connection.execute(streams)).scalars())
    return StreamGroup(account=account, id=group_id, label=row["label"], streams=names, added_on=row["added_on"])


async def read_group_streams(connection: AsyncConnection, account: AccountId, groups: Iterable[str]) -> tuple[str, ...]:
    """Return the streams in groups, each once."""
    query = select(_s.stream).where(_s.account_id == account, _s.group_id.in_(list(groups)))
    return tuple((await connection.execute(query.distinct().order_by(_s.stream))).scalars())
