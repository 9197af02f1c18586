"""Web origins (RFC 6454): parsed, and compared by scheme, host and port, never as text.

What a browser sends has exactly the form `scheme://host[:port]`; anything else (`null`, a path, userinfo, a space, other
scripts) is no origin here.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from stagedoor.model.errors import InvalidInput

_HOST: Final = r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*)"
_PORT: Final = r"(?::(?P<port>[1-9][0-9]{0,4}))?"
_ORIGIN: Final = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]{{0,31}})://{_HOST}{_PORT}")
_PATTERN: Final = re.compile(rf"(?:(?P<scheme>[a-z][a-z0-9+.-]{{0,31}})://)?(?P<any>\*\.)?{_HOST}{_PORT}")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LONGEST: Final = 400
_LAST_PORT: Final = 65535


class Origin(NamedTuple):
    """A web origin: scheme and host in lower case, and the port, 0 where the scheme has no default one."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class OriginPattern:
    """The origins an owner named: a host, or with `subdomains` every host below it but not the host itself.

    Without a scheme any will do, and then without a port any will do; a scheme without a port means its default port.
    """

    host: str
    subdomains: bool = False
    scheme: str | None = None
    port: int | None = None

    def matches(self, origin: Origin) -> bool:
        """Tell whether `origin` is one of these."""
        if self.subdomains:
            if not origin.host.endswith(f".{self.host}"):
                return False
        elif origin.host != self.host:
            return False
        return self.scheme in (None, origin.scheme) and self.port in (None, origin.port)


def parse_origin(text: str) -> Origin | None:
    """Read the value of an `Origin` header; None when it names no origin."""
    # Security: what is longer is no origin, and shall not fill the memory of origins.
    return _parse_origin(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=4096)
def _parse_origin(text: str) -> Origin | None:
    match = _ORIGIN.fullmatch(text.lower()) if text.isascii() else None
    if match is None:
        return None
    port = int(match["port"] or _DEFAULT_PORTS.get(match["scheme"], 0))
    return Origin(match["scheme"], match["host"], port) if port <= _LAST_PORT else None


def parse_origin_pattern(text: str) -> OriginPattern:
    """Read `example.com`, `*.example.com`, `https://example.com` or `example.com:8443`.

    Raises: InvalidInput for anything else, saying what to write.
    """
    match = _PATTERN.fullmatch(text.lower()) if text.isascii() and len(text) <= _LONGEST else None
    if match is None or int(match["port"] or 0) > _LAST_PORT or (match["any"] and match["host"][0] == "["):
        raise InvalidInput(
            f"{text[:80]!r} is no origin; write a host as example.com or *.example.com, with a scheme and a port if they"
            " matter (https://example.com:8443), without a path; other scripts in their xn-- form",
            field="allowedOrigins",
        )
    scheme = match["scheme"]
    port = int(match["port"]) if match["port"] else None
    if scheme is not None and port is None:
        port = _DEFAULT_PORTS.get(scheme, 0)
    return OriginPattern(match["host"], match["any"] is not None, scheme, port)
