"""Bodies of the compatible Token API, as they travel. Unknown fields are ignored, as its clients send some.

In updates a field that is absent stays as it is, and so does one that is null; except `priority`, `encoderProfileId` and
`enableUTCInsertion`, where null clears. Lists are replaced whole and `[]` clears them; `bindIpsOnUsage` 0 clears it.
The fields of `Rules` are ours: what the vendor's tokens cannot say. In an update null clears those of them that are objects or
instants.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from stagedoor.model.access import Action, Protocol
from stagedoor.model.caveats import Over, Per
from stagedoor.model.errors import InvalidInput
from stagedoor.service.ports import SortBy

_T = TypeVar("_T")
_Name = Annotated[str, Meta(min_length=1, max_length=128)]
_Url = Annotated[str, Meta(min_length=1, max_length=2048)]
_TimeOfDay = Annotated[str, Meta(pattern=r"\A(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)\Z")]
_Int32 = Annotated[int, Meta(ge=-2147483648, le=2147483647)]


class InvalidQuery(InvalidInput):
    """A parameter of a query is wrong: the dialect tells it in a form of its own."""


class Stream(Struct, rename="camel"):
    """A stream name, or a regular expression that matches whole names."""

    stream_name: _Name
    is_regex: bool = False


class Tracking(Struct, rename="camel"):
    """Marks what is consumed with a subscribe token."""

    tracking_id: Annotated[str, Meta(max_length=128)] | None = None


class GeoCascade(Struct, rename="camel"):
    """Which clusters a stream cascades to."""

    is_enabled: bool | None = None
    clusters: list[str] | None = None


class Restream(Struct, rename="camel", kw_only=True):
    """A target a broadcast is sent on to."""

    key: Annotated[str, Meta(min_length=5, max_length=512)]
    url: _Url | None = None
    label: Annotated[str, Meta(max_length=2048)] | None = None
    enabled: bool | None = None


class RestreamWithUrl(Restream, rename="camel", kw_only=True):
    """A target that must say where: everywhere but in version 2 of an update."""

    url: _Url


_Restreams = Annotated[Sequence[Restream], Meta(max_length=10)]
_RestreamsWithUrl = Annotated[Sequence[RestreamWithUrl], Meta(max_length=10)]


class HoursWindow(Struct, rename="camel"):
    """Days of the week, and from when until when; `to` before `from` is over midnight."""

    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]]
    from_: _TimeOfDay = field(name="from")
    to: _TimeOfDay


class WeekHours(Struct, rename="camel"):
    """Recurring windows by the clock of a time zone."""

    time_zone: str
    windows: Annotated[list[HoursWindow], Meta(min_length=1, max_length=50)]


class BindTolerance(Struct, rename="camel", kw_only=True):
    """How exactly `bindIpsOnUsage` binds: to so many bits of an address, and how often an hour it may move."""

    ipv4_prefix: int = 32
    ipv6_prefix: int = 128
    rebinds_per_hour: int = 0


class SessionLimit(Struct, rename="camel", kw_only=True):
    """How many sessions at a time, whose, and what becomes of one too many."""

    most: int
    per: Per = Per.TOKEN
    over: Over = Over.REFUSE
    grace_seconds: int = 0


class SingleUse(Struct, rename="camel", kw_only=True):
    """One session, and for how long after it a reload counts as the same."""

    grace_seconds: int = 0


class Budgets(Struct, rename="camel", kw_only=True):
    """What may be used in all."""

    session_seconds: int | None = None
    watch_seconds: int | None = None
    bytes: int | None = None
    starts: int | None = None


class Rules(Struct, rename="camel", kw_only=True):
    """Our own rules for tokens of both kinds, at creation and in updates."""

    not_before: datetime | None = None
    hours: WeekHours | UnsetType | None = UNSET
    end_sessions_at_expiry: bool | None = None
    bind_tolerance: BindTolerance | UnsetType | None = UNSET
    allow_without_origin: bool | None = None
    geo_applies_to: list[Action] | None = None
    allowed_protocols: list[Protocol] | None = None
    allowed_user_agents: list[str] | None = None
    allowed_referrers: list[str] | None = None
    subject: str | None = None
    session_limit: SessionLimit | UnsetType | None = UNSET
    single_use: SingleUse | UnsetType | None = UNSET
    budgets: Budgets | UnsetType | None = UNSET
    shadow_until: datetime | UnsetType | None = UNSET


class CreateToken(Rules, rename="camel", kw_only=True):
    """What both kinds of token have at creation."""

    label: _Name
    streams: Annotated[list[Stream], Meta(min_length=1)]
    expires: Annotated[int, Meta(ge=1, le=2147483647)] | None = None
    expires_on: datetime | None = None
    allowed_origins: list[str] | None = None
    allowed_ip_addresses: list[str] | None = None
    bind_ips_on_usage: Annotated[int, Meta(ge=0, le=4294967295)] | None = None
    origin_cluster: str | None = None
    allowed_countries: list[str] | None = None
    denied_countries: list[str] | None = None


class CreateSubscribeToken(CreateToken, rename="camel", kw_only=True):
    """A new subscribe token."""

    tracking: Tracking | None = None


class CreatePublishToken(CreateToken, rename="camel", kw_only=True):
    """A new publish token."""

    subscribe_requires_auth: bool | None = None
    record: bool | None = None
    clip: bool | None = None
    multisource: bool | None = None
    low_latency_rtmp: bool | None = None
    enable_thumbnails: bool | None = None
    display_srt_passphrase: bool | None = None
    drm: bool | None = None
    enable_utc_insertion: bool | None = field(name="enableUTCInsertion", default=None)
    geo_cascade: GeoCascade | None = None
    restream: _RestreamsWithUrl | None = None
    priority: _Int32 | None = None
    encoder_profile_id: str | None = None


class UpdateToken(Rules, rename="camel", kw_only=True):
    """An update of either kind, by the names of version 2; `V1_NAMES` are those that version 1 has instead."""

    label: Annotated[str, Meta(max_length=128)] | None = None
    refresh_token: bool | None = None
    is_active: bool | None = None
    add_token_streams: list[Stream] | None = None
    remove_token_streams: list[str | Stream] | None = None
    allowed_origins: list[str] | None = None
    allowed_ip_addresses: list[str] | None = None
    bind_ips_on_usage: Annotated[int, Meta(ge=0, le=4294967295)] | None = None
    origin_cluster: str | None = None
    allowed_countries: list[str] | None = None
    denied_countries: list[str] | None = None


class UpdatePublishToken(UpdateToken, rename="camel", kw_only=True):
    """An update of a publish token."""

    subscribe_requires_auth: bool | None = None
    record: bool | None = None
    clip: bool | None = None
    multisource: bool | None = None
    low_latency_rtmp: bool | None = None
    enable_thumbnails: bool | None = None
    display_srt_passphrase: bool | None = None
    drm: bool | None = None
    enable_utc_insertion: bool | UnsetType | None = field(name="enableUTCInsertion", default=UNSET)
    geo_cascade: GeoCascade | None = None
    restream: _Restreams | None = None
    priority: _Int32 | UnsetType | None = UNSET
    encoder_profile_id: str | UnsetType | None = UNSET


class UpdateTokenV1(UpdateToken, rename="camel", kw_only=True):
    """An update by version 1, whose bind count ends earlier."""

    bind_ips_on_usage: Annotated[int, Meta(ge=0, le=2147483647)] | None = None


class UpdatePublishTokenV1(UpdatePublishToken, rename="camel", kw_only=True):
    """An update of a publish token by version 1."""

    bind_ips_on_usage: Annotated[int, Meta(ge=0, le=2147483647)] | None = None
    restream: _RestreamsWithUrl | None = None


class ListTokens(Struct, rename="camel", kw_only=True):
    """The query of a list."""

    page: Annotated[int, Meta(ge=1, le=2147483647)]
    items_on_page: Annotated[int, Meta(ge=1, le=100)]
    sort_by: SortBy | None = None
    is_descending: bool = False


class DisableTokens(Struct, rename="camel"):
    """Tokens to switch off."""

    token_ids: Annotated[list[int], Meta(min_length=1, max_length=1000)]


V1_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "updateAllowedOrigins": "allowedOrigins",
        "updateAllowedIpAddresses": "allowedIpAddresses",
        "updateBindIpsOnUsage": "bindIpsOnUsage",
        "updateOriginCluster": "originCluster",
        "updateAllowedCountries": "allowedCountries",
        "updateDeniedCountries": "deniedCountries",
        "updateGeoCascade": "geoCascade",
        "updateRestream": "restream",
    }
)
"""Names of version 1 to names of version 2. Version 1 takes the plain names too: the vendor's own pages use them there."""

_PLACE: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_MISSING: Final = re.compile(r"missing required field `(?P<name>\w+)`")


def parse(body: bytes, schema: type[_T], names: Mapping[str, str] = MappingProxyType({})) -> _T:
    """Read a JSON body as `schema`, after renaming its top-level fields by `names`.

    Raises: InvalidInput that names the field at fault as the caller wrote it.
    """
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the body is not JSON: {error}", field="body") from None
    written: dict[str, str] = {}
    if names and isinstance(content, dict):
        written = {names[key]: key for key in content if key in names}
        content = {names.get(key, key): value for key, value in content.items()}
    try:
        return msgspec.convert(content, schema)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _invalid(str(error), written) from None


def parse_query(query: Mapping[str, Sequence[str]], schema: type[_T]) -> _T:
    """Read the parameters of a query as `schema`; of several with one name, the last.

    Raises: InvalidQuery that names the parameter at fault.
    """
    try:
        return msgspec.convert({name: values[-1] for name, values in query.items()}, schema, strict=False)
    except msgspec.ValidationError as error:
        problem = _invalid(str(error), {})
        raise InvalidQuery(problem.message, field=problem.field) from None


def _invalid(problem: str, written: Mapping[str, str]) -> InvalidInput:
    place, missing = _PLACE.search(problem), _MISSING.search(problem)
    path = place["path"] if place else ""
    if missing:
        path = f"{path}.{missing['name']}" if path else missing["name"]
    name = re.split(r"[.\[]", path)[0] or "body"
    name = written.get(name, name)
    return InvalidInput(f"{name}: {_PLACE.sub('', problem)}", field=name)
