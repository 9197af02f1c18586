"""The operations on what an account sets, and on the storage that it would have for recordings."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Annotated, Final, NoReturn

from msgspec import UNSET, Meta, Struct, UnsetType, field

from stagedoor.edge.millicast.shapes import (
    AnyCase,
    ClusterName,
    Filled,
    Name,
    Paged,
    Storage,
    StorageOptions,
    StorageType,
    StoredAt,
    nothing,
)
from stagedoor.edge.operation import Call, Operation
from stagedoor.model.account import AccountPolicy, GeoCascade, MediaExpiration
from stagedoor.model.caveats import Countries
from stagedoor.model.cluster import EVERY
from stagedoor.model.errors import InvalidInput, NotFound
from stagedoor.service.accounts import Accounts
from stagedoor.service.clusters import ClusterNames, check_cluster
from stagedoor.service.terms import MOST_MEDIA_DAYS

_MOST_COUNTRY_TEXT: Final = 767
"""How long a list of countries may be, in characters with its commas."""

_NOTHING: Final = "No properties specified to update."


class AccountInfo(Struct, rename="camel"):
    """Who the caller is: the first half of its stream ids."""

    account_id: str


class ShownCountries(Struct, rename="camel"):
    """Where the account's streams can be published and watched from (ISO 3166-1 alpha-2); empty lists limit nothing."""

    allowed_countries: tuple[str, ...]
    denied_countries: tuple[str, ...]


class UpdateCountries(Struct, rename="camel", kw_only=True):
    """One list or the other; `[]` clears one, and what is left out stays."""

    allowed_countries: list[str] | None = None
    denied_countries: list[str] | None = None


COUNTRY_NAMES: Final = {"updateAllowedCountries": "allowedCountries", "updateDeniedCountries": "deniedCountries"}
"""The names in the vendor's schema; its example and its client send the plain ones."""


class ShownCascade(Struct, rename="camel"):
    """Whether broadcasts are handed on to other clusters, and to which; `all` is every one."""

    is_enabled: bool
    clusters: tuple[str, ...]


class UpdateCascade(Struct, rename="camel", kw_only=True):
    """A cascade: `isEnabled` is needed, and may be written `isenabled`. Left out, `clusters` are all."""

    is_enabled: bool | None = None
    isenabled: bool | None = field(name="isenabled", default=None)
    clusters: list[ClusterName] | None = None


class Distribution(Struct, rename="camel"):
    """How broadcasts are handed on."""

    geo_cascade: ShownCascade


class UpdateDistribution(Struct, rename="camel"):
    """How broadcasts are to be handed on."""

    geo_cascade: UpdateCascade


class Days(Struct, rename="camel", kw_only=True):
    """A number of days; none at all clears a rule."""

    days: Annotated[int, Meta(ge=1, le=MOST_MEDIA_DAYS)] | None = None


class ShownDays(Struct, rename="camel"):
    """A number of days."""

    days: int


class ShownExpiration(Struct, rename="camel", kw_only=True):
    """After how long what was recorded is deleted; a rule that is not set is left out."""

    timelines: ShownDays | UnsetType = UNSET
    recordings: ShownDays | UnsetType = UNSET
    clips: ShownDays | UnsetType = UNSET


class UpdateExpiration(Struct, rename="camel", kw_only=True):
    """Rules to be set, or with `{}` cleared; what is left out stays."""

    timelines: Days | None = None
    recordings: Days | None = None
    clips: Days | None = None


class SortProfiles(AnyCase):
    """What storage profiles are sorted by."""

    NAME = "name"


class ListProfiles(Paged, rename="camel", kw_only=True):
    """The query of a list of storage profiles."""

    sort: SortProfiles | None = None
    default: bool | None = None


class BucketOptions(StorageOptions, rename="camel", kw_only=True):
    """A bucket that has to be named."""

    bucket_name: Filled


class CreateProfile(Struct, rename="camel", kw_only=True):
    """A new storage profile."""

    type: StorageType
    options: BucketOptions
    name: Name | None = None
    default: bool | None = None


class UpdateProfile(Struct, rename="camel", kw_only=True):
    """Changes of a storage profile."""

    type: StorageType | None = None
    options: StorageOptions | None = None
    name: Annotated[str, Meta(max_length=256)] | None = None
    default: bool | None = None


class Profile(Struct, rename="camel", kw_only=True):
    """A storage profile."""

    id: str
    name: str | None
    default: bool
    type: StorageType
    options: BucketOptions | None


class Validated(Struct, rename="camel", kw_only=True):
    """That a bucket can be written to."""

    id: str
    storage: StoredAt


def account_operations(accounts: Accounts, clusters: ClusterNames) -> tuple[Operation, ...]:
    """Return the operations; `clusters` are the names that a cascade may go to."""

    async def info(call: Call) -> AccountInfo:
        return AccountInfo(call.account)

    return (
        Operation(
            method="GET",
            path="/api/v3/account/info",
            name="read_account",
            scope="live:account:read",
            tag="Account",
            summary="Read the account's id",
            handle=info,
            answer=AccountInfo,
            refusals=(),
        ),
        *_country_operations(accounts),
        *_cascade_operations(accounts, clusters),
        *_expiration_operations(accounts),
        *_storage_operations(),
    )


def _country_operations(accounts: Accounts) -> tuple[Operation, ...]:
    async def read(call: Call) -> ShownCountries:
        return _countries(await accounts.policy(call.account))

    async def update(call: Call) -> ShownCountries:
        asked: UpdateCountries = call.body
        return _countries(await accounts.change(call.account, lambda policy: _with_countries(policy, asked)))

    operation = partial(Operation, tag="Account", answer=ShownCountries)
    get = partial(operation, method="GET", handle=read, refusals=())
    put = partial(
        operation,
        handle=update,
        body=UpdateCountries,
        names=COUNTRY_NAMES,
        example={"updateAllowedCountries": ["US", "CA"]},
    )
    return (
        get(
            path="/api/v3/account/security",
            name="read_account_countries",
            scope="live:account:read",
            summary="Read the countries of the account's streams",
        ),
        put(
            method="PUT",
            path="/api/v3/account/security",
            name="set_account_countries",
            scope="live:account:update",
            summary="Set the countries of the account's streams",
        ),
        get(
            path="/api/geo/account",
            name="read_account_geo",
            scope="live:account:read",
            summary="Read the countries of the account's streams, by the older name",
            deprecated=True,
        ),
        put(
            method="POST",
            path="/api/geo/account",
            name="set_account_geo",
            scope="live:account:update",
            summary="Set the countries of the account's streams, by the older name",
            deprecated=True,
        ),
    )


def _cascade_operations(accounts: Accounts, clusters: ClusterNames) -> tuple[Operation, ...]:
    async def read(call: Call) -> ShownCascade:
        return _cascade(await accounts.policy(call.account))

    async def change(call: Call, asked: UpdateCascade) -> ShownCascade:
        cascade = _asked_cascade(asked)
        if cascade.enabled:
            known = await clusters()
            for name in cascade.clusters:
                if name != EVERY:
                    check_cluster(known, name, "clusters")
        return _cascade(await accounts.change(call.account, lambda policy: replace(policy, geo_cascade=cascade)))

    async def update(call: Call) -> ShownCascade:
        return await change(call, call.body)

    async def read_distribution(call: Call) -> Distribution:
        return Distribution(await read(call))

    async def update_distribution(call: Call) -> Distribution:
        return Distribution(await change(call, call.body.geo_cascade))

    new = partial(Operation, path="/api/v3/account/distribution", tag="Account", answer=Distribution)
    old = partial(Operation, path="/api/account/geo_cascade", tag="Account", answer=ShownCascade, deprecated=True)
    example = {"isEnabled": True, "clusters": [EVERY]}
    return (
        new(
            method="GET",
            name="read_distribution",
            scope="live:account:read",
            summary="Read how broadcasts are handed on to other clusters",
            handle=read_distribution,
            refusals=(),
        ),
        new(
            method="PUT",
            name="set_distribution",
            scope="live:account:update",
            summary="Set how broadcasts are handed on to other clusters",
            handle=update_distribution,
            body=UpdateDistribution,
            example={"geoCascade": example},
        ),
        old(
            method="GET",
            name="read_geo_cascade",
            scope="live:account:read",
            summary="Read how broadcasts are handed on, by the older name",
            handle=read,
            refusals=(),
        ),
        old(
            method="PUT",
            name="set_geo_cascade",
            scope="live:account:update",
            summary="Set how broadcasts are handed on, by the older name",
            handle=update,
            body=UpdateCascade,
            example=example,
        ),
    )


def _expiration_operations(accounts: Accounts) -> tuple[Operation, ...]:
    async def read(call: Call) -> ShownExpiration:
        return _expiration((await accounts.policy(call.account)).media_expiration)

    async def update(call: Call) -> ShownExpiration:
        asked: UpdateExpiration = call.body
        rules = {name: getattr(asked, name) for name in asked.__struct_fields__}
        days = {name: rule.days for name, rule in rules.items() if rule is not None}
        if not days:
            raise InvalidInput(_NOTHING, field="expiration")

        def change(policy: AccountPolicy) -> AccountPolicy:
            return replace(policy, media_expiration=replace(policy.media_expiration, **days))

        return _expiration((await accounts.change(call.account, change)).media_expiration)

    operation = partial(Operation, path="/api/v3/account/media/expiration", tag="Account", answer=ShownExpiration)
    return (
        operation(
            method="GET",
            name="read_media_expiration",
            scope="live:account:read",
            summary="Read after how long what was recorded is deleted",
            handle=read,
            refusals=(),
        ),
        operation(
            method="PUT",
            name="set_media_expiration",
            scope="live:account:update",
            summary="Set after how long what was recorded is deleted",
            handle=update,
            body=UpdateExpiration,
            example={"recordings": {"days": 30}, "clips": {}},
        ),
    )


def _storage_operations() -> tuple[Operation, ...]:
    """Return the operations on storage profiles, of which there are none."""
    operation = partial(Operation, path="/api/v3/account/media/storage", tag="Account", answer=Profile)
    one = partial(operation, path="/api/v3/account/media/storage/{id}")
    bucket = {"type": "gcs", "options": {"bucketName": "recordings"}}
    return (
        operation(
            method="GET",
            name="list_storage_profiles",
            scope="live:storage_profile:read",
            summary="List the storage profiles",
            handle=nothing,
            answer=list[Profile],
            query=ListProfiles,
        ),
        operation(
            method="POST",
            name="create_storage_profile",
            scope="live:storage_profile:create",
            summary="Create a storage profile",
            handle=_no_storage,
            body=CreateProfile,
            example=bucket,
        ),
        operation(
            method="POST",
            path="/api/v3/account/media/storage/validate",
            name="validate_storage",
            scope="live:storage_profile:create",
            summary="Find out whether a bucket can be written to",
            handle=_no_storage,
            body=Storage,
            answer=Validated,
            example=bucket,
        ),
        one(
            method="GET",
            name="read_storage_profile",
            scope="live:storage_profile:read",
            summary="Read a storage profile",
            handle=_no_profile,
        ),
        one(
            method="PUT",
            name="update_storage_profile",
            scope="live:storage_profile:update",
            summary="Change a storage profile",
            handle=_no_storage,
            body=UpdateProfile,
            example={"name": "Recordings"},
        ),
        one(
            method="DELETE",
            name="delete_storage_profile",
            scope="live:storage_profile:delete",
            summary="Delete a storage profile",
            handle=_no_profile,
            answer=bool,
        ),
    )


async def _no_storage(_call: Call) -> NoReturn:
    raise InvalidInput("recordings are not kept yet, so no storage can be set up for them")


async def _no_profile(call: Call) -> NoReturn:
    raise NotFound(f"No storage profile with id: {call.path['id'][:64]}", field="id")


def _with_countries(policy: AccountPolicy, asked: UpdateCountries) -> AccountPolicy:
    old = policy.countries or Countries()
    if asked.allowed_countries is None and asked.denied_countries is None:
        # Security: who misspells a list shall not believe that it was set.
        raise InvalidInput(_NOTHING, field="account")
    allowed = _list(asked.allowed_countries, old.allowed, "allowedCountries")
    denied = _list(asked.denied_countries, old.denied, "deniedCountries")
    # Lists that are empty limit nobody; left in place they would still ask engines for addresses that can be believed.
    return replace(policy, countries=Countries(allowed, denied, old.applies_to) if allowed or denied else None)


def _list(given: Iterable[str] | None, old: tuple[str, ...], name: str) -> tuple[str, ...]:
    if given is None:
        return old
    countries = tuple(dict.fromkeys(given))
    if len(",".join(countries)) > _MOST_COUNTRY_TEXT:
        raise InvalidInput(f"{name} has at most {_MOST_COUNTRY_TEXT} characters", field=name)
    return countries


def _countries(policy: AccountPolicy) -> ShownCountries:
    countries = policy.countries or Countries()
    return ShownCountries(countries.allowed, countries.denied)


def _asked_cascade(asked: UpdateCascade) -> GeoCascade:
    enabled = asked.isenabled if asked.is_enabled is None else asked.is_enabled
    if enabled is None:
        raise InvalidInput("isEnabled: Object missing required field `isEnabled`", field="isEnabled")
    if asked.clusters is None or not (asked.clusters or enabled):
        return GeoCascade(enabled)
    return GeoCascade(enabled, tuple(dict.fromkeys(asked.clusters)))


def _cascade(policy: AccountPolicy) -> ShownCascade:
    cascade = policy.geo_cascade or GeoCascade()
    return ShownCascade(cascade.enabled, cascade.clusters)


def _expiration(rules: MediaExpiration) -> ShownExpiration:
    days = {name: getattr(rules, name) for name in ShownExpiration.__struct_fields__}
    return ShownExpiration(**{name: ShownDays(number) for name, number in days.items() if number is not None})
