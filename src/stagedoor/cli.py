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
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stagedoor import config
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.errors import InvalidInput, StagedoorError
from stagedoor.model.ids import AccountId, parse_stream_id

if TYPE_CHECKING:
    from stagedoor.service.explain import Explained

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, help=__doc__)
engine_app = typer.Typer(no_args_is_help=True, help="Media servers that ask this authority.")
config_app = typer.Typer(no_args_is_help=True, help="Settings.")
app.add_typer(engine_app, name="engine")
app.add_typer(config_app, name="config")

Data = Annotated[Path | None, typer.Option(help="Data directory.", metavar="DIR")]
Database = Annotated[str | None, typer.Option(help="Database URL, sqlite:///PATH.", metavar="URL")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
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
            added = await admin.engines.add(kind, name, AccountId(account))
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
            "addedOn": _instant(engine.added_on),
        }
        for engine in asyncio.run(run())
    ]
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        _table(("engineId", "kind", "name", "account", "addedOn"), rows)


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
    protocol: Annotated[Protocol, typer.Option(help="How media would travel.")] = Protocol.UNKNOWN,
    at: Annotated[str | None, typer.Option(help="When: RFC 3339, or seconds since the epoch.", metavar="TIME")] = None,
    data: Data = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Tell what would be decided, every rule that was looked at, and which one decided."""
    from stagedoor.app import administration, prepare_data  # noqa: PLC0415
    from stagedoor.service.explain import explain_access  # noqa: PLC0415

    settings = _settings(data=data, database=database)
    access = Access(action, parse_stream_id(stream), protocol, ip, origin)
    shown = sys.stdin.readline().strip() if token == "-" else token
    when = _parse_time(at)

    async def run() -> "Explained":
        prepare_data(settings)
        async with administration(settings) as admin:
            return await explain_access(admin.store, admin.keyring, access, shown, when)

    _print_explained(asyncio.run(run()), as_json=as_json)


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


def _print_explained(explained: "Explained", *, as_json: bool) -> None:
    from stagedoor.model.reasons import EXPLANATIONS  # noqa: PLC0415

    decision, text = explained.decision, EXPLANATIONS[explained.decision.reason]
    if as_json:
        content = {
            "decision": {
                "allowed": decision.allowed,
                "reason": decision.reason,
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
                }
                for finding in explained.findings
            ],
        }
        typer.echo(json.dumps(content))
        return
    typer.echo(f"{'ALLOWED' if decision.allowed else 'REFUSED'}: {decision.reason}. {text.hint}")
    rows = [
        {
            "": "->" if finding.decisive else "",
            "rule": finding.rule.value,
            "saw": finding.saw,
            "verdict": finding.reason.value if finding.reason is not None else "passes",
        }
        for finding in explained.findings
    ]
    _table(("", "rule", "saw", "verdict"), rows)


def _table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(row[column])) for column in columns))
    Console().print(table)


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
