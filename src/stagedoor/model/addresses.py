"""IP addresses and networks, in one form for IPv4 and IPv6.

An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is the IPv4 address. Octal, hexadecimal and short forms (`010.0.0.1`,
`0x7f.1`) and zone ids are not addresses here: two programs read them in two ways, and that is how filters are passed.
"""

import ipaddress
import re
from functools import lru_cache
from typing import Final, NamedTuple

from stagedoor.model.errors import InvalidInput

_PREFIX = re.compile(r"0|[1-9][0-9]{0,2}")
_MAPPED_PREFIX = 96
_LONGEST: Final = 45
_BITS: Final = {4: 32, 6: 128}


class Address(NamedTuple):
    """An IP address as its version (4 or 6) and its number."""

    version: int
    number: int


class Network(NamedTuple):
    """A network as its version, its first address and its mask, both as numbers; a single address has a full mask."""

    version: int
    first: int
    mask: int

    def holds(self, address: Address) -> bool:
        """Tell whether `address` is in this network."""
        return address.version == self.version and address.number & self.mask == self.first


def parse_address(text: str) -> Address | None:
    """Read an IPv4 or IPv6 address; None when `text` is not one."""
    # Security: what is longer is no address, and shall not fill the memory of addresses.
    return _parse_address(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=4096)
def _parse_address(text: str) -> Address | None:
    if "%" in text:
        return None
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return Address(parsed.version, int(parsed))


def parse_network(text: str) -> Network:
    """Read an address (`192.0.2.1`, `2001:db8::1`) or a network in CIDR notation (`192.0.2.0/24`).

    Raises: InvalidInput for anything else, and for a network with host bits set, naming the network that was meant.
    """
    base, slash, prefix = text.partition("/")
    if "%" in base or (slash and not _PREFIX.fullmatch(prefix)):
        raise InvalidInput(
            f"{text[:64]!r} is not a network; write address/prefix length, for example 192.0.2.0/24", field="addresses"
        )
    try:
        parsed = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidInput(
            f"{text[:64]!r} is not an IP address or a network such as 192.0.2.0/24 or 2001:db8::/32", field="addresses"
        ) from None
    if int(parsed.network_address) != int(ipaddress.ip_address(base)):
        raise InvalidInput(f"{text!r} has host bits set; write {parsed.with_prefixlen}", field="addresses")
    version, first, length = parsed.version, int(parsed.network_address), parsed.prefixlen
    mapped = parsed.network_address.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Network) else None
    if mapped is not None and length >= _MAPPED_PREFIX:
        version, first, length = 4, int(mapped), length - _MAPPED_PREFIX
    bits = _BITS[version]
    return Network(version, first, ((1 << length) - 1) << (bits - length))


def network_of(address: Address, bits: int) -> Network:
    """Return the network of the first `bits` bits of `address`."""
    rest = _BITS[address.version] - bits
    mask = ((1 << bits) - 1) << rest
    return Network(address.version, address.number & mask, mask)


def format_network(network: Network) -> str:
    """Write a network in CIDR notation, a single address without a length."""
    bits = network.mask.bit_count()
    first = ipaddress.IPv4Address(network.first) if network.version == 4 else ipaddress.IPv6Address(network.first)
    return str(first) if bits == _BITS[network.version] else f"{first}/{bits}"
