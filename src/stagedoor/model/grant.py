"""What a token may do: actions times stream names."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from stagedoor.model.access import Action


@dataclass(frozen=True, slots=True)
class StreamPattern:
    """The streams an owner named: one exact name, or a regular expression (RE2) that must match a whole name."""

    text: str
    is_regex: bool = False


class Matcher(Protocol):
    """A compiled regular expression that answers in time linear in the text."""

    def fullmatch(self, text: str, /) -> object | None:
        """Return something when the whole `text` matches, else None."""


@dataclass(frozen=True, slots=True)
class Grant:
    """`actions` on the streams named by `names` or matched whole by one of `patterns`. Empty grants nothing."""

    actions: Collection[Action]
    names: Collection[str] = ()
    patterns: tuple[Matcher, ...] = ()

    def covers(self, name: str) -> bool:
        """Tell whether the stream `name` is one of the grant's."""
        if name in self.names:
            return True
        return any(pattern.fullmatch(name) is not None for pattern in self.patterns)
