"""What each reason says: to the one refused, to the operator, and whether trying again can help.

The public text never tells whether a token exists: unknown, revoked, disabled and wrong tokens read the same.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from stagedoor.model.decision import Reason

_NOT_VALID = "The token is not valid for this stream."
_NOT_HERE = "The token is not valid from here."
_NOT_NOW = "The token is not valid at this time."
_USED_UP = "The token is used up."


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
        Reason.OK_SHADOW: Explanation(
            "Allowed.",
            "Let through by shadow mode, which tries a condition out: without it the access would have been refused, for the"
            " reason in `shadowed`.",
            False,
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
            "What came is not a token: 64 hexadecimal or 43 base64url characters, or a signed one (JWT) of a known form. Look for"
            " a cut-off copy; nginx-rtmp cuts the stream key at 255 characters.",
            False,
        ),
        Reason.TOKEN_UNKNOWN: Explanation(
            _NOT_VALID,
            "No token of this system has that value. It may have been renewed, or be another system's.",
            False,
        ),
        Reason.SIGNATURE_INVALID: Explanation(
            _NOT_VALID,
            "A signed token names a parent token, or a key, that did not sign it: it was changed, the key was another, or the"
            " parent has been renewed since. The key of a child is the parent's text, not the bytes it stands for.",
            False,
        ),
        Reason.KEY_REVOKED: Explanation(
            _NOT_VALID, "The key that signed the token was revoked. Sign a new one with another key.", False
        ),
        Reason.TOKEN_REVOKED: Explanation(
            _NOT_VALID, "The token, or the one that it was signed with, was deleted or revoked. Make a new one.", False
        ),
        Reason.TOKEN_DISABLED: Explanation(_NOT_VALID, "The token is switched off; isActive switches it on.", True),
        Reason.TOKEN_NOT_YET_VALID: Explanation(
            _NOT_NOW,
            "Its notBefore lies ahead. Check the clock if that is a surprise.",
            True,
        ),
        Reason.TOKEN_EXPIRED: Explanation(
            _NOT_NOW,
            "It expired, or is older than the account's longest lifetime. What runs goes on, unless endSessionsAtExpiry is set;"
            " nothing new starts.",
            False,
        ),
        Reason.TOKEN_OUTSIDE_HOURS: Explanation(
            _NOT_NOW, "It is none of the token's hours, by the clock of its time zone.", True
        ),
        Reason.TOKEN_USED: Explanation(
            _USED_UP,
            "The token is for a single use, and was used. The same address may come back within its reload grace.",
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
            _NOT_HERE, "The token has a rule about addresses and the engine gave no address that can be read.", False
        ),
        Reason.ADDRESS_NOT_TRUSTED: Explanation(
            _NOT_HERE,
            "A rule about addresses or countries applies and this engine's client addresses can be made up. Put a proxy before it"
            " that sets them, or accept them: `stagedoor engine set NAME --address-trust accepted`.",
            False,
        ),
        Reason.ADDRESS_NOT_BOUND: Explanation(
            _NOT_HERE,
            "The token is bound to the first addresses that used it, and this is another. bindIpsOnUsage 0 clears them.",
            False,
        ),
        Reason.ORIGIN_MISSING: Explanation(
            "The page is not allowed.",
            "The token has allowedOrigins and no web origin came. RTMP, RTSP and SRT have none: allowWithoutOrigin lets those"
            " pass. MediaMTX does not tell it.",
            False,
        ),
        Reason.ORIGIN_NOT_ALLOWED: Explanation(
            "The page is not allowed.",
            "The page's origin is none of the token's allowedOrigins. A host alone means any scheme and port, *.example.com"
            " every host below it but not itself.",
            False,
        ),
        Reason.COUNTRY_UNKNOWN: Explanation(
            "Not available in your country.",
            "There is a list of allowed countries and the address is in none that is known: a private address, or no country"
            " file (`stagedoor geo update`).",
            False,
        ),
        Reason.COUNTRY_NOT_ALLOWED: Explanation(
            "Not available in your country.",
            "The address is in a country that is not allowed, by the subscribe token, else by the stream's publish token, else by"
            " the account.",
            False,
        ),
        Reason.PROTOCOL_NOT_ALLOWED: Explanation(
            "The protocol is not allowed.", "The protocol is none of the token's allowedProtocols.", False
        ),
        Reason.USER_AGENT_NOT_ALLOWED: Explanation(
            "The program is not allowed.",
            "The client's name for itself is none of the token's allowedUserAgents.",
            False,
        ),
        Reason.REFERRER_NOT_ALLOWED: Explanation(
            "The page is not allowed.", "The page's address is none of the token's allowedReferrers.", False
        ),
        Reason.STREAM_NOT_LIVE: Explanation(
            "The stream is not live.",
            "A token for a single use is not spent on a stream that nobody publishes. Try again when it is live.",
            True,
        ),
        Reason.TOO_MANY_SESSIONS: Explanation(
            "Too many sessions.",
            "The token, or its subject, has as many sessions open as its limit allows, or this session had to make room for a"
            " newer one.",
            True,
        ),
        Reason.SESSION_TOO_LONG: Explanation(
            "The session has ended.", "The session has run for as long as the token's budget for one allows.", True
        ),
        Reason.WATCH_TIME_SPENT: Explanation(_USED_UP, "The token's sessions have used up its watch time.", False),
        Reason.BYTES_SPENT: Explanation(_USED_UP, "The token's sessions have used up its bytes.", False),
        Reason.STARTS_SPENT: Explanation(_USED_UP, "The token has been started as often as it may be.", False),
        Reason.USAGE_UNKNOWN: Explanation(
            _NOT_VALID,
            "The token limits sessions, time or bytes, or ends sessions, and this engine does not tell of them: docs/contracts/engines.md says"
            " what each one can do.",
            False,
        ),
        Reason.CAVEAT_NOT_JUDGED: Explanation(
            _NOT_VALID,
            "A newer version set something on the token, or on a publish token of the stream, that this one does not know; or a"
            " signed token says what nobody knows, what cannot be right, or what its parent does not allow (its tracking id, its"
            " cluster). `stagedoor explain` names it. Upgrade, sign it anew, or revoke it.",
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
