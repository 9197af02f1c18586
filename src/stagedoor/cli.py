"""The `stagedoor` command.

Each command loads what it needs when it runs, so that a start waits for nothing else. An error of ours is one line that
says what to do, and exit status 1; a wrong option is typer's, and 2.
"""

import asyncio
import json
import logging
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stagedoor import config
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.engine import AddressTrust, Engine, EngineKind
from stagedoor.model.errors import InvalidInput, NotFound, StagedoorError
from stagedoor.model.ids import AccountId, parse_stream_id

if TYPE_CHECKING:
    from stagedoor.app import Administration
    from stagedoor.policy import Finding
    from stagedoor.service.explain import Explained

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, help=__doc__)
engine_app = typer.Typer(no_args_is_help=True, help="Media servers that ask this authority.")
account_app = typer.Typer(no_args_is_help=True, help="Accounts and what they set for their tokens.")
token_app = typer.Typer(no_args_is_help=True, help="Tokens.")
geo_app = typer.Typer(no_args_is_help=True, help="Countries of addresses.")
config_app = typer.Typer(no_args_is_help=True, help="Settings.")
app.add_typer(engine_app, name="engine")
app.add_typer(account_app, name="account")
app.add_typer(token_app, name="token")
app.add_typer(geo_app, name="geo")
app.add_typer(config_app, name="config")

Data = Annotated[Path | None, typer.Option(help="Data directory.", metavar="DIR")]
Database = Annotated[str | None, typer.Option(help="Database URL, sqlite:///PATH.", metavar="URL")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
AddressTrustOption = Annotated[
    AddressTrust,
    typer.Option(
        help="Whether the client addresses it gives can be believed. untrusted: tokens with rules about addresses are refused"
        " there; accepted: they are judged all the same."
    ),
]
ControlUrl = Annotated[str, typer.Option(help="Where its control API answers.", metavar="http://HOST:PORT")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on.")]
Workers = Annotated[int | None, typer.Option(help="Number of processes that answer.")]


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        app()
    except StagedoorError as error:
        sys.stderr.write(f"stagedoor: {error.message}\n")
        sys.exit(1)


@app.command()
def init(
    data: Data = None,
    database: Database = None,
    email: Annotated[str, typer.Option(help="The first administrator's e-mail address.")] = "admin@localhost",
    as_json: Json = False,
) -> None:
    """Make a new system: keyring, database, first account. Its credentials are shown this once."""
    from stagedoor.app import administration, create_data  # noqa: PLC0415

    settings = _settings(data=data, database=database)

    async def run() -> dict[str, str]:
        create_data(settings)
        async with administration(settings) as admin:
            first = await admin.accounts.create_first(email)
        return {
            "accountId": first.account,
            "apiSecret": first.api_secret.reveal(),
            "adminEmail": first.admin_email,
            "adminPassword": first.admin_password.reveal(),
        }

    _print(asyncio.run(run()), as_json=as_json)


@app.command()
def serve(
    data: Data = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    database: Database = None,
) -> None:
    """Answer media servers and the API, until Ctrl-C."""
    from stagedoor.server import serve as run  # noqa: PLC0415

    raise typer.Exit(run(_settings(data=data, host=host, port=port, workers=workers, database=database)))


@app.command()
def up(data: Data = None, host: Host = None, port: Port = None, workers: Workers = None) -> None:
    """Start an authority with a media server of its own and a first token, for a first look."""
    from stagedoor.up import up as run  # noqa: PLC0415

    raise typer.Exit(run(_settings(data=data, host=host, port=port, workers=workers)))


@engine_app.command("add")
def engine_add(
    kind: Annotated[EngineKind, typer.Argument(help="What it is.")],
    name: Annotated[str, typer.Option(help="A name for it, 1 to 64 of A-Z a-z 0-9 _ . -")],
    account: Annotated[
        str, typer.Option(help="The account of streams whose path names none; left out, the token's.")
    ] = "",
    address_trust: AddressTrustOption = AddressTrust.TRUSTED,
    control_url: ControlUrl = "",
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Make a media server known, and print the configuration to paste into it. Its secret is shown this once."""
    from stagedoor.app import administration, hook_url, prepare_data, snippet  # noqa: PLC0415

    settings = _settings(data=data, database=database)

    async def run() -> dict[str, str]:
        prepare_data(settings)
        async with administration(settings) as admin:
            added = await admin.engines.add(
                kind, name, AccountId(account), address_trust=address_trust, control_url=control_url
            )
        url = hook_url(settings, kind, added.hook_secret)
        return {
            "engineId": added.engine.id,
            "hookSecret": added.hook_secret.reveal(),
            "hookUrl": url,
            "config": snippet(kind, url),
        }

    _print(asyncio.run(run()), as_json=as_json)


@engine_app.command("list")
def engine_list(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List the media servers."""
    from stagedoor.app import administration, prepare_data  # noqa: PLC0415

    settings = _settings(data=data, database=database)

    async def run() -> list[Engine]:
        prepare_data(settings)
        async with administration(settings) as admin:
            return list(await admin.engines.list())

    rows = [
        {
            "engineId": engine.id,
            "kind": engine.kind.value,
            "name": engine.name,
            "account": engine.account,
            "addressTrust": engine.address_trust.value,
            "controlUrl": engine.control_url,
            "addedOn": _instant(engine.added_on),
        }
        for engine in asyncio.run(run())
    ]
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        _table(("engineId", "kind", "name", "account", "addressTrust", "controlUrl", "addedOn"), rows)


@engine_app.command("set")
def engine_set(
    name: Annotated[str, typer.Argument(help="Its name.")],
    address_trust: Annotated[
        AddressTrust | None, typer.Option(help="Whether the client addresses it gives can be believed.")
    ] = None,
    control_url: Annotated[
        str | None, typer.Option(help="Where its control API answers; empty for nowhere.", metavar="http://HOST:PORT")
    ] = None,
    data: Data = None,
    database: Database = None,
) -> None:
    """Change what is known of a media server; what is left out stays."""
    from stagedoor.app import administration, prepare_data  # noqa: PLC0415

    settings = _settings(data=data, database=database)

    async def run() -> Engine:
        prepare_data(settings)
        async with administration(settings) as admin:
            return await admin.engines.set(name, address_trust=address_trust, control_url=control_url)

    engine = asyncio.run(run())
    typer.echo(f"{engine.name}: addresses {engine.address_trust}, control API {engine.control_url or 'none'}")


@engine_app.command("remove")
def engine_remove(
    name: Annotated[str, typer.Argument(help="Its name.")], data: Data = None, database: Database = None
) -> None:
    """Forget a media server: its hook secret is refused from now on."""
    from stagedoor.app import administration, prepare_data  # noqa: PLC0415

    settings = _settings(data=data, database=database)

    async def run() -> None:
        prepare_data(settings)
        async with administration(settings) as admin:
            await admin.engines.remove(name)

    asyncio.run(run())
    typer.echo(f"removed {name}")


@app.command()
def explain(
    action: Annotated[Action, typer.Option(help="What is asked for.")],
    stream: Annotated[str, typer.Option(help="Which stream.", metavar="ACCOUNT/NAME")],
    token: Annotated[str, typer.Option(help="The token shown, if any; - reads it from standard input.")] = "",
    ip: Annotated[str, typer.Option(help="The client's address.")] = "",
    origin: Annotated[str | None, typer.Option(help="The browser's origin.")] = None,
    user_agent: Annotated[str, typer.Option(help="What the client calls itself.")] = "",
    referrer: Annotated[str, typer.Option(help="The address of the page.")] = "",
    protocol: Annotated[Protocol, typer.Option(help="How media would travel.")] = Protocol.UNKNOWN,
    engine: Annotated[
        str, typer.Option(help="The media server that asks; left out, one that can be believed and tells everything.")
    ] = "",
    running: Annotated[bool, typer.Option(help="Ask about a session that runs, not about a new one.")] = False,
    at: Annotated[str | None, typer.Option(help="When: RFC 3339, or seconds since the epoch.", metavar="TIME")] = None,
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Tell what would be decided, every rule that was looked at, and which one decided."""
    from stagedoor.app import administration, prepare_data  # noqa: PLC0415
    from stagedoor.service.authorize import Attempt  # noqa: PLC0415

    settings = _settings(data=data, database=database)
    access = Access(action, parse_stream_id(stream), protocol, ip, origin, user_agent, referrer)
    shown = sys.stdin.readline().strip() if token == "-" else token
    when = _parse_time(at)

    async def run() -> "Explained":
        prepare_data(settings)
        async with administration(settings) as admin:
            asks = await admin.engines.named(engine) if engine else None
            return await admin.explainer.explain(Attempt(access, shown, running=running), when, asks)

    _print_explained(asyncio.run(run()), as_json=as_json)


@token_app.command("describe")
def token_describe(
    token: Annotated[str, typer.Argument(help="Its id, or its text; - reads it from standard input.")],
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Say in plain words what a token is good for: who may do what, from where, until when."""
    from stagedoor.app import administration, prepare_data  # noqa: PLC0415
    from stagedoor.service.describe import describe  # noqa: PLC0415

    settings = _settings(data=data, database=database)
    shown = sys.stdin.readline().strip() if token == "-" else token

    async def run() -> dict[str, Any]:
        prepare_data(settings)
        async with administration(settings) as admin:
            record = await admin.tokens.find(shown)
            policy = await admin.accounts.policy(record.account)
            counts = await admin.store.sessions.shadowed(record.account, record.id)
        return {
            "tokenId": record.id,
            "kind": record.kind.value,
            "label": record.terms.label,
            "state": record.state.value,
            "description": describe(record, policy, time.time()),
            "shadowed": {reason.value: times for reason, times in counts.items()},
        }

    _print_found(asyncio.run(run()), as_json=as_json)


@account_app.command("list")
def account_list(data: Data = None, database: Database = None, as_json: Json = False) -> None:
    """List the accounts and what they set for their tokens."""
    from stagedoor.app import administration, prepare_data  # noqa: PLC0415

    settings = _settings(data=data, database=database)

    async def run() -> list[dict[str, Any]]:
        prepare_data(settings)
        async with administration(settings) as admin:
            return [await _account_row(admin, account) for account in await admin.accounts.list()]

    rows = asyncio.run(run())
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        _table(tuple(rows[0]) if rows else ("account",), rows)


@account_app.command("set")
def account_set(
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
    from stagedoor.app import administration, prepare_data  # noqa: PLC0415
    from stagedoor.model.account import AccountPolicy  # noqa: PLC0415
    from stagedoor.model.caveats import Countries  # noqa: PLC0415

    settings = _settings(data=data, database=database)
    both = (Action.PUBLISH, Action.SUBSCRIBE)

    def change(policy: AccountPolicy) -> AccountPolicy:
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

    async def run() -> dict[str, Any]:
        prepare_data(settings)
        async with administration(settings) as admin:
            await admin.accounts.change(AccountId(account), change)
            return await _account_row(admin, AccountId(account))

    _print_found(asyncio.run(run()), as_json=as_json)


@geo_app.command("update")
def geo_update(
    file: Annotated[
        Path | None, typer.Option(help="A file of countries in MaxMind's format (.mmdb).", metavar="PATH")
    ] = None,
    data: Data = None,
) -> None:
    """Put a file of countries in the place of the one in use. Running workers take it up within a second."""
    from stagedoor.store.countries import install_country_file, packaged_country_file  # noqa: PLC0415

    settings = _settings(data=data)
    source = file or packaged_country_file()
    if source is None:
        raise InvalidInput("no package here carries a file of countries; name one with --file PATH")
    info = install_country_file(source, settings.countries)
    versions = " and ".join(f"IPv{version}" for version in info.ip_versions)
    typer.echo(f"{settings.countries}: {info.database_type}, built {info.built:%Y-%m-%d}, {versions}")


@geo_app.command("show")
def geo_show(
    address: Annotated[str, typer.Argument(help="An IP address to look up.")] = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Tell which file of countries is in use, and where an address is."""
    from stagedoor.store.countries import CountryFile  # noqa: PLC0415

    path = _settings(data=data).countries
    countries = CountryFile(path)
    if countries.info is None:
        raise NotFound(f"there is no file of countries {path}; give one: stagedoor geo update --file PATH")
    info = countries.info
    found = {"address": address, "country": countries.country(address)} if address else {}
    _print_found(
        {"file": str(path), "databaseType": info.database_type, "built": info.built.date().isoformat()} | found,
        as_json=as_json,
    )


@config_app.command("check")
def config_check(as_json: Json = False) -> None:
    """Print the settings in force, from the environment and the defaults."""
    settings = _settings()
    values = {name: str(getattr(settings, name)) for name in config.Settings.__dataclass_fields__}
    _print(values, as_json=as_json)


def _settings(**given: Any) -> config.Settings:
    return config.load(os.environ, **given)


def _parse_time(text: str | None) -> float:
    """Read a time; None is now.

    Raises: InvalidInput.
    """
    if text is None:
        return time.time()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no time; write 2026-01-31T12:00:00Z or seconds since the epoch") from None
    return (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)).timestamp()


def _print(values: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values))
        return
    width = max(len(name) for name in values)
    for name, value in values.items():
        typer.echo(f"{name}\n{value}" if "\n" in value else f"{name:<{width}}  {value}")


async def _account_row(admin: "Administration", account: AccountId) -> dict[str, Any]:
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
        "shadowUntil": _instant(policy.shadow_until) if policy.shadow_until > time.time() else None,
        "shadowed": {reason.value: times for reason, times in counts.items()},
    }


def _print_found(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _print({name: _words(value) for name, value in found.items()}, as_json=False)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {times}" for name, times in value.items()) or "-"
    if isinstance(value, list):
        return " ".join(value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _print_explained(explained: "Explained", *, as_json: bool) -> None:
    from stagedoor.model.reasons import EXPLANATIONS  # noqa: PLC0415

    decision, text = explained.decision, EXPLANATIONS[explained.decision.reason]
    if as_json:
        content = {
            "decision": {
                "allowed": decision.allowed,
                "reason": decision.reason,
                "shadowed": decision.shadowed,
                "publicText": text.public,
                "hint": text.hint,
                "retry": text.retry,
                "revision": decision.revision,
            },
            "tokenId": explained.token_id,
            "rules": [
                {
                    "rule": finding.rule,
                    "saw": finding.saw,
                    "reason": finding.reason,
                    "refuses": finding.refuses,
                    "decisive": finding.decisive,
                    "tried": finding.tried,
                }
                for finding in explained.findings
            ],
        }
        typer.echo(json.dumps(content))
        return
    typer.echo(f"{'ALLOWED' if decision.allowed else 'REFUSED'}: {decision.reason}. {text.hint}")
    if decision.shadowed is not None:
        typer.echo(f"SHADOW MODE: would be refused, {decision.shadowed}. {EXPLANATIONS[decision.shadowed].hint}")
    rows = [
        {
            "": "->" if finding.decisive else "",
            "rule": finding.rule.value,
            "saw": finding.saw,
            "verdict": _verdict(finding),
        }
        for finding in explained.findings
    ]
    _table(("", "rule", "saw", "verdict"), rows)


def _verdict(finding: "Finding") -> str:
    if finding.reason is None:
        return "passes"
    return f"{finding.reason} (tried out)" if finding.tried else finding.reason.value


def _table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(_words(row[column])) for column in columns))
    # Piped, nothing is cut off to fit a terminal that is not there.
    console = Console() if sys.stdout.isatty() else Console(width=400)
    console.print(table)


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
