"""What an account sets for all of its tokens."""

from dataclasses import dataclass
from typing import Final

from stagedoor.model.caveats import Countries
from stagedoor.model.cluster import EVERY


@dataclass(frozen=True, slots=True)
class GeoCascade:
    """Whether broadcasts are handed on to other clusters, and to which (`all`: to every one)."""

    enabled: bool = False
    clusters: tuple[str, ...] = (EVERY,)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaExpiration:
    """After how many days what was recorded is deleted; None sets nothing."""

    timelines: int | None = None
    recordings: int | None = None
    clips: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPolicy:
    """The rules of an account. A token's own setting goes before these.

    `longest_lifetime_seconds`: no token is good for longer, counted from when it was added. `shadow_until` (seconds since the
    epoch): until then conditions are tried out and refuse nothing. `geo_cascade` is that of publish tokens that set none; None
    is off. `not_understood`: names of settings that a newer version kept and this one does not know; they close the account.
    `tells_viewers` is no setting: a webhook of the account asks to be told of viewers, so all of them are kept as sessions.
    """

    enabled: bool = True
    countries: Countries | None = None
    origin_cluster: str = ""
    longest_lifetime_seconds: int | None = None
    shadow_until: int = 0
    geo_cascade: GeoCascade | None = None
    media_expiration: MediaExpiration = MediaExpiration()
    not_understood: tuple[str, ...] = ()
    tells_viewers: bool = False


OPEN: Final = AccountPolicy()
"""An account that sets nothing."""

CLOSED: Final = AccountPolicy(enabled=False)
