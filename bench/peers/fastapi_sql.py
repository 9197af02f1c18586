"""A FastAPI handler with one SQLAlchemy look-up a call."""

import hashlib
import os
import time
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, Response
from pydantic import BaseModel
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

app = FastAPI()
_sessions = sessionmaker(create_engine(os.environ["PEER_DATABASE"]))


class Base(DeclarativeBase):
    """The declarative base."""


class Token(Base):
    """A token by its digest."""

    __tablename__ = "peer_token"

    digest: Mapped[str] = mapped_column(primary_key=True)
    path: Mapped[str]
    action: Mapped[str]
    active: Mapped[bool]
    expires_at: Mapped[int]


class Hook(BaseModel):
    """MediaMTX's call."""

    ip: str
    user: str
    password: str
    token: str
    action: str
    path: str
    protocol: str
    id: str | None
    query: str


def session() -> Iterator[Session]:
    """Open a session for one call."""
    with _sessions() as opened:
        yield opened


@app.post("/hook")
def hook(call: Hook, database: Annotated[Session, Depends(session)]) -> Response:
    """Allow what the row says."""
    digest = hashlib.sha256(call.token.encode()).hexdigest()
    row = database.execute(select(Token).where(Token.digest == digest)).scalar_one_or_none()
    allowed = (
        row is not None
        and row.active
        and row.expires_at > time.time()
        and row.path == call.path
        and row.action == call.action
    )
    return Response(status_code=200 if allowed else 403)
