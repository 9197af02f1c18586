"""A FastAPI CRUD of one table through SQLAlchemy, with every commit on disk before it is answered, as ours has it."""

import os
import secrets
import time
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import JSON, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

app = FastAPI()
# As many connections as there are threads: with fewer, threads that wait for one keep those that would give one back.
_engine = create_engine(os.environ["PEER_CRUD_DATABASE"], pool_size=64)
_sessions = sessionmaker(_engine)


@event.listens_for(_engine, "connect")
def _prepare(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")


class Base(DeclarativeBase):
    """The declarative base."""


class Token(Base):
    """A token."""

    __tablename__ = "token"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str]
    streams: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    value: Mapped[str]
    active: Mapped[bool]
    added_on: Mapped[int]


class Stream(BaseModel):
    """A stream."""

    streamName: str = Field(min_length=1, max_length=128)  # noqa: N815  as it travels
    isRegex: bool = False  # noqa: N815


class NewToken(BaseModel):
    """A token to be made."""

    label: str = Field(min_length=1, max_length=128)
    streams: list[Stream] = Field(min_length=1)


class ShownToken(NewToken):
    """A token as it is answered."""

    id: int
    token: str
    isActive: bool  # noqa: N815
    addedOn: int  # noqa: N815


Base.metadata.create_all(_engine)


def session() -> Iterator[Session]:
    """Open a session for one call."""
    with _sessions() as opened:
        yield opened


@app.post("/token")
def create(body: NewToken, database: Annotated[Session, Depends(session)]) -> ShownToken:
    """Keep a row."""
    row = Token(
        label=body.label,
        streams=[stream.model_dump() for stream in body.streams],
        value=secrets.token_hex(32),
        active=True,
        added_on=int(time.time()),
    )
    database.add(row)
    database.commit()
    return _shown(row)


@app.get("/token/{token_id}")
def read(token_id: int, database: Annotated[Session, Depends(session)]) -> ShownToken:
    """Return a row."""
    row = database.get(Token, token_id)
    if row is None:
        raise HTTPException(404)
    return _shown(row)


def _shown(row: Token) -> ShownToken:
    streams = [Stream(**stream) for stream in row.streams]
    return ShownToken(
        id=row.id, label=row.label, streams=streams, token=row.value, isActive=row.active, addedOn=row.added_on
    )
