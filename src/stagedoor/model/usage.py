"""How much a token was used so far: what the rules that count look at. Instants in seconds since the epoch."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from stagedoor.model.addresses import Address, Network


class Session(NamedTuple):
    """A session that is open: admitted at `since`. It is to end at `end_at`, when a newer one took its place.

    `mine`: it is of the token that is judged, and not of another one of its subject.
    """

    id: int
    since: float
    end_at: float | None = None
    mine: bool = True


class Usage(NamedTuple):
    """What is known of a token's use.

    `bound`: the networks a token is bound to and since when, oldest first. `rebinds`: instants of the last ones. `watched_seconds` and `bytes` count sessions that ended, and
    of open ones what the engine told. `last_address`, `last_at`: of the newest session, while it is open `last_at` is
    None. `open_since`: when the token's own open sessions began. `sessions`: those open that its limit counts, of the token or of
    its subject, oldest first. `own`: the one among them that the access continues. `above`: the same of the tokens that this one
    was signed with, in their order.
    """

    bound: Mapping[Network, float] = MappingProxyType({})
    rebinds: tuple[float, ...] = ()
    starts: int = 0
    watched_seconds: float = 0.0
    bytes: int = 0
    last_address: Address | None = None
    last_at: float | None = None
    open_since: tuple[float, ...] = ()
    sessions: tuple[Session, ...] = ()
    own: Session | None = None
    above: tuple["Usage", ...] = ()


UNUSED: Final = Usage()


class Effects(NamedTuple):
    """What an admission changes.

    `bind`: a network that the token is bound to from now on; `unbind`: those that it takes the place of. `ends`: sessions, by
    id, that are to end, and when. `starts`: a new session begins. `resumes`: one goes on that was taken for gone. `above`: what
    changes for the tokens that this one was signed with.
    """

    bind: Network | None = None
    unbind: tuple[Network, ...] = ()
    ends: tuple[tuple[int, float], ...] = ()
    starts: bool = False
    resumes: bool = False
    above: tuple["Effects", ...] = ()
