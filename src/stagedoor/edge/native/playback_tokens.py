"""The operations on playback tokens, with every rule that tokens can have."""

from functools import partial
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field, to_builtins

from stagedoor.edge.ids import token_id
from stagedoor.edge.operation import Call, Operation
from stagedoor.model.decision import Reason
from stagedoor.model.errors import InvalidInput, NotFound
from stagedoor.model.grant import StreamPattern
from stagedoor.model.instants import instant
from stagedoor.model.key import Algorithm
from stagedoor.model.reasons import EXPLANATIONS
from stagedoor.model.token import TokenRecord, TokenTerms
from stagedoor.service.playback import PlaybackTokens, two_weeks_from
from stagedoor.service.ports import Clock, Page, SortBy
from stagedoor.service.token_admin import EVERY_STREAM
from stagedoor.tokens.carriers import Carrier, carriers, longest_name
from stagedoor.tokens.rules import Instant, Rules, ShownRules, rules_of, seconds, shown_rules

_PATH: Final = "/v1/playback-tokens"
_TAG: Final = "Playback tokens"

_Text = Annotated[str, Meta(min_length=1, max_length=128)]
_TextList = Annotated[list[str], Meta(max_length=1000)]
_FORMS: Final = {"ES256": Algorithm.ES256, "EdDSA": Algorithm.EDDSA, "RS256": Algorithm.RS256, "short": None}


class NewPlaybackToken(Rules, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """A playback token to be made: for streams, groups of streams, or all of them.

    `form` is what it is signed with, or `short` for an opaque one of 43 characters, which fits wherever a token fits. `expires`
    is in seconds from now, `expiresOn` an instant; without either it is good for two weeks.
    """

    streams: _TextList = field(default_factory=list)
    groups: Annotated[list[str], Meta(max_length=50)] = field(default_factory=list)
    every_stream: bool = False
    label: _Text | None = None
    form: Literal["ES256", "EdDSA", "RS256", "short"] = "ES256"
    expires: Annotated[int, Meta(ge=1, le=2147483647)] | None = None
    expires_on: Instant | None = None
    allowed_origins: _TextList | None = None
    allowed_ip_addresses: _TextList | None = None
    bind_ips_on_usage: Annotated[int, Meta(ge=1, le=4294967295)] | None = None
    allowed_countries: _TextList | None = None
    denied_countries: _TextList | None = None
    tracking_id: _Text | None = None
    custom_viewer_data: Annotated[str, Meta(max_length=1024)] | None = None


class ShownPlaybackToken(ShownRules, rename="camel", kw_only=True):
    """A playback token; its value (`token`) is shown when it is made and never again.

    `length` is its own, and `carriers` what has room for it beside the longest of its stream names.
    """

    id: int
    label: str
    streams: list[str]
    groups: list[str]
    every_stream: bool
    added_on: str
    expires_on: str | UnsetType = UNSET
    allowed_origins: list[str] | UnsetType = UNSET
    allowed_ip_addresses: list[str] | UnsetType = UNSET
    bind_ips_on_usage: int | UnsetType = UNSET
    allowed_countries: list[str] | UnsetType = UNSET
    denied_countries: list[str] | UnsetType = UNSET
    tracking_id: str | UnsetType = UNSET
    custom_viewer_data: str | UnsetType = UNSET
    token: str | UnsetType = UNSET
    length: int | UnsetType = UNSET
    carriers: list[Carrier] | UnsetType = UNSET


class ListPlaybackTokens(Struct, rename="camel", kw_only=True):
    """The query of a list, newest first."""

    page: Annotated[int, Meta(ge=1, le=2147483647)] = 1
    items_on_page: Annotated[int, Meta(ge=1, le=100)] = 20


class VerifyPlaybackToken(Struct, kw_only=True, forbid_unknown_fields=True):
    """A token as it was made."""

    token: Annotated[str, Meta(min_length=1, max_length=8192)]


class VerifiedPlaybackToken(Struct, kw_only=True):
    """Whether a token lets anybody in now, and why not: the reason code, and what it means."""

    valid: bool
    reason: str
    explanation: str
    token: ShownPlaybackToken | UnsetType = UNSET


def playback_token_operations(playback: PlaybackTokens, clock: Clock) -> tuple[Operation, ...]:
    """Return the operations."""

    async def create(call: Call) -> ShownPlaybackToken:
        asked: NewPlaybackToken = call.body
        terms = two_weeks_from(clock(), _terms(asked, int(clock())))
        issued = await playback.issue(call.account, terms, _claims(asked, terms), _FORMS[asked.form])
        shown, text = _shown(issued.record), issued.secret.reveal()
        shown.token, shown.length = text, len(text)
        shown.carriers = list(carriers(len(text), longest_name(terms)))
        return shown

    async def list_(call: Call) -> list[ShownPlaybackToken]:
        asked: ListPlaybackTokens = call.query
        page = Page(asked.page, asked.items_on_page, SortBy.ADDED_ON, descending=True)
        return [_shown(record) for record in await playback.list(call.account, page)]

    async def read(call: Call) -> ShownPlaybackToken:
        return _shown(await playback.read(call.account, token_id(call)))

    async def revoke(call: Call) -> bool:
        await playback.revoke(call.account, token_id(call))
        return True

    async def verify(call: Call) -> VerifiedPlaybackToken:
        asked: VerifyPlaybackToken = call.body
        record: TokenRecord | None = None
        try:
            record, reason = await playback.check(asked.token)
        except InvalidInput:
            reason = Reason.TOKEN_MALFORMED
        except NotFound:
            reason = Reason.TOKEN_UNKNOWN
        if record is not None and record.account != call.account:
            record, reason = None, Reason.TOKEN_UNKNOWN
        found = VerifiedPlaybackToken(valid=reason is Reason.OK, reason=reason, explanation=EXPLANATIONS[reason].hint)
        if record is not None:
            found.token = _shown(record)
        return found

    operation = partial(Operation, tag=_TAG)
    return (
        operation(
            method="GET",
            path=_PATH,
            name="list_playback_tokens",
            scope="live:playback_token:read",
            summary="List the playback tokens, without their values",
            handle=list_,
            query=ListPlaybackTokens,
            answer=list[ShownPlaybackToken],
            example_query="page=1&itemsOnPage=20",
        ),
        operation(
            method="POST",
            path=_PATH,
            name="create_playback_token",
            scope="live:playback_token:create",
            summary="Create a playback token",
            status=201,
            handle=create,
            body=NewPlaybackToken,
            answer=ShownPlaybackToken,
            example={"streams": ["main"], "expires": 3600, "allowedIpAddresses": ["192.0.2.0/24", "2001:db8::/32"]},
            refusals=(400, 404),
            text="Its value is in this answer and in no other. Others verify a signed one with the keys at /.well-known/jwks.json.",
        ),
        operation(
            method="POST",
            path=f"{_PATH}/verify",
            name="verify_playback_token",
            scope="live:playback_token:read",
            summary="Tell whether a playback token lets anybody in now, and why not",
            handle=verify,
            body=VerifyPlaybackToken,
            answer=VerifiedPlaybackToken,
            example={"token": "eyJ..."},
        ),
        operation(
            method="GET",
            path=f"{_PATH}/{{tokenId}}",
            name="read_playback_token",
            scope="live:playback_token:read",
            summary="Read a playback token",
            handle=read,
            answer=ShownPlaybackToken,
            refusals=(404,),
        ),
        operation(
            method="DELETE",
            path=f"{_PATH}/{{tokenId}}",
            name="delete_playback_token",
            scope="live:playback_token:delete",
            summary="Revoke a playback token, and end what it plays",
            handle=revoke,
            answer=bool,
            refusals=(404,),
        ),
    )


def _terms(asked: NewPlaybackToken, now: int) -> TokenTerms:
    """Return the terms that are asked for.

    Raises: InvalidInput.
    """
    if asked.every_stream and (asked.streams or asked.groups):
        raise InvalidInput("name streams and groups, or set everyStream, not both", field="everyStream")
    if asked.expires is not None and asked.expires_on is not None:
        raise InvalidInput("set expires (seconds from now) or expiresOn (an instant), not both", field="expiresOn")
    streams = [StreamPattern(name) for name in dict.fromkeys(asked.streams)]
    if asked.every_stream:
        streams = [StreamPattern(EVERY_STREAM, is_regex=True)]
    expires = None if asked.expires is None else now + asked.expires
    return TokenTerms(
        label=asked.label or asked.tracking_id or asked.subject or "playback",
        streams=tuple(streams),
        groups=tuple(dict.fromkeys(asked.groups)),
        expires_at=seconds(asked.expires_on, "expiresOn") if expires is None else expires,
        allowed_origins=tuple(asked.allowed_origins or ()),
        allowed_addresses=tuple(asked.allowed_ip_addresses or ()),
        bind_ips_on_usage=asked.bind_ips_on_usage,
        allowed_countries=tuple(asked.allowed_countries or ()),
        denied_countries=tuple(asked.denied_countries or ()),
        tracking_id=asked.tracking_id,
        viewer_data=asked.custom_viewer_data or "",
        **rules_of(asked),
    )


def _claims(asked: NewPlaybackToken, terms: TokenTerms) -> dict[str, Any]:
    """Return what the token says of itself: whom it is for and until when; its rules in the names of the request."""
    unsaid = {"form", "expires", "expiresOn", "label", "notBefore", "shadowUntil"}
    said = {
        name: value
        for name, value in to_builtins(asked).items()
        if name not in unsaid and value not in (None, [], False)
    }
    claims: dict[str, Any] = {"exp": terms.expires_at, "streaming": {"tokenType": "Subscribe", **said}}
    if terms.not_before is not None:
        claims["nbf"] = terms.not_before
    if terms.subject:
        claims["sub"] = terms.subject
    return claims


def _shown(record: TokenRecord) -> ShownPlaybackToken:
    terms = record.terms
    return ShownPlaybackToken(
        id=record.id,
        label=terms.label,
        streams=[pattern.text for pattern in terms.streams if not pattern.is_regex],
        groups=list(terms.groups),
        every_stream=any(pattern.is_regex for pattern in terms.streams),
        added_on=instant(record.added_on),
        expires_on=UNSET if terms.expires_at is None else instant(terms.expires_at),
        allowed_origins=list(terms.allowed_origins) or UNSET,
        allowed_ip_addresses=list(terms.allowed_addresses) or UNSET,
        bind_ips_on_usage=terms.bind_ips_on_usage or UNSET,
        allowed_countries=list(terms.allowed_countries) or UNSET,
        denied_countries=list(terms.denied_countries) or UNSET,
        tracking_id=terms.tracking_id or UNSET,
        custom_viewer_data=terms.viewer_data or UNSET,
        **shown_rules(terms),
    )
