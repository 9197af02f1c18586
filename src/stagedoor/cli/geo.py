"""`stagedoor geo`: countries of addresses."""

from pathlib import Path
from typing import Annotated

import typer

from stagedoor.cli.options import Data, Json
from stagedoor.cli.output import print_fields
from stagedoor.cli.system import settings
from stagedoor.model.errors import InvalidInput, NotFound

app = typer.Typer(no_args_is_help=True, help="Countries of addresses.")


@app.command()
def update(
    file: Annotated[
        Path | None, typer.Option(help="A file of countries in MaxMind's format (.mmdb).", metavar="PATH")
    ] = None,
    data: Data = None,
) -> None:
    """Put a file of countries in the place of the one in use. Running workers take it up within a second."""
    from stagedoor.store.countries import install_country_file, packaged_country_file  # noqa: PLC0415

    target = settings(data=data).countries
    source = file or packaged_country_file()
    if source is None:
        raise InvalidInput("no package here carries a file of countries; name one with --file PATH")
    info = install_country_file(source, target)
    versions = " and ".join(f"IPv{version}" for version in info.ip_versions)
    typer.echo(f"{target}: {info.database_type}, built {info.built:%Y-%m-%d}, {versions}")


@app.command()
def show(
    address: Annotated[str, typer.Argument(help="An IP address to look up.")] = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Tell which file of countries is in use, and where an address is."""
    from stagedoor.store.countries import CountryFile  # noqa: PLC0415

    path = settings(data=data).countries
    countries = CountryFile(path)
    if countries.info is None:
        raise NotFound(f"there is no file of countries {path}; give one: stagedoor geo update --file PATH")
    info = countries.info
    found = {"address": address, "country": countries.country(address)} if address else {}
    print_fields(
        {"file": str(path), "databaseType": info.database_type, "built": info.built.date().isoformat()} | found,
        as_json=as_json,
    )
