"""Seal everything anew under another key of the keyring, while all goes on.

The new key is put into the keyring and seals from then on; whoever meets a value that is sealed with it takes it from the
keyring's file. Then all values are sealed anew, and those that others sealed with the old key meanwhile, and when there are
none left the old key is dropped. Interrupted anywhere, nothing is lost: it is begun again and finds what is left.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from stagedoor.model.errors import ConfigError
from stagedoor.service.sealed_ports import Resealed, SealedKind, SealedStore, place_of
from stagedoor.tokens.keyring import Keyring

_log = logging.getLogger(__name__)

BATCH: Final = 500
"""How many values are sealed anew in one transaction: others wait for it."""

SETTLE_SECONDS: Final = 40.0
"""How long a write may be under way that was sealed with the old key: a turn in the queue, and then at the database."""

_MOST_PASSES: Final = 100
_MOST_NAMED: Final = 10


class KeyringKeeper(Protocol):
    """Where the keyring is kept."""

    def read(self) -> Keyring:
        """Read it as it is now.

        Raises: ConfigError.
        """

    def replace(self, keyring: Keyring) -> None:
        """Put another in its place; when this returns, no sealing begins with the old one.

        Raises: ConfigError.
        """


async def reseal(
    *,
    store: SealedStore,
    keeper: KeyringKeeper,
    wait: Callable[[float], Awaitable[None]],
    settle_seconds: float = SETTLE_SECONDS,
) -> int:
    """Seal everything anew under a new key, drop the old ones, and return how many values that were.

    With several keys in the keyring it goes on where an earlier run was interrupted. The keyring is to be kept from others
    who change it.

    Raises: ConfigError when values do not open: then the old keys stay; Unavailable.
    """
    keyring = keeper.read()
    if not keyring.is_resealing:
        keyring = keyring.with_new_key()
        keeper.replace(keyring)
    count, _ = await _pass(store, keyring)
    await wait(settle_seconds)
    for _ in range(_MOST_PASSES):
        more, closed = await _pass(store, keyring)
        count += more
        if closed:
            names = ", ".join(closed[:_MOST_NAMED]) + (", ..." if len(closed) > _MOST_NAMED else "")
            raise ConfigError(
                f"{len(closed)} values do not open, and the old keys stay in the keyring: {names}; delete these, or restore"
                " the keyring that they were sealed with, and run it again"
            )
        if not more:
            break
    else:
        raise ConfigError("something goes on sealing with an old key; restart what serves, and run it again")
    keeper.replace(keyring.without_old_keys())
    return count


async def _pass(store: SealedStore, keyring: Keyring) -> tuple[int, list[str]]:
    """Seal anew what is sealed with another key; return how many values that were, and which did not open."""
    count, closed = 0, []
    for kind in SealedKind:
        after = 0
        while values := await store.sealed(kind, keyring.mark, after, BATCH):
            after = values[-1].id
            opened = []
            for value in values:
                place = place_of(kind, value.name)
                try:
                    secret = keyring.unseal(value.sealed, place)
                except ConfigError:
                    closed.append(place)
                    continue
                opened.append(Resealed(value.id, value.sealed, keyring.seal(secret, place)))
            await store.reseal(kind, opened)
            count += len(opened)
        _log.info("sealed anew: %s", kind)
    return count, closed
