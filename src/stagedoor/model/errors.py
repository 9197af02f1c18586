"""The exceptions of Stagedoor: broken promises, never refusals.

A refused access is a `Decision`; these are for calls that could not be carried out at all::

    StagedoorError
    +-- InvalidInput    the caller sent something that cannot be right
    |   +-- InvalidScope       ... a scope that there is not, or that it may not have
    |   +-- UnsupportedGrant   ... a way to a token that we do not know
    +-- NotFound        the thing named does not exist (for this caller)
    +-- Conflict        it clashes with what is already there
    +-- NotPermitted    the caller may not do this
    |   +-- InvalidClient      ... no application is shown, or not its secret
    |   +-- OutOfScope         ... it is known, and this is not within its scopes
    +-- Refused         what is asked for is not allowed, for a reason that is told
    +-- TooMany         the caller has to slow down
    +-- Unavailable     a part we need is not answering
    +-- ConfigError     the operator's settings cannot work

None of them knows HTTP: one table per dialect maps them.
"""

from typing import ClassVar


class StagedoorError(Exception):
    """The base of every error we raise; never raised itself. Its text is safe to show and holds no secret."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        """Keep `message`, which says what to do, and the name of the input `field` at fault, if one is."""
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidInput(StagedoorError):
    """The caller sent something that cannot be right."""

    code = "invalid_input"


class InvalidScope(InvalidInput):
    """A scope that there is not, or that the caller may not have (RFC 6749 section 5.2)."""

    code = "invalid_scope"


class UnsupportedGrant(InvalidInput):
    """The caller wants a token in a way that we do not know (RFC 6749 section 5.2)."""

    code = "unsupported_grant_type"


class NotFound(StagedoorError):
    """The thing named does not exist, or not for this caller."""

    code = "not_found"


class Conflict(StagedoorError):
    """The call clashes with what is already there."""

    code = "conflict"


class NotPermitted(StagedoorError):
    """The caller did not show that it may do this."""

    code = "not_permitted"


class InvalidClient(NotPermitted):
    """No application is shown, or not its secret (RFC 6749 section 5.2)."""

    code = "invalid_client"


class OutOfScope(NotPermitted):
    """The caller is known, and what it asks for is not within its scopes: it needs `scope` (RFC 6750 section 3.1)."""

    code = "insufficient_scope"

    def __init__(self, message: str, *, scope: str = "", field: str | None = None) -> None:
        """Keep what `StagedoorError` keeps, and the scope that is needed."""
        super().__init__(message, field=field)
        self.scope = scope


class Refused(StagedoorError):
    """What is asked for is not allowed; `reason` is a code that says why."""

    code = "refused"

    def __init__(self, message: str, *, reason: str = "refused", field: str | None = None) -> None:
        """Keep what `StagedoorError` keeps, and the reason."""
        super().__init__(message, field=field)
        self.reason = reason


class TooMany(StagedoorError):
    """The caller has done this too often, and may again in `retry_after_seconds`."""

    code = "too_many"

    def __init__(self, message: str, *, retry_after_seconds: int = 1, field: str | None = None) -> None:
        """Keep what `StagedoorError` keeps, and when to try again."""
        super().__init__(message, field=field)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(StagedoorError):
    """A part we need (the database, a media server) is not answering."""

    code = "unavailable"


class ConfigError(StagedoorError):
    """The operator's settings or surroundings cannot work; the text says what to change."""

    code = "config_error"
