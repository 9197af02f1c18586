"""`stagedoor account`: accounts and what they set for their tokens."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stagedoor.cli.options import Data, Database, Json
from stagedoor.cli.output import print_fields, print_rows
from stagedoor.cli.system import administer, settings
from stagedoor.model.access import Action
from stagedoor.model.ids import AccountId
from stagedoor.model.instants import instant

if TYPE_CHECKING:
    from stagedoor.app import Administration
    from stagedoor.model.account import AccountPolicy

app = typer.Typer(no_args_is_help=True, help="Accounts and what they set for their tokens.")


@app.command("list")
def list_accounts(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List the accounts and what they set for their tokens."""

    async def read(admin: "Administration") -> list[dict[str, Any]]:
        return [await _row(admin, account) for account in await admin.accounts.list()]

    rows = administer(settings(data=data, database=database), read)
    print_rows(tuple(rows[0]) if rows else ("account",), rows, as_json=as_json)


@app.command("set")
def set_account(
    account: Annotated[str, typer.Argument(help="Its id.")],
    enabled: Annotated[bool | None, typer.Option("--open/--closed", help="Whether its tokens let anybody in.")] = None,
    allow_country: Annotated[
        list[str] | None,
        typer.Option(help="Only from these countries (ISO 3166-1 alpha-2); give it for each.", metavar="CC"),
    ] = None,
    deny_country: Annotated[list[str] | None, typer.Option(help="Not from these countries.", metavar="CC")] = None,
    any_country: Annotated[bool, typer.Option("--any-country", help="From anywhere again.")] = False,
    geo_applies_to: Annotated[
        list[Action] | None, typer.Option(help="What the countries are about; left out, both.")
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="The cluster of tokens that name none.")] = None,
    longest_lifetime: Annotated[
        int | None, typer.Option(help="How long a token may be good for; 0 for ever.", metavar="SECONDS")
    ] = None,
    shadow_for: Annotated[
        int | None,
        typer.Option(
            help="Try out all conditions for so long: tell what would be refused, let it through; 0 ends it.",
            metavar="SECONDS",
        ),
    ] = None,
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Change what an account sets for its tokens, those it has included; what is left out stays."""
    from stagedoor.model.caveats import Countries  # noqa: PLC0415

    both = (Action.PUBLISH, Action.SUBSCRIBE)

    def change(policy: "AccountPolicy") -> "AccountPolicy":
        given: dict[str, Any] = {}
        if enabled is not None:
            given["enabled"] = enabled
        if any_country:
            given["countries"] = None
        elif allow_country or deny_country:
            lists = tuple(allow_country or ()), tuple(deny_country or ())
            given["countries"] = Countries(*lists, tuple(geo_applies_to or both))
        elif geo_applies_to and policy.countries is not None:
            given["countries"] = replace(policy.countries, applies_to=tuple(geo_applies_to))
        if cluster is not None:
            given["origin_cluster"] = cluster
        if longest_lifetime is not None:
            given["longest_lifetime_seconds"] = longest_lifetime or None
        if shadow_for is not None:
            given["shadow_until"] = int(time.time()) + shadow_for if shadow_for else 0
        return replace(policy, **given)

    async def write(admin: "Administration") -> dict[str, Any]:
        await _check_cluster(admin, cluster)
        await admin.accounts.change(AccountId(account), change)
        return await _row(admin, AccountId(account))

    print_fields(administer(settings(data=data, database=database), write), as_json=as_json)


async def _check_cluster(admin: "Administration", cluster: str | None) -> None:
    from stagedoor.service.clusters import check_cluster  # noqa: PLC0415

    if cluster:
        check_cluster(await admin.clusters.names(), cluster, "cluster")


async def _row(admin: "Administration", account: AccountId) -> dict[str, Any]:
    policy = await admin.accounts.policy(account)
    counts = await admin.store.sessions.shadowed(account, None)
    countries = policy.countries
    return {
        "account": account,
        "enabled": policy.enabled,
        "allowedCountries": list(countries.allowed) if countries else [],
        "deniedCountries": list(countries.denied) if countries else [],
        "geoAppliesTo": [action.value for action in countries.applies_to] if countries else [],
        "originCluster": policy.origin_cluster or "auto",
        "longestLifetime": policy.longest_lifetime_seconds,
        "shadowUntil": instant(policy.shadow_until) if policy.shadow_until > time.time() else None,
        "shadowed": {reason.value: times for reason, times in counts.items()},
    }
