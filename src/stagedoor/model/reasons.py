"""What each reason says: to the one refused, to the operator, and whether trying again can help.

The public text never tells whether a token exists: unknown, revoked, disabled and wrong tokens read the same.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from stagedoor.model.decision import Reason

_NOT_VALID = "The token is not valid for this stream."
_NOT_HERE = "The token is not valid from here."


class Explanation(NamedTuple):
    """`public` may be shown to anyone; `hint` tells the operator what to look at; `retry`: the same may work later."""

    public: str
    hint: str
    retry: bool


EXPLANATIONS: Final[Mapping[Reason, Explanation]] = MappingProxyType(
    {
        Reason.OK: Explanation("Allowed.", "The token allows it.", False),
        Reason.OK_OPEN_STREAM: Explanation(
            "Allowed.", "The stream is open: no publish token that covers it sets subscribeRequiresAuth.", False
        ),
        Reason.OK_ENGINE: Explanation(
            "Allowed.",
            "The media server's own doing (a relay inside it, or its control API with its own secret).",
            False,
        ),
        Reason.TOKEN_MISSING: Explanation(
            "A token is needed.",
            "No token came with the request. Publishing always needs one; watching does when the stream is secured, when"
            " no publish token covers its name, or when neither the path nor the engine says which account it is of.",
            False,
        ),
        Reason.TOKEN_MALFORMED: Explanation(
            _NOT_VALID,
            "What came is not a token: 64 hexadecimal or 43 base64url characters. Look for a cut-off copy; nginx-rtmp cuts"
            " the stream key at 255 characters.",
            False,
        ),
        Reason.TOKEN_UNKNOWN: Explanation(
            _NOT_VALID,
            "No token of this system has that value. It may have been renewed, or be another system's.",
            False,
        ),
        Reason.TOKEN_REVOKED: Explanation(_NOT_VALID, "The token was deleted. Make a new one.", False),
        Reason.TOKEN_DISABLED: Explanation(_NOT_VALID, "The token is switched off; isActive switches it on.", True),
        Reason.TOKEN_NOT_YET_VALID: Explanation(
            "The token is not valid at this time.",
            "Its notBefore lies ahead. Check the clock if that is a surprise.",
            True,
        ),
        Reason.TOKEN_EXPIRED: Explanation(
            "The token is not valid at this time.",
            "It expired. A broadcast that runs goes on; no new one starts.",
            False,
        ),
        Reason.ACCOUNT_DISABLED: Explanation("The account is closed.", "The stream's account is disabled.", True),
        Reason.ACCOUNT_MISMATCH: Explanation(
            _NOT_VALID, "The token is of another account than the stream; check the account id in the path.", False
        ),
        Reason.ACTION_NOT_GRANTED: Explanation(
            _NOT_VALID, "A publish token cannot watch and a subscribe token cannot publish.", False
        ),
        Reason.STREAM_NOT_GRANTED: Explanation(
            _NOT_VALID,
            "The token does not name this stream. Names are case sensitive; patterns match whole names.",
            False,
        ),
        Reason.STREAM_NAME_INVALID: Explanation(
            "The stream name is not valid.",
            "Names have 1 to 128 of A-Z a-z 0-9 _ . ~ + = @ : , - and parts separated by /; no part begins with a dot.",
            False,
        ),
        Reason.ADDRESS_NOT_ALLOWED: Explanation(
            _NOT_HERE, "The client's address is in none of the token's allowedIpAddresses.", False
        ),
        Reason.ADDRESS_UNKNOWN: Explanation(
            _NOT_HERE, "The token has allowedIpAddresses and the engine gave no address that can be read.", False
        ),
        Reason.CAVEAT_NOT_JUDGED: Explanation(
            _NOT_VALID,
            "The token, or a publish token of the stream, sets a condition that this version keeps but cannot judge;"
            " `stagedoor explain` names it. Remove it, or upgrade.",
            False,
        ),
        Reason.ACTION_UNKNOWN: Explanation(
            "The request is not understood.", "The engine asked about something this version does not know.", False
        ),
        Reason.REQUEST_MALFORMED: Explanation(
            "The request is not understood.",
            "The engine's call could not be read; compare its version and configuration.",
            False,
        ),
        Reason.ENGINE_UNKNOWN: Explanation(
            "Forbidden.",
            "The secret in the hook URL is no engine's; `stagedoor engine add` prints the right URL.",
            False,
        ),
        Reason.STORE_UNAVAILABLE: Explanation(
            "Try again shortly.", "The database did not answer, so nothing new is let in. See the server's log.", True
        ),
    }
)
