"""What the use cases of sessions need from outside, as protocols (see `ports`)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from stagedoor.model.access import Action
from stagedoor.model.caveats import Per
from stagedoor.model.decision import Decision, Reason
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import OpenSession, SessionStart
from stagedoor.model.usage import Effects, Usage


class Admission(NamedTuple):
    """An access whose admission has to be written down: what is asked, how its sessions count, and how it is judged.

    `judge` is called inside the transaction with the usage so far; it returns the decision and what to write down.
    `binds`: it may bind the token to a network, which everyone has to be told of.
    `told`: we will learn when the session ends; otherwise its start is counted, and no session is kept. `running`: the engine
    says that the session runs, so it is not gone however long nothing was heard of it. `above`: the same session as it counts
    for the tokens that this one was signed with, in their order.
    """

    start: SessionStart
    per: Per
    binds: bool
    told: bool
    running: bool
    judge: Callable[[Usage], tuple[Decision, Effects]]
    above: tuple[tuple[SessionStart, Per], ...] = ()


class Shadowed(NamedTuple):
    """What shadow mode let through: for whom, with which token (0: with none), and what for it would have been refused."""

    account: AccountId
    token_id: TokenId
    reason: Reason


class SessionStore(Protocol):
    """Sessions and what tokens were used for. Each admission is one transaction: two of them see each other's effects."""

    async def admit(self, admission: Admission) -> Decision:
        """Judge an admission by what is known now, and write down what it changes.

        A session that goes on is not begun again; that it was asked about is a sign of life. Sessions of the token that were
        silent for too long are ended first.
        """

    async def usage(self, start: SessionStart, per: Per) -> Usage:
        """Return the usage that `start` would be judged by; nothing is changed."""

    async def begin_sessions(self, starts: Sequence[SessionStart]) -> None:
        """Keep sessions that were admitted from memory. One that is known to have ended since is not begun."""

    async def end_session(self, engine: EngineId, session: str, at: float, action: Action | None = None) -> None:
        """End what is open of an engine's session, and count it. One that began nothing yet and was to publish is kept in mind."""

    async def open_sessions(self, engine: EngineId) -> Sequence[OpenSession]:
        """Return what is open on an engine."""

    async def active_tokens(self, account: AccountId, stream: str | None) -> Sequence[TokenId]:
        """Return the tokens that a stream, or any of the account's, is being published with: each once, by id."""

    async def saw_sessions(self, engine: EngineId, seen: Mapping[str, int], at: float) -> None:
        """Note signs of life of an engine's sessions, with the bytes they carried so far (0: not told)."""

    async def end_silent(self, engines: Collection[EngineId], now: float) -> None:
        """End the sessions on these engines of which nothing was heard for too long, when they were last heard of."""

    async def forget_sessions(self, before: float) -> None:
        """Delete what is kept of sessions that ended before an instant."""

    async def count_former(self, counts: Mapping[bytes, int], at: float) -> None:
        """Add to the counts of how often values were used, by digest, that their tokens had before."""

    async def count_shadowed(self, counts: Mapping[Shadowed, int], at: float) -> None:
        """Add to the counts of what shadow mode let through."""

    async def shadowed(self, account: AccountId, token_id: TokenId | None) -> Mapping[Reason, int]:
        """Return what shadow mode let through, of a token or of the whole account."""
