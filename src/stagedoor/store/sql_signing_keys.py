"""The keys that we sign with, on SQL. Every change of them makes all views forget them."""

from collections.abc import Callable, Sequence

from sqlalchemy import RowMapping, insert, select, update

from stagedoor.model.errors import Conflict, NotFound
from stagedoor.model.ids import AccountId
from stagedoor.model.key import Algorithm, KeyState, SigningKey, may_become
from stagedoor.service.key_ports import NewSigningKey
from stagedoor.service.ports import ChangeKind
from stagedoor.store import schema
from stagedoor.store.transactions import Database, Write

_NOBODY = AccountId("")
_C = schema.signing_key.c


class SqlSigningKeys:
    """The port `SigningKeyStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def keys(self) -> Sequence[SigningKey]:
        """Return all keys, oldest first."""
        async with self._reading() as connection:
            rows = await connection.execute(select(schema.signing_key).order_by(_C.id))
            return [_key_of(row) for row in rows.mappings()]

    async def add(self, new: NewSigningKey, state: KeyState, unless: Callable[[SigningKey], bool]) -> SigningKey:
        """Keep a new key; with one of its algorithm there that `unless` holds of, return the newest such one instead."""
        async with self._writing() as write:
            query = select(schema.signing_key).where(_C.algorithm == new.algorithm).order_by(_C.id.desc())
            others = [_key_of(row) for row in (await write.connection.execute(query)).mappings()]
            found = next((key for key in others if unless(key)), None)
            if found is not None:
                return found
            if state is KeyState.IN_USE:
                await _retire(write, new.algorithm, new.added_on)
            values = {
                "kid": new.kid,
                "algorithm": new.algorithm,
                "state": state,
                "sealed": new.sealed,
                "public_jwk": new.public_jwk,
                "added_on": new.added_on,
                "changed_on": new.added_on,
            }
            statement = insert(schema.signing_key).values(values).returning(schema.signing_key)
            row = (await write.connection.execute(statement)).mappings().one()
            _touch(write, new.kid)
        return _key_of(row)

    async def change(self, kid: str, state: KeyState, at: int) -> SigningKey:
        """Bring a key into a state."""
        async with self._writing() as write:
            query = select(schema.signing_key).where(_C.kid == kid)
            row = (await write.connection.execute(query)).mappings().one_or_none()
            if row is None:
                raise NotFound(f"there is no signing key {kid!r}", field="kid")
            key = _key_of(row)
            if key.state is state:
                return key
            if not may_become(key.state, state):
                raise Conflict(f"the key is {key.state} and cannot become {state}", field="state")
            if state is KeyState.IN_USE:
                await _retire(write, key.algorithm, at)
            statement = (
                update(schema.signing_key)
                .where(_C.kid == kid)
                .values(state=state, changed_on=at)
                .returning(schema.signing_key)
            )
            row = (await write.connection.execute(statement)).mappings().one()
            _touch(write, kid)
        return _key_of(row)


async def _retire(write: Write, algorithm: Algorithm, at: int) -> None:
    """Make room for another key in use."""
    statement = (
        update(schema.signing_key)
        .where(_C.algorithm == algorithm, _C.state == KeyState.IN_USE)
        .values(state=KeyState.PREVIOUSLY_USED, changed_on=at)
        .returning(_C.kid)
    )
    for kid in (await write.connection.execute(statement)).scalars():
        _touch(write, kid)


def _touch(write: Write, kid: str) -> None:
    write.touches(ChangeKind.KEY, _NOBODY, kid.encode())


def _key_of(row: RowMapping) -> SigningKey:
    return SigningKey(
        id=row["id"],
        kid=row["kid"],
        algorithm=Algorithm(row["algorithm"]),
        state=KeyState(row["state"]),
        public_jwk=row["public_jwk"],
        sealed=row["sealed"],
        added_on=row["added_on"],
        changed_on=row["changed_on"],
    )
