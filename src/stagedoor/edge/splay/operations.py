"""The operations of the secure playback API: make, verify and revoke playback tokens."""

from functools import partial
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from stagedoor.edge.operation import Call, Operation, Page
from stagedoor.edge.splay.dialect import Malformed, NotValid, OtherOrganisation
from stagedoor.model.decision import Reason
from stagedoor.model.errors import InvalidInput, NotFound
from stagedoor.model.grant import StreamPattern
from stagedoor.model.instants import instant
from stagedoor.model.key import Algorithm
from stagedoor.model.reasons import EXPLANATIONS
from stagedoor.model.token import TokenRecord, TokenTerms
from stagedoor.service.playback import CheckedPlayback, PlaybackTokens, two_weeks_from
from stagedoor.service.ports import Clock
from stagedoor.service.token_admin import EVERY_STREAM
from stagedoor.tokens.carriers import Carrier, carriers, longest_name

PATH: Final = "/api/v1/splay"

_Text = Annotated[str, Meta(min_length=1, max_length=128)]
_Texts = Annotated[list[_Text], Meta(min_length=1, max_length=100)]
_Instant = Annotated[int, Meta(ge=0, le=253402300799)]
_TokenText = Annotated[str, Meta(min_length=1, max_length=8192)]


class NewPlayback(Struct, kw_only=True, forbid_unknown_fields=True):
    """A playback token to be made, with exactly one target: `groupid`, `streams` or `orgawide`.

    `exp` and `nbf` are in seconds since the epoch. `ip` and `domain` may be several, and of IPv6, which is ours. `revocable` is
    taken and needs not be set: every token can be revoked.
    """

    groupid: _Text | None = None
    streams: Annotated[list[_Text], Meta(min_length=1, max_length=1000)] | None = None
    orgawide: bool | None = None
    exp: _Instant | None = None
    nbf: _Instant | None = None
    ip: _Text | _Texts | None = None
    domain: _Text | _Texts | None = None
    tag: _Text | None = None
    user: _Text | None = None
    cust: Annotated[str, Meta(max_length=1024)] | None = None
    revocable: bool | None = None
    force_disconnect: bool | None = field(name="forceDisconnect", default=None)


class Security(Struct):
    """What a player's configuration takes, in a group or in an entry."""

    jwtoken: str


class MadePlayback(Struct, rename="camel", kw_only=True):
    """A new token. All but `token` is ours: its id, its length and what has room for it, what to paste into a player."""

    token: str
    token_id: int
    expires_on: str
    length: int
    carriers: list[Carrier]
    security: Security


class ShownText(Struct, forbid_unknown_fields=True):
    """A token as it was made."""

    token: _TokenText


class VerifiedPlayback(Struct, rename="camel", kw_only=True):
    """A token that is valid now, and what it is good for. Whom it lets in depends on its rules too."""

    token_id: int
    streams: list[str]
    groups: list[str]
    orgawide: bool
    exp: int | UnsetType = UNSET
    nbf: int | UnsetType = UNSET
    ip: list[str] | UnsetType = UNSET
    domain: list[str] | UnsetType = UNSET
    tag: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    added_on: str


def splay_operations(playback: PlaybackTokens, clock: Clock) -> tuple[Operation, ...]:
    """Return the operations."""

    async def create(call: Call) -> MadePlayback:
        asked: NewPlayback = call.body
        terms = two_weeks_from(clock(), _terms(asked))
        issued = await playback.issue(call.account, terms, _claims(asked, terms), Algorithm.RS256)
        text = issued.secret.reveal()
        return MadePlayback(
            token=text,
            token_id=issued.record.id,
            expires_on=instant(terms.expires_at or 0),
            length=len(text),
            carriers=list(carriers(len(text), longest_name(terms))),
            security=Security(text),
        )

    async def find(call: Call) -> CheckedPlayback:
        asked: ShownText = call.body
        try:
            checked = await playback.check(asked.token)
        except InvalidInput:
            raise Malformed("Malformed JWT", field="token") from None
        except NotFound:
            raise NotValid(EXPLANATIONS[Reason.TOKEN_UNKNOWN].public, reason=Reason.TOKEN_UNKNOWN) from None
        if checked.record.account != call.account:
            raise OtherOrganisation("the token belongs to another organisation", field="token")
        return checked

    async def verify(call: Call) -> VerifiedPlayback:
        record, reason = await find(call)
        if reason is not Reason.OK:
            raise NotValid(EXPLANATIONS[reason].hint, reason=reason)
        return _verified(record)

    async def revoke(call: Call) -> Page:
        record, _ = await find(call)
        await playback.revoke(call.account, record.id)
        return Page("", b"")

    operation = partial(Operation, method="POST", tag="Secure playback (compatible)")
    return (
        operation(
            path=PATH,
            name="create_splay_token",
            scope="live:playback_token:create",
            summary="Create a playback token",
            handle=create,
            body=NewPlayback,
            answer=MadePlayback,
            example={"streams": ["main"], "tag": "summer"},
            refusals=(400, 403),
        ),
        operation(
            path=f"{PATH}/verify",
            name="verify_splay_token",
            scope="live:playback_token:read",
            summary="Tell whether a playback token is valid now",
            handle=verify,
            body=ShownText,
            answer=VerifiedPlayback,
            example={"token": "eyJ..."},
            refusals=(400, 403),
        ),
        operation(
            path=f"{PATH}/revoke",
            name="revoke_splay_token",
            scope="live:playback_token:delete",
            summary="Revoke a playback token, and end what it plays",
            handle=revoke,
            body=ShownText,
            answer=None,
            status=204,
            example={"token": "eyJ..."},
            refusals=(400, 403),
        ),
    )


def _terms(asked: NewPlayback) -> TokenTerms:
    targets = [asked.groupid is not None, asked.streams is not None, asked.orgawide is True]
    if sum(targets) != 1:
        raise InvalidInput("Parameter required: one of groupid, streams or orgawide, and no other of them")
    streams = [StreamPattern(name) for name in asked.streams or ()]
    if asked.orgawide:
        streams = [StreamPattern(EVERY_STREAM, is_regex=True)]
    return TokenTerms(
        label=asked.tag or asked.user or "playback",
        streams=tuple(dict.fromkeys(streams)),
        groups=() if asked.groupid is None else (asked.groupid,),
        expires_at=asked.exp,
        not_before=asked.nbf,
        allowed_addresses=tuple(_several(asked.ip)),
        allowed_origins=tuple(_several(asked.domain)),
        subject=asked.user or "",
        tracking_id=asked.tag,
        viewer_data=asked.cust or "",
        end_sessions_at_expiry=asked.force_disconnect is True,
    )


def _claims(asked: NewPlayback, terms: TokenTerms) -> dict[str, Any]:
    """Return what the token says of itself, in the names of the request."""
    said = {
        name: getattr(asked, name) for name in ("groupid", "streams", "orgawide", "ip", "domain", "tag", "user", "cust")
    }
    times = {"exp": terms.expires_at, "nbf": terms.not_before}
    return {name: value for name, value in (said | times).items() if value is not None}


def _several(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


def _verified(record: TokenRecord) -> VerifiedPlayback:
    terms = record.terms
    return VerifiedPlayback(
        token_id=record.id,
        streams=[pattern.text for pattern in terms.streams if not pattern.is_regex],
        groups=list(terms.groups),
        orgawide=any(pattern.is_regex for pattern in terms.streams),
        exp=UNSET if terms.expires_at is None else terms.expires_at,
        nbf=UNSET if terms.not_before is None else terms.not_before,
        ip=list(terms.allowed_addresses) or UNSET,
        domain=list(terms.allowed_origins) or UNSET,
        tag=terms.tracking_id or UNSET,
        user=terms.subject or UNSET,
        added_on=instant(record.added_on),
    )
