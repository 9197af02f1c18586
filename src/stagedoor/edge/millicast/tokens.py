"""Between the bodies of the Token API and the terms of a token."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from stagedoor.edge.millicast import schemas
from stagedoor.model.errors import InvalidInput
from stagedoor.model.grant import StreamPattern
from stagedoor.model.instants import instant
from stagedoor.model.token import PublishOptions, TokenKind, TokenTerms
from stagedoor.service.terms import EffectiveSettings, effective_settings
from stagedoor.service.token_admin import EVERY_STREAM, IssuedToken, new_stream_name
from stagedoor.tokens.carriers import HEX_LENGTH, SHORT_LENGTH, carriers, longest_name
from stagedoor.tokens.rules import CLEARABLE, rules_of, seconds, shown_rules

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
_ALL_CLUSTERS: Final[dict[str, Any]] = {"clusters": ["all"]}
_SWITCHED_ON: Final[dict[str, Any]] = {"enabled": True}
_CLEARABLE: Final = ("enable_utc_insertion", "priority", "encoder_profile_id")


def terms_of(body: schemas.CreateToken, now: int) -> TokenTerms:
    """Return the terms that a creation asks for at `now`, in seconds since the epoch.

    Raises: InvalidInput for an instant that no clock has.
    """
    terms = TokenTerms(
        label=body.label,
        streams=_streams(body),
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


def shown_token(issued: IssuedToken, *, version: int) -> schemas.Token:
    """Return a token as version 1 or 2 of the API shows it; what is not set is left out."""
    record, terms = issued.record, issued.record.terms
    shown: dict[str, Any] = {
        "id": record.id,
        "label": terms.label,
        "name": terms.label if version == 1 else UNSET,
        "token": issued.secret.reveal(),
        "added_on": instant(record.added_on),
        "expires_on": _instant_or_unset(terms.expires_at),
        "is_active": terms.active,
        "streams": [schemas.Stream(pattern.text, pattern.is_regex) for pattern in terms.streams],
        "allowed_origins": terms.allowed_origins,
        "allowed_ip_addresses": terms.allowed_addresses,
        "bind_ips_on_usage": _or_unset(terms.bind_ips_on_usage),
        "origin_cluster": terms.origin_cluster,
        "effective_settings": _effective(effective_settings(record, issued.policy)),
        "allowed_countries": terms.allowed_countries,
        "denied_countries": terms.denied_countries,
        "carriers": _carriers(terms),
    }
    shown |= shown_rules(terms)
    if record.kind is TokenKind.PUBLISH:
        return schemas.PublishToken(**shown, **_publishing(issued))
    tracking = UNSET if terms.tracking_id is None else schemas.Tracking(terms.tracking_id)
    return schemas.SubscribeToken(**shown, tracking=tracking)


def _carriers(terms: TokenTerms) -> schemas.TokenCarriers:
    """Return what has room for a token beside the longest name of its streams."""
    longest = longest_name(terms)
    return schemas.TokenCarriers(
        **{
            form: schemas.Carried(length, carriers(length, longest))
            for form, length in (("hex", HEX_LENGTH), ("short", SHORT_LENGTH))
        }
    )


def _publishing(issued: IssuedToken) -> dict[str, Any]:
    options = issued.record.terms.publishing
    shown: dict[str, Any] = {name: getattr(options, name) for name in _FLAGS}
    shown |= {name: _or_unset(getattr(options, name)) for name in _CLEARABLE}
    if issued.srt_passphrase is not None:
        shown["srt_passphrase"] = issued.srt_passphrase.reveal()
    if options.geo_cascade is not None:
        shown["geo_cascade"] = msgspec.convert(options.geo_cascade, schemas.GeoCascade)
    if options.restream:
        shown["restream"] = [msgspec.convert(target, schemas.Restream) for target in options.restream]
    return shown


def _with_lists(
    options: PublishOptions, body: schemas.CreatePublishToken | schemas.UpdatePublishToken
) -> PublishOptions:
    """Take over the cascade and the restream targets, where `body` has them."""
    cascade, restream = body.geo_cascade, body.restream
    if isinstance(restream, schemas.Restream):
        restream = [restream]
    if cascade is not None and cascade.is_enabled and cascade.clusters == []:
        raise InvalidInput("name clusters, or leave them out for all of them", field="geoCascade")
    return replace(
        options,
        geo_cascade=options.geo_cascade if cascade is None else _ALL_CLUSTERS | msgspec.to_builtins(cascade),
        restream=options.restream
        if restream is None
        else tuple(_SWITCHED_ON | msgspec.to_builtins(target) for target in restream),
    )


def _changed_streams(streams: tuple[StreamPattern, ...], body: schemas.UpdateToken) -> tuple[StreamPattern, ...]:
    """Remove by text, then add what is not there yet."""
    removed = {item if isinstance(item, str) else item.stream_name for item in body.remove_token_streams or ()}
    kept = [pattern for pattern in streams if pattern.text not in removed]
    return tuple(dict.fromkeys((*kept, *_patterns(body.add_token_streams or ()))))


def _streams(body: schemas.CreateToken) -> tuple[StreamPattern, ...]:
    """Return the streams that a creation names, asks to be named at random, or leaves open."""
    names = [StreamPattern(new_stream_name()) for _ in range(body.random_stream_names)]
    every = [StreamPattern(EVERY_STREAM, is_regex=True)] if body.allow_any_stream else []
    return tuple(dict.fromkeys((*_patterns(body.streams), *names, *every)))


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


def _effective(settings: EffectiveSettings) -> schemas.EffectiveSettings:
    cascade = settings.geo_cascade
    return schemas.EffectiveSettings(
        origin_cluster=settings.origin_cluster,
        allowed_countries=settings.allowed_countries,
        denied_countries=settings.denied_countries,
        geo_cascade=UNSET if cascade is None else schemas.GeoCascade(cascade.enabled, list(cascade.clusters)),
        enable_utc_insertion=_or_unset(settings.enable_utc_insertion),
        expires_on=_instant_or_unset(settings.expires_at),
    )


def _or_unset(value: _T | None) -> _T | UnsetType:
    return UNSET if value is None else value


def _instant_or_unset(at: int | None) -> str | UnsetType:
    return UNSET if at is None else instant(at)
