"""The `stagedoor` command.

Each command loads what it needs when it runs, so that a start waits for nothing else. An error of ours is one line that
says what to do, and exit status 1; a wrong option is typer's, and 2.
"""

import logging
import sys

import typer

from stagedoor.cli import (
    account,
    cluster,
    config,
    engine,
    explain,
    geo,
    key,
    master_key,
    mint,
    reseal,
    secret,
    start,
    token,
    verifier,
)
from stagedoor.model.errors import StagedoorError

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, help=__doc__)
app.command()(start.init)
app.command()(start.serve)
app.command()(start.up)
app.command()(explain.explain)
app.command()(mint.mint)
app.command()(reseal.reseal)
app.add_typer(engine.app, name="engine")
app.add_typer(cluster.app, name="cluster")
app.add_typer(account.app, name="account")
app.add_typer(token.app, name="token")
app.add_typer(secret.app, name="secret")
app.add_typer(key.app, name="key")
app.add_typer(verifier.app, name="verifier")
app.add_typer(master_key.app, name="master-key")
app.add_typer(geo.app, name="geo")
app.add_typer(config.app, name="config")


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        app()
    except StagedoorError as error:
        sys.stderr.write(f"stagedoor: {error.message}\n")
        sys.exit(1)
