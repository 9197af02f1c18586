"""The operator's media servers: add, list, remove."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.errors import InvalidInput, NotFound
from stagedoor.model.ids import AccountId, EngineId
from stagedoor.model.secret import Secret
from stagedoor.service.ports import Clock, EngineStore
from stagedoor.tokens.keyring import Keyring

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class AddedEngine:
    """An engine and its hook secret, to be shown once."""

    engine: Engine
    hook_secret: Secret


class Engines:
    """What can be done with engines as things we know of."""

    def __init__(self, *, store: EngineStore, keyring: Keyring, clock: Clock) -> None:
        """Take the collaborators."""
        self._store = store
        self._keyring = keyring
        self._clock = clock

    async def add(self, kind: EngineKind, name: str, account: AccountId) -> AddedEngine:
        """Make an engine known; `account` (may be empty) owns the streams whose path names no account.

        Raises: InvalidInput for a name of other than 1 to 64 of `A-Z a-z 0-9 _ . -`; Conflict when it is taken;
            NotFound when the account does not exist.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput("an engine's name has 1 to 64 of A-Z a-z 0-9 _ . -", field="name")
        secret = Secret(secrets.token_hex(24))
        engine = Engine(
            id=EngineId(f"eng_{secrets.token_hex(6)}"),
            kind=kind,
            name=name,
            account=account,
            secret_digest=self._keyring.digest(secret.reveal().encode()),
            added_on=int(self._clock()),
        )
        await self._store.add_engine(engine)
        return AddedEngine(engine, secret)

    async def renew_secret(self, name: str) -> AddedEngine:
        """Give the engine `name` a new hook secret; the old one is refused when this returns.

        Raises: NotFound.
        """
        for engine in await self._store.engines():
            if engine.name == name:
                secret = Secret(secrets.token_hex(24))
                await self._store.replace_engine_secret(engine.id, self._keyring.digest(secret.reveal().encode()))
                return AddedEngine(engine, secret)
        raise NotFound(f"there is no engine {name!r}", field="name")

    async def list(self) -> Sequence[Engine]:
        """Return all engines, by name."""
        return await self._store.engines()

    async def remove(self, name: str) -> None:
        """Forget the engine `name`: its hook secret is refused when this returns.

        Raises: NotFound.
        """
        await self._store.remove_engine(name)
