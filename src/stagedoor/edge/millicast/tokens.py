"""Between the bodies of the Token API and the terms of a token."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET

from stagedoor.edge.millicast import schemas
from stagedoor.edge.millicast.rules import CLEARABLE, instant, rules_body, rules_of, seconds
from stagedoor.model.errors import InvalidInput
from stagedoor.model.grant import StreamPattern
from stagedoor.model.token import PublishOptions, TokenKind, TokenTerms
from stagedoor.service.terms import EffectiveSettings, effective_settings
from stagedoor.service.token_admin import IssuedToken

_T = TypeVar("_T")

_FLAGS: Final = (
    "subscribe_requires_auth",
    "record",
    "clip",
    "multisource",
    "low_latency_rtmp",
    "enable_thumbnails",
    "display_srt_passphrase",
    "drm",
)
_CLEARABLE: Final = ("enable_utc_insertion", "priority", "encoder_profile_id")


def terms_of(body: schemas.CreateToken, now: int) -> TokenTerms:
    """Return the terms that a creation asks for at `now`, in seconds since the epoch.

    Raises: InvalidInput for an instant that no clock has.
    """
    terms = TokenTerms(
        label=body.label,
        streams=_patterns(body.streams),
        expires_at=_expiry(body, now),
        allowed_origins=tuple(body.allowed_origins or ()),
        allowed_addresses=tuple(body.allowed_ip_addresses or ()),
        bind_ips_on_usage=body.bind_ips_on_usage or None,
        origin_cluster=body.origin_cluster or "",
        allowed_countries=tuple(body.allowed_countries or ()),
        denied_countries=tuple(body.denied_countries or ()),
        **rules_of(body),
    )
    if isinstance(body, schemas.CreatePublishToken):
        given = {name: getattr(body, name) for name in (*_FLAGS, *_CLEARABLE) if getattr(body, name) is not None}
        return replace(terms, publishing=replace(_with_lists(PublishOptions(), body), **given))
    if isinstance(body, schemas.CreateSubscribeToken) and body.tracking is not None:
        return replace(terms, tracking_id=body.tracking.tracking_id)
    return terms


def change_of(body: schemas.UpdateToken) -> Callable[[TokenTerms], TokenTerms]:
    """Return what an update does to terms.

    Raises: InvalidInput when the update says nothing at all.
    """
    if not _says_something(body):
        raise InvalidInput("No properties specified to update.", field="token")

    rules = rules_of(body)

    def change(terms: TokenTerms) -> TokenTerms:
        bind = terms.bind_ips_on_usage if body.bind_ips_on_usage is None else body.bind_ips_on_usage or None
        changed = replace(
            terms,
            label=_or(body.label, terms.label),
            active=_or(body.is_active, terms.active),
            streams=_changed_streams(terms.streams, body),
            allowed_origins=_tuple_or(body.allowed_origins, terms.allowed_origins),
            allowed_addresses=_tuple_or(body.allowed_ip_addresses, terms.allowed_addresses),
            bind_ips_on_usage=bind,
            origin_cluster=_or(body.origin_cluster, terms.origin_cluster),
            allowed_countries=_tuple_or(body.allowed_countries, terms.allowed_countries),
            denied_countries=_tuple_or(body.denied_countries, terms.denied_countries),
            **rules,
        )
        if isinstance(body, schemas.UpdatePublishToken):
            given = {name: getattr(body, name) for name in _FLAGS if getattr(body, name) is not None}
            given |= {name: getattr(body, name) for name in _CLEARABLE if getattr(body, name) is not UNSET}
            changed = replace(changed, publishing=replace(_with_lists(terms.publishing, body), **given))
        return changed

    return change


def token_body(issued: IssuedToken, *, version: int) -> dict[str, Any]:
    """Return a token as version 1 or 2 of the API shows it; what is not set is left out."""
    record, terms = issued.record, issued.record.terms
    body: dict[str, Any] = {
        "id": record.id,
        "label": terms.label,
        "token": issued.secret.reveal(),
        "addedOn": instant(record.added_on),
        "expiresOn": instant(terms.expires_at),
        "isActive": terms.active,
        "streams": [{"streamName": pattern.text, "isRegex": pattern.is_regex} for pattern in terms.streams],
        "allowedOrigins": terms.allowed_origins,
        "allowedIpAddresses": terms.allowed_addresses,
        "bindIpsOnUsage": terms.bind_ips_on_usage,
        "originCluster": terms.origin_cluster,
        "effectiveSettings": _effective_body(effective_settings(record, issued.policy)),
        "allowedCountries": terms.allowed_countries,
        "deniedCountries": terms.denied_countries,
    }
    body |= rules_body(terms)
    if version == 1:
        body["name"] = terms.label
    if record.kind is TokenKind.PUBLISH:
        body |= _publishing_body(terms.publishing)
    elif terms.tracking_id is not None:
        body["tracking"] = {"trackingId": terms.tracking_id}
    return {name: value for name, value in body.items() if value is not None}


def _publishing_body(options: PublishOptions) -> dict[str, Any]:
    return {
        "subscribeRequiresAuth": options.subscribe_requires_auth,
        "record": options.record,
        "clip": options.clip,
        "multisource": options.multisource,
        "lowLatencyRtmp": options.low_latency_rtmp,
        "enableThumbnails": options.enable_thumbnails,
        "displaySrtPassphrase": options.display_srt_passphrase,
        "drm": options.drm,
        "enableUTCInsertion": options.enable_utc_insertion,
        "integrationId": "None",
        "geoCascade": options.geo_cascade,
        "restream": list(options.restream) or None,
        "priority": options.priority,
        "encoderProfileId": options.encoder_profile_id,
    }


def _with_lists(
    options: PublishOptions, body: schemas.CreatePublishToken | schemas.UpdatePublishToken
) -> PublishOptions:
    """Take over the cascade and the restream targets, where `body` has them."""
    cascade, restream = body.geo_cascade, body.restream
    if cascade is not None and cascade.is_enabled and cascade.clusters == []:
        raise InvalidInput("name clusters, or leave them out for all of them", field="geoCascade")
    return replace(
        options,
        geo_cascade=options.geo_cascade if cascade is None else _json_object(cascade),
        restream=options.restream if restream is None else tuple(_json_object(target) for target in restream),
    )


def _json_object(value: msgspec.Struct) -> dict[str, object]:
    content: dict[str, object] = msgspec.to_builtins(value)
    return {name: item for name, item in content.items() if item is not None}


def _changed_streams(streams: tuple[StreamPattern, ...], body: schemas.UpdateToken) -> tuple[StreamPattern, ...]:
    """Remove by text, then add what is not there yet."""
    removed = {item if isinstance(item, str) else item.stream_name for item in body.remove_token_streams or ()}
    kept = [pattern for pattern in streams if pattern.text not in removed]
    return tuple(dict.fromkeys((*kept, *_patterns(body.add_token_streams or ()))))


def _patterns(streams: Iterable[schemas.Stream]) -> tuple[StreamPattern, ...]:
    return tuple(dict.fromkeys(StreamPattern(stream.stream_name, stream.is_regex) for stream in streams))


def _says_something(body: schemas.UpdateToken) -> bool:
    return any(getattr(body, name) not in (None, UNSET) for name in body.__struct_fields__) or any(
        getattr(body, name, UNSET) is None for name in (*_CLEARABLE, *CLEARABLE)
    )


def _or(value: _T | None, otherwise: _T) -> _T:
    return otherwise if value is None else value


def _tuple_or(value: list[str] | None, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    return otherwise if value is None else tuple(value)


def _expiry(body: schemas.CreateToken, now: int) -> int | None:
    if body.expires is not None and body.expires_on is not None:
        raise InvalidInput("set expires (seconds from now) or expiresOn (an instant), not both", field="expiresOn")
    return seconds(body.expires_on, "expiresOn") if body.expires is None else now + body.expires


def _effective_body(settings: EffectiveSettings) -> dict[str, Any]:
    body: dict[str, Any] = {
        "originCluster": settings.origin_cluster,
        "allowedCountries": settings.allowed_countries,
        "deniedCountries": settings.denied_countries,
    }
    return body if settings.expires_at is None else body | {"expiresOn": instant(settings.expires_at)}
