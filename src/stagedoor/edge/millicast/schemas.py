"""Bodies of the compatible Token API, as they travel. Unknown fields are ignored, as its clients send some.

In updates a field that is absent stays as it is, and so does one that is null; except `priority`, `encoderProfileId` and
`enableUTCInsertion`, where null clears. Lists are replaced whole and `[]` clears them; `bindIpsOnUsage` 0 clears it.
The fields of `Rules` are ours: what the vendor's tokens cannot say. In an update null clears those of them that are objects or
instants.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from stagedoor.service.ports import FilterBy, SortBy
from stagedoor.tokens.carriers import Carrier
from stagedoor.tokens.rules import Instant, Rules, ShownRules

_Name = Annotated[str, Meta(min_length=1, max_length=128)]
_Url = Annotated[str, Meta(min_length=1, max_length=2048)]
_Int32 = Annotated[int, Meta(ge=-2147483648, le=2147483647)]


class Stream(Struct, rename="camel"):
    """A stream name, or a regular expression that matches whole names."""

    stream_name: _Name
    is_regex: bool = False


class Tracking(Struct, rename="camel"):
    """Marks what is consumed with a subscribe token."""

    tracking_id: Annotated[str, Meta(max_length=128)] | None = None


class GeoCascade(Struct, rename="camel", omit_defaults=True):
    """Which clusters a stream cascades to."""

    is_enabled: bool | None = None
    clusters: list[str] | None = None


class Restream(Struct, rename="camel", kw_only=True, omit_defaults=True):
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


class CreateToken(Rules, rename="camel", kw_only=True):
    """What both kinds of token have at creation."""

    label: _Name
    streams: list[Stream] = field(default_factory=list)
    random_stream_names: Annotated[int, Meta(ge=0, le=100)] = 0
    allow_any_stream: bool = False
    expires: Annotated[int, Meta(ge=1, le=2147483647)] | None = None
    expires_on: Instant | None = None
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
    """A new publish token. `restream` may be one target, not in a list: the vendor's Python client sends it so."""

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
    restream: _RestreamsWithUrl | RestreamWithUrl | None = None
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


class ListTokensByName(ListTokens, rename="camel", kw_only=True):
    """The query of a search."""

    name: Annotated[str, Meta(max_length=128)]
    filter_by: FilterBy | None = None


class ListTokensByCluster(ListTokens, rename="camel", kw_only=True):
    """The query of a list of one cluster's tokens."""

    cluster: Annotated[str, Meta(max_length=64)]


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


class EffectiveSettings(Struct, rename="camel", kw_only=True):
    """What applies to a token: its own setting, else the account's. `expiresOn` is ours: when the token really ends."""

    origin_cluster: str
    allowed_countries: Sequence[str]
    denied_countries: Sequence[str]
    geo_cascade: GeoCascade | UnsetType = UNSET
    enable_utc_insertion: bool | UnsetType = field(name="enableUTCInsertion", default=UNSET)
    expires_on: str | UnsetType = UNSET


class Carried(Struct, rename="camel"):
    """How long a form of a token is, and what has room for it beside the stream's name."""

    length: int
    fits: Sequence[Carrier]


class TokenCarriers(Struct, rename="camel", kw_only=True):
    """The two forms of a token: hexadecimal digits as it is shown, and the same as unpadded base64url."""

    hex: Carried
    short: Carried


class Token(ShownRules, rename="camel", kw_only=True):
    """A token as answers show it. `name` is version 1's, and the same as the label.

    `carriers` is ours, for the longest name that the token has.
    """

    id: int
    label: str
    name: str | UnsetType = UNSET
    token: str
    added_on: str
    expires_on: str | UnsetType = UNSET
    is_active: bool
    streams: Sequence[Stream]
    allowed_origins: Sequence[str]
    allowed_ip_addresses: Sequence[str]
    bind_ips_on_usage: int | UnsetType = UNSET
    origin_cluster: str
    effective_settings: EffectiveSettings
    allowed_countries: Sequence[str]
    denied_countries: Sequence[str]
    carriers: TokenCarriers


class SubscribeToken(Token, rename="camel", kw_only=True):
    """A subscribe token."""

    tracking: Tracking | UnsetType = UNSET


class PublishToken(Token, rename="camel", kw_only=True):
    """A publish token."""

    subscribe_requires_auth: bool
    record: bool
    clip: bool
    multisource: bool
    low_latency_rtmp: bool
    enable_thumbnails: bool
    display_srt_passphrase: bool
    drm: bool
    enable_utc_insertion: bool | UnsetType = field(name="enableUTCInsertion", default=UNSET)
    integration_id: str = "None"
    srt_passphrase: str | UnsetType = UNSET
    geo_cascade: GeoCascade | UnsetType = UNSET
    restream: Sequence[Restream] | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    encoder_profile_id: str | UnsetType = UNSET


class FailedToken(Struct, rename="camel"):
    """A token that could not be switched off, and why."""

    token_id: int
    error_message: str


class DisabledTokens(Struct, rename="camel"):
    """The tokens that are off now, and those that are not."""

    successful_tokens: list[int]
    failed_tokens: list[FailedToken]
