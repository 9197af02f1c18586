"""The keys that we sign with: made, published, put in use, retired, revoked and restored; and what they sign.

Each algorithm has one key in use. Where there is none, the next signature puts the newest standby in use, or makes a key.
A schedule replaces a key that was in use for long enough: its successor is published a day before it signs, so that whoever
keeps our public keys has it by then.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from stagedoor.model.errors import InvalidInput, NotFound
from stagedoor.model.key import Algorithm, KeyState, SigningKey
from stagedoor.service.key_ports import NewSigningKey, Signed, SigningKeyStore
from stagedoor.service.ports import Clock
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.signing import PrivateKey, load_key, new_key, sign

_log = logging.getLogger(__name__)

AHEAD_SECONDS: Final = 24 * 3600
"""For how long a key is published before the schedule puts it in use."""

MOST_KEYS: Final = 100
"""How many keys of an algorithm there may be that are not revoked: everyone who checks our tokens reads them all."""

_DAY: Final = 24 * 3600

ReadKeys = Callable[[], Awaitable[Sequence[SigningKey]]]
"""Return all keys, oldest first, never older than the newest acknowledged write."""


class SigningKeys:
    """The system's own keys. It is the `Signer` of what we issue."""

    def __init__(self, *, store: SigningKeyStore, read: ReadKeys, keyring: Keyring, clock: Clock) -> None:
        """Take the store, how keys are read (from memory, where there is one), the keyring and the clock."""
        self._store = store
        self._read = read
        self._keyring = keyring
        self._clock = clock
        self._loaded: dict[Algorithm, tuple[str, PrivateKey]] = {}

    async def sign(self, claims: Mapping[str, object], *, algorithm: Algorithm, typ: str = "JWT") -> Signed:
        """Sign claims as a JWT (RFC 7519) with the key that is in use for an algorithm.

        Raises: Unavailable; ConfigError when the key does not open.
        """
        key = await self.in_use(algorithm)
        text = sign(self._private(key), key.kid, claims, algorithm=algorithm, typ=typ)
        return Signed(text, key.id, key.kid)

    async def in_use(self, algorithm: Algorithm) -> SigningKey:
        """Return the key in use for an algorithm; with none, the newest standby is put in use, or a key is made.

        Raises: Unavailable.
        """
        keys = [key for key in await self._read() if key.algorithm is algorithm]
        for key in keys:
            if key.state is KeyState.IN_USE:
                return key
        standby = [key for key in keys if key.state is KeyState.STANDBY]
        if standby:
            return await self._store.change(standby[-1].kid, KeyState.IN_USE, self._now())
        return await self._make(algorithm, KeyState.IN_USE, lambda key: key.state is KeyState.IN_USE)

    async def list(self) -> Sequence[SigningKey]:
        """Return all keys, oldest first."""
        return await self._read()

    async def is_revoked(self, key_id: int) -> bool:
        """Tell whether what a key signed is good no more."""
        return any(key.id == key_id and key.state is KeyState.REVOKED for key in await self._read())

    async def make(self, algorithm: Algorithm) -> SigningKey:
        """Make a key and publish it, to be put in use later.

        Raises: InvalidInput when there are too many.
        """
        kept = [k for k in await self._read() if k.algorithm is algorithm and k.state is not KeyState.REVOKED]
        if len(kept) >= MOST_KEYS:
            raise InvalidInput(
                f"there are {len(kept)} {algorithm} keys; revoke those that nothing is signed with any more"
            )
        return await self._make(algorithm, KeyState.STANDBY, lambda _: False)

    async def use(self, kid: str) -> SigningKey:
        """Sign with a key from now on; the one that was in use is published on, so that what it signed stays good.

        Raises: NotFound; Conflict when it is revoked.
        """
        return await self._change(kid, KeyState.IN_USE)

    async def retire(self, kid: str) -> SigningKey:
        """Sign nothing more with a key; what it signed stays good.

        Raises: NotFound.
        """
        key = await self._find(kid)
        return key if key.state is KeyState.REVOKED else await self._change(key.kid, KeyState.PREVIOUSLY_USED)

    async def revoke(self, kid: str) -> SigningKey:
        """Publish a key no more: nothing that it signed is good from now on.

        Raises: NotFound.
        """
        return await self._change(kid, KeyState.REVOKED)

    async def restore(self, kid: str) -> SigningKey:
        """Take back that a key was revoked: what it signed is good again, and it signs nothing until it is put in use.

        Raises: NotFound; InvalidInput when it is not revoked.
        """
        key = await self._find(kid)
        if key.state is not KeyState.REVOKED:
            raise InvalidInput(f"the key is {key.state}; only a revoked one is restored", field="kid")
        return await self._change(key.kid, KeyState.PREVIOUSLY_USED)

    async def published(self) -> Mapping[str, Any]:
        """Return the public halves of all keys that are not revoked, as a JWK set (RFC 7517 section 5).

        The first key of an algorithm is made by now: who reads these keeps them, and must not have kept too few.

        Raises: Unavailable.
        """
        known = {key.algorithm for key in await self._read()}
        for algorithm in Algorithm:
            if algorithm not in known:
                await self.in_use(algorithm)
        keys = [key for key in await self._read() if key.state is not KeyState.REVOKED]
        return {"keys": [msgspec.json.decode(key.public_jwk) for key in keys]}

    async def rotate(self, days: int) -> None:
        """Do what the schedule asks for: replace keys that were in use for `days`; 0 stands for never.

        Raises: Unavailable.
        """
        if days <= 0:
            return
        now = self._now()
        keys = await self._read()
        for used in [key for key in keys if key.state is KeyState.IN_USE]:
            due = used.changed_on + days * _DAY
            if now < due - AHEAD_SECONDS:
                continue
            standby = [k for k in keys if k.algorithm is used.algorithm and k.state is KeyState.STANDBY]
            if not standby:
                made = await self._make(used.algorithm, KeyState.STANDBY, lambda key: key.state is KeyState.STANDBY)
                _log.info("signing key %s (%s) is published, and will be used in a day", made.kid, made.algorithm)
            elif now >= due and now >= standby[0].changed_on + AHEAD_SECONDS:
                await self._store.change(standby[0].kid, KeyState.IN_USE, now)
                _log.info("signing key %s (%s) is in use in place of %s", standby[0].kid, used.algorithm, used.kid)

    async def _find(self, kid: str) -> SigningKey:
        """Return the key whose name begins so, if it is one only.

        Raises: NotFound.
        """
        found = [key for key in await self._read() if key.kid == kid]
        if not found and kid:
            found = [key for key in await self._read() if key.kid.startswith(kid)]
        if len(found) != 1:
            raise NotFound(f"there is no one signing key {kid!r}", field="kid")
        return found[0]

    async def _change(self, kid: str, state: KeyState) -> SigningKey:
        key = await self._find(kid)
        return await self._store.change(key.kid, state, self._now())

    async def _make(self, algorithm: Algorithm, state: KeyState, unless: Callable[[SigningKey], bool]) -> SigningKey:
        # In a thread: primes are looked for while requests are answered.
        made = await asyncio.to_thread(new_key, algorithm)
        new = NewSigningKey(
            kid=made.kid,
            algorithm=algorithm,
            public_jwk=made.public_jwk,
            sealed=self._keyring.seal(made.private, place_of(made.kid)),
            added_on=self._now(),
        )
        return await self._store.add(new, state, unless)

    def _private(self, key: SigningKey) -> PrivateKey:
        kid, loaded = self._loaded.get(key.algorithm, ("", None))
        if loaded is None or kid != key.kid:
            # One key of each algorithm is kept; what signs no more leaves the memory when its successor signs.
            loaded = load_key(self._keyring.unseal(key.sealed, place_of(key.kid)))
            self._loaded[key.algorithm] = (key.kid, loaded)
        return loaded

    def _now(self) -> int:
        return int(self._clock())


def place_of(kid: str) -> str:
    """Return the place that a key is sealed for."""
    return f"signing_key.sealed:{kid}"
