"""What an account sets for all of its tokens."""

from dataclasses import dataclass
from typing import Final

from stagedoor.model.caveats import Countries


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPolicy:
    """The rules of an account. A token's own setting goes before these.

    `longest_lifetime_seconds`: no token is good for longer, counted from when it was added. `shadow_until` (seconds since the
    epoch): until then conditions are tried out and refuse nothing.
    """

    enabled: bool = True
    countries: Countries | None = None
    origin_cluster: str = ""
    longest_lifetime_seconds: int | None = None
    shadow_until: int = 0


OPEN: Final = AccountPolicy()
"""An account that sets nothing."""

CLOSED: Final = AccountPolicy(enabled=False)
