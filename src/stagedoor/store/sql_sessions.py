"""Sessions and the use of tokens on SQL.

An admission locks its token's row (and with a limit for each subject, the account's): two admissions of one token see each
other's effects. On SQLite there is one writer anyway.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import RowMapping, and_, bindparam, case, delete, exists, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from stagedoor.model.access import Action, Protocol
from stagedoor.model.addresses import Network, format_network, parse_network
from stagedoor.model.caveats import Per
from stagedoor.model.decision import Decision, Reason
from stagedoor.model.events import EventType, TokenName, feed_event, token_event
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import (
    HLS_SILENCE_SECONDS,
    NO_TOKEN,
    RENEWED,
    SILENCE_SECONDS,
    OpenSession,
    SessionStart,
    TokenUse,
    usage_of,
    without_silent,
)
from stagedoor.model.token import TokenKind
from stagedoor.model.usage import Effects, Usage
from stagedoor.service.ports import ChangeKind
from stagedoor.service.session_ports import Admission, Shadowed
from stagedoor.store import schema
from stagedoor.store.codec import record_of, session_of, session_row, use_of, write_instants
from stagedoor.store.transactions import Database, Write, with_webhooks

_KEPT_REBINDS: Final = 1000


class SqlSessions:
    """The port `SessionStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def admit(self, admission: Admission) -> Decision:
        """Judge an admission by what is known now, and write down what it changes."""
        start = admission.start
        counted = ((start, admission.per), *admission.above)
        publishes = start.action is Action.PUBLISH
        async with self._writing(numbered=publishes or admission.binds) as write:
            await _lock(write.connection, counted)
            found = [await _read_awake(write, each, per, running=admission.running) for each, per in counted]
            usages = [usage for _, usage, _ in found]
            decision, effects = admission.judge(usages[0]._replace(above=tuple(usages[1:])))
            if decision.allowed:
                if admission.told and (effects.starts or effects.resumes):
                    await _end_older(write, start)
                for (each, _), (use, _, own), its in zip(counted, found, (effects, *effects.above), strict=False):
                    await _apply(write, each, use, own, its, told=admission.told)
            return decision

    async def usage(self, start: SessionStart, per: Per) -> Usage:
        """Return the usage that `start` would be judged by; nothing is changed."""
        async with self._reading() as connection:
            use, sessions = await _read(connection, start, per)
        return usage_of(*without_silent(use, sessions, start), start, per)[0]

    async def begin_sessions(self, starts: Sequence[SessionStart]) -> None:
        """Keep sessions that were admitted from memory."""
        broadcasts = [start for start in starts if start.action is Action.PUBLISH]
        viewers = [start for start in starts if start.action is not Action.PUBLISH]
        # Numbered, so that two of these do not both begin what they both found missing.
        async with self._writing() as write:
            for each_once in _waves(broadcasts):
                await _begin_broadcasts(write, each_once)
            if viewers:
                await _begin_viewers(write, viewers)

    async def end_session(self, engine: EngineId, session: str, at: float, action: Action | None = None) -> None:
        """End what is open of an engine's session, and count it."""
        c = schema.session.c
        query = select(schema.session).where(c.engine_id == engine, c.engine_session == session, c.ended_at.is_(None))
        if action is not None:
            query = query.where(c.action == action)
        async with self._reading() as connection:
            opened = [session_of(row) for row in (await connection.execute(query)).mappings()]
        for found in opened:
            await self._end(found, at)
        if not opened and action is Action.PUBLISH:
            async with self._writing(numbered=False) as write:
                await write.connection.execute(insert(schema.session).values(_tombstone(engine, session, at)))

    async def end_silent(self, engines: Collection[EngineId], now: float) -> None:
        """End the sessions on these engines of which nothing was heard for too long, when they were last heard of."""
        c = schema.session.c
        silent_hls = and_(c.protocol == Protocol.HLS, c.seen_at < now - HLS_SILENCE_SECONDS)
        query = select(schema.session).where(
            c.engine_id.in_(engines), c.ended_at.is_(None), or_(c.seen_at < now - SILENCE_SECONDS, silent_hls)
        )
        async with self._reading() as connection:
            silent = [session_of(row) for row in (await connection.execute(query)).mappings()]
        for session in silent:
            await self._end(session, session.seen_at)

    async def _end(self, session: OpenSession, at: float) -> None:
        """End one session, in a transaction of its own: two of them never wait for each other in a ring."""
        async with self._writing(numbered=session.start.action is Action.PUBLISH) as write:
            await _end(write, session, at)

    async def open_sessions(self, engine: EngineId) -> Sequence[OpenSession]:
        """Return what is open on an engine."""
        c = schema.session.c
        query = select(schema.session).where(c.engine_id == engine, c.ended_at.is_(None)).order_by(c.id)
        async with self._reading() as connection:
            return [session_of(row) for row in (await connection.execute(query)).mappings()]

    async def active_tokens(self, account: AccountId, stream: str | None) -> Sequence[TokenId]:
        """Return the publish tokens that a stream, or any of the account's, is being published with: each once, by id."""
        c, t = schema.session.c, schema.token.c
        query = (
            select(c.token_id)
            .join(schema.token, t.id == c.token_id)
            .where(c.account_id == account, c.action == Action.PUBLISH, c.ended_at.is_(None), c.shown)
            .where(t.kind == TokenKind.PUBLISH)
        )
        if stream is not None:
            query = query.where(c.stream == stream)
        async with self._reading() as connection:
            rows = await connection.execute(query.distinct().order_by(c.token_id))
            return [TokenId(row[0]) for row in rows]

    async def saw_sessions(self, engine: EngineId, seen: Mapping[str, int], at: float) -> None:
        """Note signs of life of an engine's sessions, with the bytes they carried so far."""
        rows = [
            {"engine": engine, "key": session, "carried": carried, "at": at}
            for session, carried in sorted(seen.items())
        ]
        if rows:
            async with self._writing(numbered=False) as write:
                await write.connection.execute(_SAW, rows)

    async def forget_sessions(self, before: float) -> None:
        """Delete what is kept of sessions that ended before an instant."""
        async with self._writing(numbered=False) as write:
            await write.connection.execute(delete(schema.session).where(schema.session.c.ended_at < before))

    async def count_former(self, counts: Mapping[bytes, int], at: float) -> None:
        """Add to the counts of how often values were used that their tokens had before."""
        f = schema.former_secret
        used = update(f).where(f.c.digest == bindparam("key")).values(uses=f.c.uses + bindparam("by"), last_used_at=at)
        async with self._writing(numbered=False) as write:
            await write.connection.execute(used, [{"key": key, "by": by} for key, by in sorted(counts.items())])

    async def count_shadowed(self, counts: Mapping[Shadowed, int], at: float) -> None:
        """Add to the counts of what shadow mode let through."""
        rows = [
            {"account_id": account, "token_id": token_id, "reason": reason, "times": times, "last_at": at}
            for (account, token_id, reason), times in sorted(counts.items())
        ]
        async with self._writing(numbered=False) as write:
            dialect = sqlite if write.connection.dialect.name == "sqlite" else postgresql
            added = dialect.insert(schema.shadowed)
            times = schema.shadowed.c.times + added.excluded.times
            await write.connection.execute(
                added.on_conflict_do_update(
                    index_elements=["account_id", "token_id", "reason"],
                    set_={"times": times, "last_at": added.excluded.last_at},
                ),
                rows,
            )

    async def shadowed(self, account: AccountId, token_id: TokenId | None) -> Mapping[Reason, int]:
        """Return what shadow mode let through, of a token or of the whole account."""
        c = schema.shadowed.c
        query = select(c.reason, c.times).where(c.account_id == account).order_by(c.reason)
        if token_id is not None:
            query = query.where(c.token_id == token_id)
        counts: dict[Reason, int] = {}
        async with self._reading() as connection:
            for reason, times in await connection.execute(query):
                counts[Reason(reason)] = counts.get(Reason(reason), 0) + times
        return counts


async def read_bound(connection: AsyncConnection, token_id: TokenId) -> dict[Network, float]:
    """Return the networks that a token is bound to and since when, oldest first."""
    c = schema.token_bound.c
    rows = await connection.execute(select(c.network, c.at).where(c.token_id == token_id).order_by(c.at, c.network))
    return {parse_network(network): at for network, at in rows}


async def forget_bound(connection: AsyncConnection, token_id: TokenId) -> None:
    """Bind a token to nothing any more."""
    await connection.execute(delete(schema.token_bound).where(schema.token_bound.c.token_id == token_id))


async def forget_use(connection: AsyncConnection, token_id: TokenId) -> None:
    """Make a token as good as new: what was used was another secret, and what runs with that one is nobody's."""
    await forget_bound(connection, token_id)
    c = schema.session.c
    mine = update(schema.session).where(c.token_id == token_id, c.ended_at.is_(None))
    await connection.execute(mine.values(token_id=RENEWED, subject=""))
    await connection.execute(delete(schema.token_use).where(schema.token_use.c.token_id == token_id))


async def _lock(connection: AsyncConnection, counted: Sequence[tuple[SessionStart, Per]]) -> None:
    """Lock what an admission counts for, the account before all tokens and those by their ids, so that nobody waits in a ring."""
    if any(per is Per.SUBJECT for _, per in counted):
        account = select(schema.account.c.id).where(schema.account.c.id == counted[0][0].account)
        await connection.execute(account.with_for_update(key_share=True))
    for token_id in sorted(start.token_id for start, _ in counted):
        token = select(schema.token.c.id).where(schema.token.c.id == token_id)
        await connection.execute(token.with_for_update(key_share=True))


async def _read(connection: AsyncConnection, start: SessionStart, per: Per) -> tuple[TokenUse, list[OpenSession]]:
    """Read a token's use, and what is open of it, or of its subject too, oldest first."""
    query = select(schema.token_use).where(schema.token_use.c.token_id == start.token_id)
    row: RowMapping | None = (await connection.execute(query)).mappings().one_or_none()
    use = use_of(row, await read_bound(connection, start.token_id))
    c = schema.session.c
    whose = c.token_id == start.token_id
    if per is Per.SUBJECT:
        whose = or_(whose, (c.account_id == start.account) & (c.subject == start.subject))
    opened = select(schema.session).where(whose, c.ended_at.is_(None)).order_by(c.since, c.id)
    return use, [session_of(row) for row in (await connection.execute(opened)).mappings()]


async def _read_awake(
    write: Write, start: SessionStart, per: Per, *, running: bool
) -> tuple[TokenUse, Usage, OpenSession | None]:
    """Read what an admission is judged by for one token, with the sessions ended that fell silent; and the one that goes on."""
    use, sessions = await _read(write.connection, start, per)
    silent = [s for s in sessions if s.gone(start.at) and not (running and s.goes_on_with(start))]
    for session in silent:
        # A broadcast that fell silent is told of when it is ended, which only a numbered write can do.
        if write.revision or session.start.action is Action.SUBSCRIBE:
            await _end(write, session, session.seen_at)
    if silent:
        use, sessions = await _read(write.connection, start, per)
        sessions = [session for session in sessions if session not in silent]
    return use, *usage_of(use, sessions, start, per)


async def _end_older(write: Write, start: SessionStart) -> None:
    """End what ran under the id of a session that begins: what an engine begins anew under an id has ended before."""
    c = schema.session.c
    older = select(schema.session).where(
        c.engine_id == start.engine,
        c.engine_session == start.session,
        c.action == start.action,
        c.ended_at.is_(None),
    )
    for row in (await write.connection.execute(older)).mappings().all():
        await _end(write, session_of(row), start.at)


async def _apply(
    write: Write,
    start: SessionStart,
    use: TokenUse,
    own: OpenSession | None,
    effects: Effects,
    *,
    told: bool,
) -> None:
    """Write down what an admission changes for a token: the one that was shown, or one that it was signed with."""
    connection, c = write.connection, schema.session.c
    if own is not None:
        same = update(schema.session).where(c.id == own.id)
        await connection.execute(same.values(seen_at=start.at, engine_session=start.session))
    rebinds = use.rebinds
    if effects.bind is not None:
        await _bind(write, start, effects)
        if effects.unbind:
            rebinds = (*rebinds, start.at)[-_KEPT_REBINDS:]
    for session_id, at in effects.ends:
        await connection.execute(update(schema.session).where(c.id == session_id).values(end_at=at))
    if (effects.starts or effects.resumes) and told:
        begun = await connection.execute(insert(schema.session).values(session_row(start)).returning(c.id))
        if start.shown and start.action is Action.PUBLISH:
            session = OpenSession(id=begun.scalar_one(), start=start, seen_at=start.at)
            write.touches(ChangeKind.LIVE, start.account, start.stream.encode())
            await _tell_of_feeds(write, [session])
    if effects.starts or effects.unbind:
        started = int(effects.starts)
        changed = {"last_ip": start.client_ip, "rebinds": write_instants(rebinds)}
        u = schema.token_use
        kept = update(u).where(u.c.token_id == start.token_id).values(changed | {"starts": u.c.starts + started})
        if (await connection.execute(kept)).rowcount == 0:
            first = {"token_id": start.token_id, "starts": started, "watched_seconds": 0.0, "bytes": 0}
            await connection.execute(insert(u).values(first | changed))


async def _bind(write: Write, start: SessionStart, effects: Effects) -> None:
    c = schema.token_bound.c
    gone = [format_network(network) for network in (*effects.unbind, effects.bind) if network is not None]
    await write.connection.execute(delete(schema.token_bound).where(c.token_id == start.token_id, c.network.in_(gone)))
    await write.connection.execute(
        insert(schema.token_bound).values(token_id=start.token_id, network=gone[-1], at=start.at)
    )
    t = schema.token.c
    bound = select(t.digest, t.account_id, t.id, t.kind, t.label).where(t.id == start.token_id)
    digest, *named = (await write.connection.execute(bound)).one()
    write.touches(ChangeKind.TOKEN, start.account, digest)
    write.tells(token_event(EventType.TOKEN_BOUND, TokenName(*named), start.at, {"network": gone[-1]}))


async def _end(write: Write, session: OpenSession, at: float) -> None:
    """End a session and count it, once."""
    at = max(at, session.start.at)
    c, u = schema.session.c, schema.token_use
    ended = update(schema.session).where(c.id == session.id, c.ended_at.is_(None)).values(ended_at=at, seen_at=at)
    if (await write.connection.execute(ended)).rowcount == 0:
        return  # somebody else was quicker, and has counted it
    counted = {
        "watched_seconds": u.c.watched_seconds + (at - session.start.at),
        "bytes": u.c.bytes + session.bytes,
        "last_at": at,
    }
    await write.connection.execute(update(u).where(u.c.token_id == session.start.token_id).values(counted))
    if session.start.shown and session.start.action is Action.PUBLISH:
        write.touches(ChangeKind.LIVE, session.start.account, session.start.stream.encode())
        await _tell_of_feeds(write, [session], ended_at=at)


async def _tell_of_feeds(write: Write, sessions: Sequence[OpenSession], ended_at: float | None = None) -> None:
    """Tell that broadcasts began, or ended, where somebody asks for it; else it costs one look."""
    heard = await with_webhooks(write.connection, {session.start.account for session in sessions})
    told = [session for session in sessions if session.start.account in heard]
    if not told:
        return
    tokens = select(schema.token).where(schema.token.c.id.in_({session.start.token_id for session in told}))
    rows = (await write.connection.execute(tokens)).mappings()
    priorities = {record.id: record.terms.publishing.priority for record in map(record_of, rows)}
    for session in told:
        write.tells(feed_event(session, priorities.get(session.start.token_id), ended_at))


async def _begin_broadcasts(write: Write, starts: Sequence[SessionStart]) -> None:
    """Keep broadcasts, each with an id of its own. What an engine begins anew under an id has ended before."""
    of_engines = {start.engine: {s.session: s for s in starts if s.engine == start.engine} for start in starts}
    for engine, begun in of_engines.items():
        for session in await _open(write.connection, engine, begun, Action.PUBLISH):
            at = begun[session.start.session].at
            if session.start.at <= at:
                await _end(write, session, at)
    await write.connection.execute(_INSERT_UNLESS_ENDED, [session_row(start) for start in starts])
    for account, stream in dict.fromkeys((start.account, start.stream) for start in starts):
        write.touches(ChangeKind.LIVE, account, stream.encode())
    feeds = [
        session
        for engine, begun in of_engines.items()
        for session in await _open(write.connection, engine, begun, Action.PUBLISH)
        if session.start in begun.values()
    ]
    await _tell_of_feeds(write, feeds)


def _waves(starts: Sequence[SessionStart]) -> Iterator[list[SessionStart]]:
    """Part what began one after the other under the same id."""
    while starts:
        first: dict[tuple[EngineId, str], SessionStart] = {}
        for start in starts:
            first.setdefault((start.engine, start.session), start)
        yield list(first.values())
        starts = [start for start in starts if first[start.engine, start.session] is not start]


async def _begin_viewers(write: Write, starts: Sequence[SessionStart]) -> None:
    """Keep viewers, each once. One that is there already still watches."""
    connection = write.connection
    new = {(start.engine, start.session): start for start in starts}
    still: list[dict[str, object]] = []
    for engine in {start.engine for start in starts}:
        asked = {session: start for (where, session), start in new.items() if where == engine}
        for session in await _open(connection, engine, asked, Action.SUBSCRIBE):
            start, own = asked[session.start.session], session.start
            if session.gone(start.at):
                await _end(write, session, session.seen_at)
            elif (own.account, own.stream, own.client_ip) == (start.account, start.stream, start.client_ip):
                still.append({"key": session.id, "at": start.at})
                new.pop((engine, own.session), None)
            else:
                # The engine has begun to count anew: this is somebody else.
                await _end(write, session, session.seen_at)
    if still:
        await connection.execute(_STILL_WATCHES, still)
    if new:
        await connection.execute(_INSERT_UNLESS_ENDED, [session_row(start) for start in new.values()])
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        streams = sorted({(start.account, start.stream) for start in new.values()})
        rows = [{"account_id": of, "stream": name, "present": False, "attempted_at": 0.0} for of, name in streams]
        await connection.execute(dialect.insert(schema.audience).on_conflict_do_nothing(), rows)


async def _open(
    connection: AsyncConnection, engine: EngineId, sessions: Collection[str], action: Action
) -> list[OpenSession]:
    """Return what is open of these sessions of an engine."""
    c = schema.session.c
    query = select(schema.session).where(
        c.engine_id == engine, c.engine_session.in_(sessions), c.action == action, c.ended_at.is_(None)
    )
    return [session_of(row) for row in (await connection.execute(query)).mappings()]


def _tombstone(engine: EngineId, session: str, at: float) -> dict[str, object]:
    """Write a row for a session that was to publish and ended before its beginning was known."""
    nobody = SessionStart(AccountId(""), NO_TOKEN, "", engine, session, "", Action.PUBLISH, Protocol.UNKNOWN, "", at)
    return session_row(nobody) | {"ended_at": at}


def _statements() -> tuple[Any, Any, Any]:
    """Build the statements that run for many rows at once."""
    s = schema.session
    mine = (s.c.engine_id == bindparam("engine"), s.c.engine_session == bindparam("key"), s.c.ended_at.is_(None))
    saw = (
        update(s)
        .where(*mine, s.c.seen_at < bindparam("at"))
        .values(
            seen_at=bindparam("at"),
            bytes=case((s.c.bytes < bindparam("carried"), bindparam("carried")), else_=s.c.bytes),
        )
    )
    still_watches = (
        update(s).where(s.c.id == bindparam("key"), s.c.seen_at < bindparam("at")).values(seen_at=bindparam("at"))
    )
    ended = s.alias("ended")
    names = [column.name for column in s.columns if column.name != "id"]
    values = [bindparam(name, type_=s.c[name].type) for name in names]
    unless_ended = insert(s).from_select(
        names,
        select(*values).where(
            ~exists().where(
                ended.c.engine_id == bindparam("engine_id"),
                ended.c.engine_session == bindparam("engine_session"),
                ended.c.ended_at > bindparam("since"),
            )
        ),
    )
    return unless_ended, saw, still_watches


_INSERT_UNLESS_ENDED, _SAW, _STILL_WATCHES = _statements()
