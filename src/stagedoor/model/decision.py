"""The answer: one reason, and the revision of the knowledge it was made with.

`Reason` is API: codes are added, never renamed or reused. `ok*` allow; every other one refuses.
"""

from enum import StrEnum
from typing import NamedTuple, NoReturn

from stagedoor.model.account import AccountPolicy
from stagedoor.model.caveats import Caveat
from stagedoor.model.token import TokenState
from stagedoor.model.usage import UNUSED, Usage


class Reason(StrEnum):
    """Why an access was allowed or refused. Texts and hints stand in `model.reasons`, for people in docs/reasons.md."""

    OK = "ok"
    OK_OPEN_STREAM = "ok_open_stream"
    OK_ENGINE = "ok_engine"
    OK_SHADOW = "ok_shadow"
    TOKEN_MISSING = "token_missing"
    TOKEN_MALFORMED = "token_malformed"
    TOKEN_UNKNOWN = "token_unknown"
    SIGNATURE_INVALID = "signature_invalid"
    KEY_REVOKED = "key_revoked"
    TOKEN_REVOKED = "token_revoked"
    TOKEN_DISABLED = "token_disabled"
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_OUTSIDE_HOURS = "token_outside_hours"
    TOKEN_USED = "token_used"
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_MISMATCH = "account_mismatch"
    ACTION_NOT_GRANTED = "action_not_granted"
    STREAM_NOT_GRANTED = "stream_not_granted"
    STREAM_NAME_INVALID = "stream_name_invalid"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    ADDRESS_UNKNOWN = "address_unknown"
    ADDRESS_NOT_TRUSTED = "address_not_trusted"
    ADDRESS_NOT_BOUND = "address_not_bound"
    ORIGIN_MISSING = "origin_missing"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    COUNTRY_UNKNOWN = "country_unknown"
    COUNTRY_NOT_ALLOWED = "country_not_allowed"
    PROTOCOL_NOT_ALLOWED = "protocol_not_allowed"
    USER_AGENT_NOT_ALLOWED = "user_agent_not_allowed"
    REFERRER_NOT_ALLOWED = "referrer_not_allowed"
    STREAM_NOT_LIVE = "stream_not_live"
    TOO_MANY_SESSIONS = "too_many_sessions"
    SESSION_TOO_LONG = "session_too_long"
    WATCH_TIME_SPENT = "watch_time_spent"
    BYTES_SPENT = "bytes_spent"
    STARTS_SPENT = "starts_spent"
    USAGE_UNKNOWN = "usage_unknown"
    CAVEAT_NOT_JUDGED = "caveat_not_judged"
    ACTION_UNKNOWN = "action_unknown"
    REQUEST_MALFORMED = "request_malformed"
    ENGINE_UNKNOWN = "engine_unknown"
    STORE_UNAVAILABLE = "store_unavailable"


ALLOWING = frozenset({Reason.OK, Reason.OK_OPEN_STREAM, Reason.OK_ENGINE, Reason.OK_SHADOW})


class Standing(NamedTuple):
    """What is known right now of the token shown, of the stream asked for, and of who asks.

    `secured`: watching needs a subscribe token. `viewer_caveats`: conditions that the stream's own publish tokens put on
    everyone who watches it. `revision` numbers the knowledge all of this was read from. `country`: ISO 3166-1 alpha-2, empty
    when unknown. `live`: somebody is publishing the stream. `running`: the access goes on with what was admitted before.
    `sessions_told`, `bytes_told`: the engine lets us know when a session ends, and how much it carried.
    """

    token: TokenState
    account: AccountPolicy
    secured: bool
    viewer_caveats: tuple[Caveat, ...]
    revision: int
    address_trusted: bool = True
    country: str = ""
    live: bool = False
    running: bool = False
    sessions_told: bool = True
    bytes_told: bool = True
    usage: Usage = UNUSED


class Decision(NamedTuple):
    """What was decided. There is no truth value on purpose: ask `allowed`.

    `shadowed` is the reason for which it would have been refused, were the condition not being tried out.
    """

    reason: Reason
    revision: int
    shadowed: Reason | None = None

    @property
    def allowed(self) -> bool:
        """Tell whether the access may go on."""
        return self.reason in ALLOWING

    def __bool__(self) -> NoReturn:
        """Refuse to be a condition: a refusal that is truthy is how doors are left open."""
        raise TypeError("a Decision has no truth value; ask decision.allowed")
