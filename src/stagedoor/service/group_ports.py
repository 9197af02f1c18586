"""What groups of streams need of the store."""

from collections.abc import Callable, Sequence
from typing import Protocol

from stagedoor.model.group import StreamGroup
from stagedoor.model.ids import AccountId


class GroupStore(Protocol):
    """Groups of an account's streams. When a write returns, tokens that name the group are judged by what it is now."""

    async def add(self, group: StreamGroup) -> None:
        """Keep a new group.

        Raises: Conflict when its id is taken.
        """

    async def list(self, account: AccountId, after: str, limit: int) -> Sequence[StreamGroup]:
        """Return groups of the account in the order of their ids, those that come after one."""

    async def read(self, account: AccountId, group_id: str) -> StreamGroup:
        """Return a group.

        Raises: NotFound.
        """

    async def change(
        self, account: AccountId, group_id: str, change: Callable[[StreamGroup], StreamGroup]
    ) -> StreamGroup:
        """Apply `change` and return the group as it is now.

        Raises: NotFound; whatever `change` raises, with nothing changed.
        """

    async def remove(self, account: AccountId, group_id: str) -> None:
        """Forget a group: tokens that name it grant none of its streams any more.

        Raises: NotFound.
        """
