"""Groups of streams: make, list, and change what is in them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final
from uuid import uuid4

from stagedoor.model.errors import InvalidInput, NotFound
from stagedoor.model.grant import StreamPattern
from stagedoor.model.group import StreamGroup
from stagedoor.model.ids import AccountId
from stagedoor.service.group_ports import GroupStore
from stagedoor.service.ports import Clock
from stagedoor.tokens.patterns import check_pattern

MAX_STREAMS: Final = 1000
"""Most streams in a group."""

MAX_LABEL: Final = 128

_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Groups:
    """What owners do with groups of their streams."""

    def __init__(self, *, store: GroupStore, clock: Clock) -> None:
        """Take the collaborators."""
        self._store = store
        self._clock = clock

    async def add(self, account: AccountId, group_id: str | None, label: str, streams: Iterable[str]) -> StreamGroup:
        """Make a group, with an id of its own where none is given.

        Raises: InvalidInput; Conflict when the id is taken.
        """
        group = StreamGroup(
            account=account,
            id=str(uuid4()) if group_id is None else group_id,
            label=label,
            streams=_distinct(streams),
            added_on=int(self._clock()),
        )
        if not _ID.fullmatch(group.id):
            raise InvalidInput("an id has 1 to 64 of A-Z a-z 0-9 _ . -", field="id")
        _check(group)
        await self._store.add(group)
        return group

    async def list(self, account: AccountId, after: str, limit: int) -> Sequence[StreamGroup]:
        """Return groups in the order of their ids, those that come after one."""
        return await self._store.list(account, after if _ID.fullmatch(after) else "", limit)

    async def read(self, account: AccountId, group_id: str) -> StreamGroup:
        """Return a group.

        Raises: NotFound.
        """
        return await self._store.read(account, _known(group_id))

    async def change(
        self,
        account: AccountId,
        group_id: str,
        *,
        label: str | None = None,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
    ) -> StreamGroup:
        """Change a group: streams are removed first, then added. Tokens that name it are judged by it from now on.

        Raises: NotFound; InvalidInput, with nothing changed.
        """
        gone = set(remove)

        def changed(group: StreamGroup) -> StreamGroup:
            streams = _distinct((*(name for name in group.streams if name not in gone), *add))
            new = replace(group, label=group.label if label is None else label, streams=streams)
            _check(new)
            return new

        return await self._store.change(account, _known(group_id), changed)

    async def remove(self, account: AccountId, group_id: str) -> None:
        """Forget a group: tokens that name it grant none of its streams any more.

        Raises: NotFound.
        """
        await self._store.remove(account, _known(group_id))


def _known(group_id: str) -> str:
    """Return an id that a group can have.

    Raises: NotFound.
    """
    if not _ID.fullmatch(group_id):
        raise NotFound("there is no such stream group", field="groupId")
    return group_id


def _distinct(streams: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(streams)))


def _check(group: StreamGroup) -> None:
    if not 1 <= len(group.label) <= MAX_LABEL or "\0" in group.label:
        raise InvalidInput(f"label has 1 to {MAX_LABEL} characters", field="label")
    if len(group.streams) > MAX_STREAMS:
        raise InvalidInput(f"a group has at most {MAX_STREAMS} streams; make another one", field="streams")
    for stream in group.streams:
        check_pattern(StreamPattern(stream))
