"""The operator's media servers: add, list, remove."""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from stagedoor.model.engine import AddressTrust, Engine, EngineKind
from stagedoor.model.errors import InvalidInput, NotFound
from stagedoor.model.ids import AccountId, EngineId
from stagedoor.model.secret import Secret
from stagedoor.service.ports import Clock, EngineStore
from stagedoor.tokens.keyring import Keyring

_LONGEST_URL: Final = 500
_HOST: Final = r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?"
_CONTROL_URL: Final = re.compile("https?://" + _HOST)
_MEDIA_URL: Final = re.compile("(?:rtmp|rtmps|rtsp|rtsps)://" + _HOST)
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class AddedEngine:
    """An engine and its hook secret, to be shown once, and what our own calls to it show."""

    engine: Engine
    hook_secret: Secret
    control_secret: Secret


class Engines:
    """What can be done with engines as things we know of."""

    def __init__(self, *, store: EngineStore, keyring: Keyring, clock: Clock) -> None:
        """Take the collaborators."""
        self._store = store
        self._keyring = keyring
        self._clock = clock

    async def add(
        self,
        kind: EngineKind,
        name: str,
        account: AccountId,
        *,
        address_trust: AddressTrust = AddressTrust.TRUSTED,
        control_url: str = "",
        media_url: str = "",
        cluster_id: str = "",
    ) -> AddedEngine:
        """Make an engine known; `account` (may be empty) owns the streams whose path names no account.

        Raises: InvalidInput for a name of other than 1 to 64 of `A-Z a-z 0-9 _ . -`, or an address that is none; Conflict
            when the name is taken; NotFound when the account or the cluster does not exist.
        """
        _check_control_url(control_url)
        _check_media_url(media_url)
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
            address_trust=address_trust,
            control_url=control_url,
            media_url=media_url,
            cluster_id=cluster_id,
        )
        await self._store.add_engine(engine)
        return self._added(engine, secret)

    async def renew_secret(self, name: str) -> AddedEngine:
        """Give the engine `name` a new hook secret; the old one is refused when this returns.

        Raises: NotFound.
        """
        secret = Secret(secrets.token_hex(24))
        digest = self._keyring.digest(secret.reveal().encode())
        engine = await self._store.change_engine(
            (await self.named(name)).id, lambda engine: replace(engine, secret_digest=digest)
        )
        return self._added(engine, secret)

    def _added(self, engine: Engine, secret: Secret) -> AddedEngine:
        return AddedEngine(engine, secret, Secret(control_secret(self._keyring.digest, engine.secret_digest)))

    async def set(
        self,
        name: str,
        *,
        address_trust: AddressTrust | None = None,
        control_url: str | None = None,
        media_url: str | None = None,
        cluster_id: str | None = None,
    ) -> Engine:
        """Change what is known of the engine `name`; None stays as it is.

        Raises: NotFound, also for the cluster; InvalidInput for an address that is none.
        """
        _check_control_url(control_url or "")
        _check_media_url(media_url or "")

        def change(engine: Engine) -> Engine:
            return replace(
                engine,
                address_trust=engine.address_trust if address_trust is None else address_trust,
                control_url=engine.control_url if control_url is None else control_url,
                media_url=engine.media_url if media_url is None else media_url,
                cluster_id=engine.cluster_id if cluster_id is None else cluster_id,
            )

        return await self._store.change_engine((await self.named(name)).id, change)

    async def named(self, name: str) -> Engine:
        """Return the engine `name`.

        Raises: NotFound.
        """
        for engine in await self._store.engines():
            if engine.name == name:
                return engine
        raise NotFound(f"there is no engine {name!r}", field="name")

    async def list(self) -> Sequence[Engine]:
        """Return all engines, by name."""
        return await self._store.engines()

    async def remove(self, name: str) -> None:
        """Forget the engine `name`: its hook secret is refused when this returns.

        Raises: NotFound.
        """
        await self._store.remove_engine(name)


def control_secret(digest: Callable[[bytes], bytes], secret_digest: bytes) -> str:
    """Return the secret that our own calls to an engine's control API show: made of the keyring and of its hook secret.

    Security: the hook secret itself is not kept, and who reads this one off the engine's side cannot call our hooks.
    """
    return digest(b"control " + secret_digest).hex()


def _check_control_url(url: str) -> None:
    if url and (len(url) > _LONGEST_URL or not _CONTROL_URL.fullmatch(url)):
        raise InvalidInput(
            "write the address of the control API as http://HOST:PORT, without a path or a password", field="controlUrl"
        )


def _check_media_url(url: str) -> None:
    if url and (len(url) > _LONGEST_URL or not _MEDIA_URL.fullmatch(url)):
        raise InvalidInput(
            "write where media is played as rtmp://HOST:PORT or rtsp://HOST:PORT, without a path or a password",
            field="mediaUrl",
        )
