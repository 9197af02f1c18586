"""Sessions: what was admitted and has not ended. Instants in seconds since the epoch.

A session counts from its admission to its end, which the engine tells, or to the last sign of life before it fell silent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from stagedoor.model.access import Action, Protocol
from stagedoor.model.addresses import Network, parse_address
from stagedoor.model.caveats import Per
from stagedoor.model.ids import AccountId, EngineId, StreamId, TokenId
from stagedoor.model.usage import Session, Usage

HLS_SILENCE_SECONDS: Final = 30.0
"""An HLS viewer that asks for nothing for so long is gone."""

SILENCE_SECONDS: Final = 100.0
"""Any other session of which its engine says nothing for so long is gone: three times the engines' own interval."""

SAME_READER_SECONDS: Final = 10.0
"""An RTSP reader is asked about twice, under two ids, within this time."""


MAX_SESSION_ID: Final = 255

NO_TOKEN: Final = TokenId(0)
"""Stands in a session for its token: the viewer was let in without one."""

RENEWED: Final = TokenId(-1)
"""Stands there when the token has got a new value since. Security: such a session is nobody's, and ends."""


def session_id(text: str) -> str:
    """Return an engine's id of a session as it is kept: cut, and without what no database takes."""
    return text.replace("\0", "")[:MAX_SESSION_ID]


class SessionStart(NamedTuple):
    """An access that was or would be admitted: of which token, to what, from where, and when.

    `session` is the engine's own id of it. `subject` is empty where the token speaks for nobody in particular. `shown`: the
    token is the one that was shown; False where it is one that this was signed with, for which the access counts too.
    """

    account: AccountId
    token_id: TokenId
    subject: str
    engine: EngineId
    session: str
    stream: str
    action: Action
    protocol: Protocol
    client_ip: str
    at: float
    shown: bool = True


class Broadcast(NamedTuple):
    """A broadcast as its engine tells of it: its id of the session, and the stream as the path names it.

    `application` and `name` are where it is played on the engine; one that has no applications leaves the first empty.
    """

    session: str
    stream: StreamId
    protocol: Protocol
    application: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session as it is kept while it is open. `end_at`: when it has to make room; `bytes`: carried so far, if told."""

    id: int
    start: SessionStart
    seen_at: float
    end_at: float | None = None
    bytes: int = 0

    def gone(self, now: float) -> bool:
        """Tell whether nothing was heard of it for too long."""
        silence = HLS_SILENCE_SECONDS if self.start.protocol is Protocol.HLS else SILENCE_SECONDS
        return now > self.seen_at + silence

    def goes_on_with(self, asked: SessionStart) -> bool:
        """Tell whether `asked` is about this very session."""
        own = self.start
        if (own.engine, own.action, own.stream, own.token_id) != (
            asked.engine,
            asked.action,
            asked.stream,
            asked.token_id,
        ):
            return False
        if own.session == asked.session:
            return True
        again = own.protocol is Protocol.RTSP is asked.protocol and own.client_ip == asked.client_ip
        return again and self.seen_at == own.at and asked.at <= own.at + SAME_READER_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUse:
    """What is kept of a token's use, apart from its open sessions."""

    starts: int = 0
    watched_seconds: float = 0.0
    bytes: int = 0
    last_ip: str = ""
    last_at: float | None = None
    rebinds: tuple[float, ...] = ()
    bound: Mapping[Network, float] = field(default_factory=dict)


def usage_of(
    use: TokenUse, sessions: Sequence[OpenSession], asked: SessionStart, per: Per
) -> tuple[Usage, OpenSession | None]:
    """Put together the usage that `asked` is judged by, and find the session it goes on with.

    `sessions`: those open of the token and, with `Per.SUBJECT`, of its subject, oldest first; silent ones left out.
    """
    own = next((session for session in sessions if session.goes_on_with(asked)), None)
    mine = [session for session in sessions if session.start.token_id == asked.token_id]
    counted = sessions if per is Per.SUBJECT else mine
    usage = Usage(
        bound=use.bound,
        rebinds=use.rebinds,
        starts=use.starts,
        watched_seconds=use.watched_seconds,
        bytes=use.bytes + sum(session.bytes for session in mine),
        last_address=parse_address(use.last_ip),
        last_at=None if mine else use.last_at,
        open_since=tuple(session.start.at for session in mine),
        sessions=tuple(_session(session, asked) for session in counted),
        own=None if own is None else _session(own, asked),
    )
    return usage, own


def without_silent(
    use: TokenUse, sessions: Sequence[OpenSession], asked: SessionStart
) -> tuple[TokenUse, list[OpenSession]]:
    """Return what is known when the sessions that fell silent have been ended and counted."""
    awake = [session for session in sessions if not session.gone(asked.at)]
    for session in sessions:
        if session not in awake and session.start.token_id == asked.token_id:
            use = replace(
                use,
                watched_seconds=use.watched_seconds + session.seen_at - session.start.at,
                bytes=use.bytes + session.bytes,
                last_at=session.seen_at,
            )
    return use, awake


def _session(session: OpenSession, asked: SessionStart) -> Session:
    return Session(session.id, session.start.at, session.end_at, session.start.token_id == asked.token_id)
