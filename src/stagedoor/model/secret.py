"""A value that must not be seen by accident."""

from typing import Final, final


@final
class Secret:
    """Hold a secret text; `repr` and `str` hide it and `reveal` is the only way out."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Keep `value`; it is not checked here."""
        self._value: Final = value

    def reveal(self) -> str:
        """Return the secret itself: for the one reader that must have it."""
        return self._value

    def __repr__(self) -> str:
        """Hide the value in logs, tracebacks and f-strings alike."""
        return "Secret(***)"

    __str__ = __repr__
