"""Which addresses may be called for a stranger: those of the public internet, and what the operator allows besides.

Security: an address is read here once, and what was read is what is called; no second program reads it in another way. The
networks are those of the IANA special-purpose registries (RFC 6890 and after); of IPv6 only 2000::/3 is in use on the internet.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from stagedoor.model.addresses import Address, Network, parse_address, parse_network
from stagedoor.model.errors import InvalidInput
from stagedoor.model.webhook import MAX_URL

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>[/?][!-\[\]-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_PORTS: Final = {"http": 80, "https": 443}
_LONGEST_LABEL: Final = 63

_IPV4: Final = tuple(
    parse_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a carrier's address translation
        "127.0.0.0/8",
        "168.63.129.16",  # a cloud's own services, at a public address
        "169.254.0.0/16",  # link-local, and where clouds tell machines their credentials
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation, and so are 198.51.100.0/24 and 203.0.113.0/24
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_IN_USE: Final = parse_network("2000::/3")
_IPV6: Final = tuple(
    parse_network(text)
    for text in (
        "2001::/23",  # of protocols, Teredo among them: an IPv4 address is inside
        "2001:db8::/32",  # documentation, and so is 3fff::/20
        "2002::/16",  # 6to4: an IPv4 address is inside
        "3fff::/20",
    )
)
_NAT64: Final = parse_network("64:ff9b::/96")

REFUSED: Final = "its address is private or reserved, and may not be called"


class Target(NamedTuple):
    """An address as it is called: `host` is a name, or an IP address without brackets; `path` has the query."""

    scheme: str
    host: str
    port: int
    path: str


class Guard:
    """Judges addresses."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        """Take networks that may be called although they are not public."""
        self._allowed = tuple(allowed)

    def check_url(self, url: str) -> None:
        """Refuse an address that could never be called, as far as it shows without asking for its name.

        Raises: InvalidInput.
        """
        host = parse_target(url).host
        if host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(".localhost"):
            host = "127.0.0.1"
        if parse_address(host) is not None and not self.permits(host):
            raise InvalidInput(f"url: {REFUSED}", field="url")

    def permits(self, text: str) -> bool:
        """Tell whether an IP address may be called."""
        address = parse_address(text)
        if address is None:
            return False
        if address.version == 6 and _NAT64.holds(address):
            # What it leads to is judged.
            address = Address(4, address.number & 0xFFFFFFFF)
        if any(network.holds(address) for network in self._allowed):
            return True
        if address.version == 4:
            return not any(network.holds(address) for network in _IPV4)
        return _IN_USE.holds(address) and not any(network.holds(address) for network in _IPV6)


def parse_target(url: str) -> Target:
    """Read an address: http or https, a name or an IP address in its usual form, no user name, nothing but ASCII.

    Raises: InvalidInput.
    """
    if len(url) > MAX_URL:
        raise InvalidInput(f"url: an address has at most {MAX_URL} characters", field="url")
    without_fragment = url.partition("#")[0]
    match = _URL.fullmatch(without_fragment)
    if match is None:
        raise InvalidInput(
            "url: write http:// or https://, a host, and maybe a port and a path, in ASCII and without a user name or"
            " password",
            field="url",
        )
    scheme, host, path = match["scheme"].lower(), match["host"], match["target"] or "/"
    port = int(match["port"]) if match["port"] else _PORTS[scheme]
    if not 1 <= port <= 65535:
        raise InvalidInput("url: a port goes from 1 to 65535", field="url")
    return Target(scheme, _host(host), port, path if path.startswith("/") else f"/{path}")


def _host(host: str) -> str:
    """Return a host as it is called.

    Raises: InvalidInput for a name that no name can be, and for an IP address in a form that programs read in several ways.
    """
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise InvalidInput("url: the IPv6 address cannot be read", field="url") from None
    labels = host.removesuffix(".").split(".")
    if not all(1 <= len(label) <= _LONGEST_LABEL for label in labels):
        raise InvalidInput("url: the host is no name", field="url")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1], re.IGNORECASE | re.ASCII):
        # Security: 2130706433, 0177.0.0.1, 0x7f.1 and 127.1 all lead to 127.0.0.1, but not for every reader.
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise InvalidInput("url: write an IPv4 address as four decimal numbers", field="url") from None
    return host
