"""The watchers' port on SQL.

A row of `watermark` says where a reminder stopped: `NAME` holds the expiry of the token that was looked at last and `NAME id`
its id, so that a batch may end between tokens that expire together. `used ID` says when a token was first used, and what
begins with `refused` or `sharing`, when that was told last.
"""

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Exists,
    ScalarSelect,
    Select,
    Table,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from stagedoor.model.access import Action
from stagedoor.model.events import Event, EventType, TokenName, token_event, viewer_event
from stagedoor.model.ids import AccountId
from stagedoor.model.instants import instant
from stagedoor.model.token import TokenKind
from stagedoor.model.webhook import WebhookKind
from stagedoor.service.watch_ports import ATTEMPT_SECONDS, EMPTY_SECONDS, FirstUse, Lead, Stream, Suspicion
from stagedoor.store import schema
from stagedoor.store.transactions import Database, with_webhooks

SETTLED_SECONDS: Final = 10
"""A token whose expiry lies so far back has been committed, or never will be: no statement may take longer."""

_LARGEST_ID: Final = 2**53 - 1
_REMINDED: Final = (TokenKind.PUBLISH, TokenKind.SUBSCRIBE)
"""Whose expiry is told of. Signed tokens are many and meant to end."""

_PREFIXES: Final = {EventType.TOKEN_REFUSED: "refused", EventType.TOKEN_SHARED: "sharing"}


class SqlWatch:
    """The port `WatchStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def remind(self, lead: Lead, sooner_seconds: int, now: float, most: int) -> bool:
        """Tell of tokens that come so close to their expiry, from where the last call stopped; tell whether there are more."""
        until = int(now) - SETTLED_SECONDS + lead.seconds
        name = f"expiring {lead.seconds}" if lead.seconds else "expired"
        async with self._writing(numbered=False) as write:
            stopped = await _position(write.connection, name)
            if stopped is None:
                await _begin_at(write.connection, name, until)
                return False
            if until <= stopped[0]:
                return False
            query = _expiring(stopped, until, lead, int(now) + sooner_seconds if lead.seconds else None)
            rows = (await write.connection.execute(query.limit(most))).all()
            for expires_at, *named in rows:
                more = {"expiresOn": instant(expires_at)} | ({"before": lead.name} if lead.seconds else {})
                kind = EventType.TOKEN_EXPIRING if lead.seconds else EventType.TOKEN_EXPIRED
                write.tells(token_event(kind, TokenName(*named), now, more))
            reached = (rows[-1][0], rows[-1][2]) if len(rows) == most else (until, _LARGEST_ID)
            await _stop_at(write.connection, name, reached)
        return len(rows) == most

    async def first_used(self, uses: Sequence[FirstUse]) -> None:
        """Tell of those that were never used before."""
        of = {f"used {use.token_id}": use for use in uses}
        w, t = schema.watermark.c, schema.token.c
        async with self._reading() as connection:
            known = set((await connection.execute(select(w.name).where(w.name.in_(of)))).scalars())
        # In one order, so that two of these never wait for each other in a ring.
        rows = [{"name": name, "at": of[name].at} for name in sorted(of) if name not in known]
        if not rows:
            return
        async with self._writing(numbered=False) as write:
            added = _insert(write.connection, schema.watermark).on_conflict_do_nothing().returning(w.name)
            new = [of[name] for name in (await write.connection.execute(added, rows)).scalars()]
            tokens = select(*_NAMED).where(t.id.in_([use.token_id for use in new]))
            named = {row.id: TokenName(*row) for row in await write.connection.execute(tokens)}
            for use in new:
                if use.token_id in named:
                    token = named[use.token_id]
                    stream = {"streamName": use.stream} if use.stream else {}
                    write.tells(token_event(EventType.TOKEN_FIRST_USED, token, use.at, stream, use.stream))

    async def attempted(self, attempts: Mapping[Stream, float]) -> None:
        """Tell of attempts to watch, where none was told of within `ATTEMPT_SECONDS`."""
        c = schema.audience.c
        rows = [
            {"account_id": account, "stream": stream, "present": False, "attempted_at": at}
            for (account, stream), at in sorted(attempts.items())
        ]
        async with self._writing(numbered=False) as write:
            added = _insert(write.connection, schema.audience)
            attempted_at = added.excluded.attempted_at
            told = added.on_conflict_do_update(
                index_elements=["account_id", "stream"],
                set_={"attempted_at": attempted_at},
                where=c.attempted_at <= attempted_at - ATTEMPT_SECONDS,
            ).returning(c.account_id, c.stream, c.attempted_at)
            for account, stream, at in (await write.connection.execute(told, rows)).all():
                write.tells(viewer_event(EventType.VIEWER_ATTEMPT, AccountId(account), stream, at))

    async def look_at_viewers(self, now: float) -> None:
        """Tell of streams that have viewers and had none, and of those that have had none for `EMPTY_SECONDS`."""
        async with self._reading() as connection:
            changed = (await connection.execute(_changed_audiences(now))).all()
        if not changed:
            return
        c = schema.audience.c
        async with self._writing(numbered=False) as write:
            for account, stream, came in sorted((*names, bool(came)) for *names, came in changed):
                # Looked at again: a viewer may have come since, and another process may have told of it.
                still = (
                    c.account_id == account,
                    c.stream == stream,
                    c.present.is_(not came),
                    _WATCHED if came else ~_WATCHED,
                )
                noted = await write.connection.execute(update(schema.audience).where(*still).values(present=came))
                if noted.rowcount:
                    kind = EventType.FIRST_VIEWER if came else EventType.NO_VIEWERS
                    write.tells(viewer_event(kind, AccountId(account), stream, now))

    async def suspect(self, suspicions: Collection[Suspicion]) -> None:
        """Tell of suspicions that are not quiet yet."""
        async with self._reading() as connection:
            named = await _named(connection, suspicions)
        if not named:
            return
        async with self._writing(numbered=False) as write:
            for mark, (suspicion, account, token) in sorted(named.items()):
                if not await _is_news(write.connection, mark, suspicion):
                    continue
                if token is None:
                    write.tells(Event(account, suspicion.type, suspicion.at, data=suspicion.data))
                else:
                    write.tells(token_event(suspicion.type, token, suspicion.at, suspicion.data))

    async def forget_marks(self, before: float) -> None:
        """Delete what is kept of suspicions that were told, and of streams that nobody watches, before an instant."""
        w, a = schema.watermark.c, schema.audience.c
        marks = or_(*(w.name.startswith(f"{prefix} ") for prefix in _PREFIXES.values()))
        async with self._writing(numbered=False) as write:
            await write.connection.execute(delete(schema.watermark).where(marks, w.at < before))
            nobodys = delete(schema.audience).where(a.present.is_(False), a.attempted_at < before, ~_WATCHED)
            await write.connection.execute(nobodys)


def tells_viewers(account: ColumnElement[Any]) -> Exists:
    """Return the condition that a webhook of an account asks to be told of viewers.

    It is enough to find the word in what is kept: who is told too much of keeps sessions that nobody asks for.
    """
    c = schema.webhook.c
    return exists().where(c.account_id == account, c.terms.contains(f'"{WebhookKind.VIEWER_CONNECTION}"'))


async def _position(connection: AsyncConnection, name: str) -> tuple[int, int] | None:
    """Return where a reminder stopped, the expiry and the id, and hold it; None when it never began."""
    c = schema.watermark.c
    stopped = [
        (await connection.execute(select(c.at).where(c.name == row).with_for_update())).scalar_one_or_none()
        for row in (name, f"{name} id")
    ]
    at, token_id = stopped
    return None if at is None or token_id is None else (int(at), int(token_id))


async def _begin_at(connection: AsyncConnection, name: str, at: int) -> None:
    rows = [{"name": name, "at": at}, {"name": f"{name} id", "at": _LARGEST_ID}]
    await connection.execute(_insert(connection, schema.watermark).on_conflict_do_nothing(), rows)


async def _stop_at(connection: AsyncConnection, name: str, reached: tuple[int, int]) -> None:
    for row, value in zip((name, f"{name} id"), reached, strict=True):
        stop = update(schema.watermark).where(schema.watermark.c.name == row)
        await connection.execute(stop.values(at=value))


def _expiring(stopped: tuple[int, int], until: int, lead: Lead, soonest: int | None) -> Select[Any]:
    """Return the tokens after `stopped` that expire until `until` and, with `soonest`, after that, in order."""
    t = schema.token.c
    at, token_id = stopped
    query = select(t.expires_at, *_NAMED).where(
        t.revoked_at.is_(None),
        t.expires_at >= at,
        or_(t.expires_at > at, t.id > token_id),
        t.expires_at <= until,
        t.kind.in_(_REMINDED),
        t.account_id.in_(select(schema.webhook.c.account_id)),
    )
    if soonest is not None:
        query = query.where(t.expires_at > soonest, t.expires_at - t.added_on > lead.seconds)
    return query.order_by(t.expires_at, t.id)


def _changed_audiences(now: float) -> CompoundSelect[Any]:
    """Return the streams to tell of, and whether it is of viewers or of none."""
    a = schema.audience.c
    came = select(a.account_id, a.stream, literal(1)).where(a.present.is_(False), _WATCHED)
    empty = func.coalesce(_LAST_ENDED, 0.0) <= now - EMPTY_SECONDS
    went = select(a.account_id, a.stream, literal(0)).where(a.present.is_(True), ~_WATCHED, empty)
    return union_all(came, went)


async def _named(
    connection: AsyncConnection, suspicions: Collection[Suspicion]
) -> dict[str, tuple[Suspicion, AccountId, TokenName | None]]:
    """Return those that somebody asks for, each with its mark, its account, and the token it is about."""
    ids = {suspicion.token_id for suspicion in suspicions if suspicion.token_id is not None}
    rows = await connection.execute(select(*_NAMED).where(schema.token.c.id.in_(ids)))
    tokens = {row.id: TokenName(*row) for row in rows}
    about: dict[str, tuple[Suspicion, AccountId, TokenName | None]] = {}
    for suspicion in suspicions:
        if suspicion.token_id is None:
            about[_mark(suspicion)] = (suspicion, suspicion.account, None)
        elif suspicion.token_id in tokens:
            token = tokens[suspicion.token_id]
            about[_mark(suspicion)] = (suspicion, token.account, token)
    heard = await with_webhooks(connection, {account for _, account, _ in about.values()})
    return {mark: named for mark, named in about.items() if named[1] in heard}


def _mark(suspicion: Suspicion) -> str:
    """Return the name of the row that says when this was told last: its own for each token, or account."""
    whose = str(suspicion.token_id) if suspicion.token_id is not None else f"@{_digest(suspicion.account)}"
    return f"{_PREFIXES[suspicion.type]} {whose}"


def _digest(account: AccountId) -> str:
    # What a path names as an account need not be one, and may be longer than a row's name.
    return blake2b(account.encode(), digest_size=16).hexdigest()


async def _is_news(connection: AsyncConnection, mark: str, suspicion: Suspicion) -> bool:
    """Tell whether nobody has told of it for long enough, and note that we do."""
    added = _insert(connection, schema.watermark).values(name=mark, at=suspicion.at)
    noted = added.on_conflict_do_update(
        index_elements=["name"],
        set_={"at": suspicion.at},
        where=schema.watermark.c.at <= suspicion.at - suspicion.quiet_seconds,
    ).returning(schema.watermark.c.name)
    return (await connection.execute(noted)).first() is not None


def _insert(connection: AsyncConnection, table: Table) -> Any:
    """Return an insertion that can say what to do about a row that is there."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def _viewers() -> tuple[Exists, ScalarSelect[Any]]:
    """Build what is asked of an audience: whether somebody watches, and when the last who did went."""
    s, a = schema.session.c, schema.audience.c
    viewers = (s.account_id == a.account_id, s.stream == a.stream, s.action == Action.SUBSCRIBE)
    watched = exists().where(*viewers, s.ended_at.is_(None))
    ended = select(s.ended_at).where(*viewers, s.ended_at.is_not(None)).order_by(s.ended_at.desc()).limit(1)
    return watched, ended.correlate(schema.audience).scalar_subquery()


_NAMED: Final = (schema.token.c.account_id, schema.token.c.id, schema.token.c.kind, schema.token.c.label)
_WATCHED, _LAST_ENDED = _viewers()
