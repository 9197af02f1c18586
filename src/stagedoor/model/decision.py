"""The answer: one reason, and the revision of the knowledge it was made with.

`Reason` is API: codes are added, never renamed or reused. `ok*` allow; every other one refuses.
"""

from enum import StrEnum
from typing import NamedTuple, NoReturn

from stagedoor.model.caveats import Caveat
from stagedoor.model.token import TokenState


class Reason(StrEnum):
    """Why an access was allowed or refused. Texts and hints stand in `model.reasons`, for people in docs/reasons.md."""

    OK = "ok"
    OK_OPEN_STREAM = "ok_open_stream"
    OK_ENGINE = "ok_engine"
    TOKEN_MISSING = "token_missing"
    TOKEN_MALFORMED = "token_malformed"
    TOKEN_UNKNOWN = "token_unknown"
    TOKEN_REVOKED = "token_revoked"
    TOKEN_DISABLED = "token_disabled"
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"
    TOKEN_EXPIRED = "token_expired"
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_MISMATCH = "account_mismatch"
    ACTION_NOT_GRANTED = "action_not_granted"
    STREAM_NOT_GRANTED = "stream_not_granted"
    STREAM_NAME_INVALID = "stream_name_invalid"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    ADDRESS_UNKNOWN = "address_unknown"
    CAVEAT_NOT_JUDGED = "caveat_not_judged"
    ACTION_UNKNOWN = "action_unknown"
    REQUEST_MALFORMED = "request_malformed"
    ENGINE_UNKNOWN = "engine_unknown"
    STORE_UNAVAILABLE = "store_unavailable"


ALLOWING = frozenset({Reason.OK, Reason.OK_OPEN_STREAM, Reason.OK_ENGINE})


class Standing(NamedTuple):
    """What is known right now of the token shown and of the stream asked for.

    `secured`: watching needs a subscribe token. `viewer_caveats`: conditions that the stream's own publish tokens put on
    everyone who watches it. `revision` numbers the knowledge all of this was read from.
    """

    token: TokenState
    account_enabled: bool
    secured: bool
    viewer_caveats: tuple[Caveat, ...]
    revision: int


class Decision(NamedTuple):
    """What was decided. There is no truth value on purpose: ask `allowed`."""

    reason: Reason
    revision: int

    @property
    def allowed(self) -> bool:
        """Tell whether the access may go on."""
        return self.reason in ALLOWING

    def __bool__(self) -> NoReturn:
        """Refuse to be a condition: a refusal that is truthy is how doors are left open."""
        raise TypeError("a Decision has no truth value; ask decision.allowed")
