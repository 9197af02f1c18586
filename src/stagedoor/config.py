"""Settings: from the command line, else from `STAGEDOOR_*` in the environment, else the default. Read here only.

An unknown `STAGEDOOR_` variable is an error: a setting that is misspelt must not be one that is silently off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from stagedoor.model.addresses import Network, parse_network
from stagedoor.model.errors import ConfigError, InvalidInput
from stagedoor.model.secret import Secret

PREFIX: Final = "STAGEDOOR_"
_NONE: Final = Secret("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator can set; `STAGEDOOR_` and the name in capitals is its variable."""

    data: Path = Path("var")
    """The data directory: database, keyring, access log."""
    host: str = "127.0.0.1"
    """The address the authority listens on."""
    port: int = 8080
    """The port the authority listens on."""
    workers: int = 1
    """How many processes answer."""
    tls_certificate: Path = Path()
    """A certificate and those it is signed with, as PEM; left out, plain HTTP is spoken."""
    tls_key: Path = Path()
    """The key of the certificate, as PEM."""
    master_key: Secret = _NONE
    """The key that the keyring is sealed under, 32 bytes as base64; left out, the keyring is a plain file."""
    master_key_file: Path = Path()
    """A file that holds the master key, in place of `master_key`."""
    master_key_command: str = ""
    """A command that prints the master key (from a KMS, from a vault), in place of `master_key`. No shell reads it."""
    database: str = ""
    """A database URL, `sqlite:///PATH`; empty for `stagedoor.db` in the data directory."""
    public_url: str = ""
    """The address engines reach the authority at; empty for `http://HOST:PORT`, or `https` with a certificate."""
    cache_entries: int = 200_000
    """How many tokens, streams and misses each worker keeps in memory, each by itself."""
    country_file: Path = Path()
    """A file of countries in MaxMind's format; left out, `countries.mmdb` in the data directory."""
    key_rotation_days: int = 90
    """After how many days another signing key takes over; 0 for never."""
    webhook_networks: str = ""
    """Networks that webhooks may call although they are private, with commas between: `10.1.0.0/16,192.0.2.7`."""
    child_depth: int = 3
    """How many children of children a signed token may be below its parent, itself included."""
    mint_seconds: int = 300
    """For how long credentials that are minted for media servers are good at most: they cannot be revoked."""
    rtmp_port: int = 1935
    """The RTMP port of the media server that `stagedoor up` starts."""
    hls_port: int = 8088
    """The HTTP port of the media server that `stagedoor up` starts."""

    @property
    def database_file(self) -> Path:
        """The SQLite file."""
        if not self.database:
            return self.data / "stagedoor.db"
        return Path(self.database.removeprefix("sqlite:///"))

    @property
    def countries(self) -> Path:
        """The file of countries."""
        return self.country_file if self.country_file != Path() else self.data / "countries.mmdb"

    @property
    def keyring_file(self) -> Path:
        """The keyring, which is never in the database."""
        return self.data / "keyring.json"

    @property
    def revision_file(self) -> Path:
        """The memory that workers share."""
        return self.data / "revision"

    @property
    def access_log_file(self) -> Path:
        """The access log."""
        return self.data / "access.log"

    @property
    def url(self) -> str:
        """The address engines reach the authority at."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def callable_networks(self) -> tuple[Network, ...]:
        """The networks that webhooks may call although they are private."""
        return tuple(parse_network(text.strip()) for text in self.webhook_networks.split(",") if text.strip())

    @property
    def tls(self) -> bool:
        """Whether HTTPS is spoken."""
        return self.tls_certificate != Path()


_LIMITS: Final = {
    "port": (1, 65535),
    "rtmp_port": (1, 65535),
    "hls_port": (1, 65535),
    "workers": (1, 256),
    "key_rotation_days": (0, 3650),
    "cache_entries": (1, 100_000_000),
    "child_depth": (1, 8),
    "mint_seconds": (1, 3600),
}


def load(environment: Mapping[str, str], **given: Any) -> Settings:
    """Return the settings; `given` (from the command line) goes before the environment, None stands for not given.

    Raises: ConfigError for an unknown variable or a value that cannot be.
    """
    known = {f"{PREFIX}{field.name.upper()}": field for field in fields(Settings)}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        if variable not in known:
            raise ConfigError(f"{variable} is no setting; there are {', '.join(sorted(known))}")
        values[known[variable].name] = _read(variable, known[variable].type, text)
    values |= {name: value for name, value in given.items() if value is not None}
    settings = replace(Settings(), **values)
    for name, (least, most) in _LIMITS.items():
        if not least <= getattr(settings, name) <= most:
            raise ConfigError(f"{name} is {getattr(settings, name)}; it goes from {least} to {most}")
    try:
        _ = settings.callable_networks
    except InvalidInput as error:
        raise ConfigError(f"webhook_networks: {error.message}") from None
    if settings.tls != (settings.tls_key != Path()):
        raise ConfigError(
            "set both tls_certificate and tls_key (STAGEDOOR_TLS_CERTIFICATE, STAGEDOOR_TLS_KEY), or neither"
        )
    sources = (
        bool(settings.master_key.reveal()),
        settings.master_key_file != Path(),
        bool(settings.master_key_command),
    )
    if sum(sources) > 1:
        raise ConfigError(
            "set one of STAGEDOOR_MASTER_KEY, STAGEDOOR_MASTER_KEY_FILE and STAGEDOOR_MASTER_KEY_COMMAND, not several"
        )
    if settings.database and not settings.database.startswith("sqlite:///"):
        raise ConfigError("database: this version keeps its data in SQLite; write sqlite:///PATH, or leave it out")
    return settings


def _read(variable: str, kind: Any, text: str) -> Any:
    if kind in (int, "int"):
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise ConfigError(f"{variable} is {text!r}; write a whole number")
        return int(text)
    if kind in (Secret, "Secret"):
        return Secret(text)
    return Path(text) if kind in (Path, "Path") else text
