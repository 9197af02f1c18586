"""Scopes: what a caller of the API may do, as `product:resource:action`, upper and lower case being different.

Ours are `live:<resource>:<action>`. A list is separated by spaces (RFC 6749 section 3.3). `live:<resource>:*` are all actions
on a resource and `live:*` is everything. A scope that there is not is an error, never dropped: a slip must not give less, or
more, than was meant.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from stagedoor.model.errors import InvalidScope

EVERYTHING: Final = "live:*"
"""The scope that takes in all others."""

MAX_SCOPES: Final = 2000
"""Longest list, in characters."""

_CRUD: Final = ("create", "read", "update", "delete")
ACTIONS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "account": ("read", "update"),
        "analytics": ("read",),
        "api_secret": ("read", "delete"),
        "application": _CRUD,
        "client_access_token": ("create",),
        "cluster": ("read", "update"),
        "engine_token": ("create",),
        "playback_token": ("create", "read", "delete"),
        "publish_token": _CRUD,
        "recording": _CRUD,
        "storage_profile": _CRUD,
        "stream": ("update", "stop"),
        "stream_group": _CRUD,
        "subscribe_token": _CRUD,
        "thumbnail": ("create",),
        "trusted_key": _CRUD,
        "verifier": _CRUD,
        "webhook": _CRUD,
    }
)
"""What can be done with what."""

ALL_SCOPES: Final = tuple(f"live:{resource}:{action}" for resource, actions in ACTIONS.items() for action in actions)
"""Every scope that names one action, by name of the resource."""

KNOWN: Final = frozenset((EVERYTHING, *(f"live:{resource}:*" for resource in ACTIONS), *ALL_SCOPES))
"""Everything that may stand in a list."""

Scopes = frozenset[str]
"""What somebody may do; with wildcards as they were written."""

FULL: Final[Scopes] = frozenset((EVERYTHING,))
"""What API secrets may do."""


def parse_scopes(scopes: str | Sequence[str], field: str = "scope") -> Scopes:
    """Read a list of scopes, of a text that is separated by spaces or one by one.

    Raises: InvalidScope that tells which there are, for one that there is not, and for an empty list.
    """
    if sum(len(each) for each in scopes) > MAX_SCOPES:
        raise InvalidScope(f"a list of scopes has up to {MAX_SCOPES} characters", field=field)
    found = [each for each in scopes.split(" ") if each] if isinstance(scopes, str) else list(scopes)
    unknown = next((each for each in found if each not in KNOWN), None)
    if unknown is not None:
        raise InvalidScope(f"there is no scope {unknown[:64]!r}; there are {', '.join(sorted(KNOWN))}", field=field)
    if not found:
        raise InvalidScope(f"name a scope; {EVERYTHING} is everything", field=field)
    return frozenset(found)


def write_scopes(scopes: Iterable[str]) -> str:
    """Write scopes as a list that is separated by spaces, always in the same order."""
    return " ".join(sorted(scopes))


def covers(granted: Scopes, wanted: str) -> bool:
    """Tell whether who may do `granted` may do `wanted`, which may be a wildcard itself."""
    if wanted in granted or EVERYTHING in granted:
        return True
    return wanted != EVERYTHING and f"{wanted.rpartition(':')[0]}:*" in granted


def covers_all(granted: Scopes, wanted: Scopes) -> bool:
    """Tell whether who may do `granted` may do all of `wanted`."""
    return all(covers(granted, each) for each in wanted)


def both(one: Scopes, other: Scopes) -> Scopes:
    """Return what both may do."""
    return frozenset([s for s in one if covers(other, s)] + [s for s in other if covers(one, s)])
