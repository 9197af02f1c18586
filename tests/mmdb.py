"""Write small country files: MaxMind's format (.mmdb, version 2.0 of its specification), as far as tests need it."""

import ipaddress
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

Record = Mapping[str, Any]


class Sized(NamedTuple):
    """A whole number of a type of 16, 32 or 64 bits, where readers insist on one; a plain `int` takes the first that fits."""

    bits: int
    value: int


_NUMBERS = {16: 5, 32: 6, 64: 9}
"""Types of whole numbers, by their bits."""


def write_mmdb(
    path: Path,
    networks: Mapping[str, Record],
    *,
    ip_version: int = 6,
    record_size: int = 24,
    database_type: str = "Test-Country",
    build_epoch: int = 1_767_225_600,
) -> Path:
    """Write a file in which each network (`192.0.2.0/24`, `2001:db8::/32`, one address) has its record; return its path.

    The narrower of two networks wins. In a tree of IPv6, IPv4 stands at ::/96. Values are maps, lists, texts,
    numbers and truth values.
    """
    path.write_bytes(
        mmdb(
            networks,
            ip_version=ip_version,
            record_size=record_size,
            database_type=database_type,
            build_epoch=build_epoch,
        )
    )
    return path


def mmdb(
    networks: Mapping[str, Record],
    *,
    ip_version: int = 6,
    record_size: int = 24,
    database_type: str = "Test-Country",
    build_epoch: int = 1_767_225_600,
) -> bytes:
    """Return what `write_mmdb` writes."""
    nodes, data = _tree(networks, ip_version)
    count = len(nodes)
    content = bytearray()
    for left, right in nodes:
        content += _node(_record(left, count), _record(right, count), record_size)
    content += bytes(16) + data + b"\xab\xcd\xefMaxMind.com"
    return bytes(content) + encoded(
        {
            "binary_format_major_version": Sized(16, 2),
            "binary_format_minor_version": Sized(16, 0),
            "build_epoch": Sized(64, build_epoch),
            "database_type": database_type,
            "description": {"en": "made by a test"},
            "ip_version": Sized(16, ip_version),
            "languages": ["en"],
            "node_count": Sized(32, count),
            "record_size": Sized(16, record_size),
        }
    )


def encoded(value: object) -> bytes:
    """Return a value as the data section holds it."""
    match value:
        case bool():
            return _control(14, int(value))
        case int():
            return encoded(Sized(next(bits for bits in _NUMBERS if value < 1 << bits), value))
        case Sized(bits, number):
            octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
            return _control(_NUMBERS[bits], len(octets)) + octets
        case str() | float():
            kind, octets = (2, value.encode()) if isinstance(value, str) else (3, struct.pack(">d", value))
            return _control(kind, len(octets)) + octets
        case Mapping():
            return _control(7, len(value)) + b"".join(encoded(key) + encoded(item) for key, item in value.items())
        case list():
            return _control(11, len(value)) + b"".join(encoded(item) for item in value)
        case _:
            raise TypeError(f"{value!r} has no form here")


class _Leaf:
    """Where the record of a network begins in the data section."""

    def __init__(self, offset: int) -> None:
        self.offset = offset


_Child = int | _Leaf | None
"""The number of a node, a leaf, or nothing."""


def _tree(networks: Mapping[str, Record], ip_version: int) -> tuple[list[list[_Child]], bytes]:
    """Return the nodes of the search tree, the root first, and the data section."""
    nodes: list[list[_Child]] = [[None, None]]
    data = bytearray()
    offsets: dict[bytes, int] = {}
    parsed = [(ipaddress.ip_network(text), record) for text, record in networks.items()]
    for network, record in sorted(parsed, key=lambda pair: pair[0].prefixlen + 96 * (pair[0].version == 4)):
        content = encoded(record)
        if content not in offsets:
            offsets[content] = len(data)
            data += content
        bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
        if ip_version == 6 and network.version == 4:
            bits = "0" * 96 + bits
        elif network.version != ip_version:
            raise ValueError(f"{network} has no place in a file of IPv{ip_version}")
        at = 0
        for bit in map(int, bits[:-1]):
            child = nodes[at][bit]
            if not isinstance(child, int):
                # A wider network's leaf goes on around the narrower one.
                nodes.append([child, child])
                nodes[at][bit] = child = len(nodes) - 1
            at = child
        nodes[at][int(bits[-1])] = _Leaf(offsets[content])
    return nodes, bytes(data)


def _record(child: _Child, node_count: int) -> int:
    if child is None:
        return node_count
    return child if isinstance(child, int) else node_count + 16 + child.offset


def _node(left: int, right: int, record_size: int) -> bytes:
    if record_size == 28:
        low = (1 << 24) - 1
        middle = (left >> 24 << 4) | (right >> 24)
        return (left & low).to_bytes(3, "big") + bytes([middle]) + (right & low).to_bytes(3, "big")
    return left.to_bytes(record_size // 8, "big") + right.to_bytes(record_size // 8, "big")


def _control(kind: int, size: int) -> bytes:
    """Return the control byte of a type and a size, with what follows it."""
    extended = bytes([kind - 7]) if kind > 7 else b""
    first = 0 if kind > 7 else kind << 5
    if size < 29:
        return bytes([first | size]) + extended
    if size < 285:
        return bytes([first | 29]) + extended + bytes([size - 29])
    return bytes([first | 30]) + extended + (size - 285).to_bytes(2, "big")
