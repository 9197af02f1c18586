"""As much of CBOR (RFC 8949) as web tokens are made of, read strictly.

Integers of 64 bits, byte strings, text, arrays, maps and tags, each written in its one shortest form of definite length. No
floating point, no simple values but true, false and null, no key twice, nothing after the end.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

_DEEPEST: Final = 16
_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_SIMPLES: Final[Mapping[int, bool | None]] = MappingProxyType({20: False, 21: True, 22: None})
_WRITTEN: Final = MappingProxyType({value: number for number, value in _SIMPLES.items()})
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}


class CborError(ValueError):
    """The bytes are not what this module reads."""


class Tag(NamedTuple):
    """A value with a tag."""

    number: int
    value: Any


def write(value: Any) -> bytes:
    """Write a value, maps in the order they have.

    Raises: TypeError for what there is no form for.
    """
    match value:
        case None | bool():
            written = bytes((_SIMPLE << 5 | _WRITTEN[value],))
        case int():
            written = _head(_UINT, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
        case bytes():
            written = _head(_BYTES, len(value)) + value
        case str():
            text = value.encode()
            written = _head(_TEXT, len(text)) + text
        case Tag():
            written = _head(_TAG, value.number) + write(value.value)
        case list() | tuple():
            written = _head(_ARRAY, len(value)) + b"".join(map(write, value))
        case dict():
            written = _head(_MAP, len(value)) + b"".join(write(part) for pair in value.items() for part in pair)
        case _:
            raise TypeError(f"no CBOR for {type(value).__name__}")
    return written


def read(data: bytes) -> Any:
    """Read one value, which is all of `data`.

    Raises: CborError.
    """
    value, end = _read(data, 0, 0)
    if end != len(data):
        raise CborError("there is something after the end")
    return value


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes((major << 5 | number,))
    for short, width in _WIDTHS.items():
        if number < 1 << 8 * width:
            return bytes((major << 5 | short,)) + number.to_bytes(width)
    raise TypeError("no CBOR for an integer of more than 64 bits")


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """Return the value at a place, and where it goes on."""
    if depth > _DEEPEST:
        raise CborError("it is nested too deeply")
    major, number, at = _read_head(data, at)
    return _READERS[major](data, at, number, depth)


def _read_uint(_data: bytes, at: int, number: int, _depth: int) -> tuple[int, int]:
    return number, at


def _read_negative(_data: bytes, at: int, number: int, _depth: int) -> tuple[int, int]:
    return -1 - number, at


def _read_bytes(data: bytes, at: int, length: int, _depth: int) -> tuple[bytes, int]:
    return _cut(data, at, length), at + length


def _read_text(data: bytes, at: int, length: int, _depth: int) -> tuple[str, int]:
    try:
        return _cut(data, at, length).decode(), at + length
    except UnicodeDecodeError:
        raise CborError("a text is not UTF-8") from None


def _read_tag(data: bytes, at: int, number: int, depth: int) -> tuple[Tag, int]:
    value, at = _read(data, at, depth + 1)
    return Tag(number, value), at


def _read_simple(_data: bytes, at: int, number: int, _depth: int) -> tuple[bool | None, int]:
    if number not in _SIMPLES:
        raise CborError("a simple value is not known")
    return _SIMPLES[number], at


def _read_head(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the major type, the number of it, and where it goes on."""
    major, short = divmod(_cut(data, at, 1)[0], 32)
    if short < 24:
        return major, short, at + 1
    width = _WIDTHS.get(short)
    if width is None or major == _SIMPLE:
        raise CborError("a form is not known, or of no definite length")
    number = int.from_bytes(_cut(data, at + 1, width))
    # Security: one form for each value, or two texts would be the same token.
    if len(_head(major, number)) != 1 + width:
        raise CborError("a number is not in its shortest form")
    return major, number, at + 1 + width


def _read_items(data: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
    if count > len(data) - at:
        raise CborError("it is cut off")
    items = []
    for _ in range(count):
        item, at = _read(data, at, depth + 1)
        items.append(item)
    return items, at


def _read_map(data: bytes, at: int, count: int, depth: int) -> tuple[dict[int | str | bytes, Any], int]:
    if count > len(data) - at:
        raise CborError("it is cut off")
    found: dict[int | str | bytes, Any] = {}
    for _ in range(count):
        key, at = _read(data, at, depth + 1)
        if not isinstance(key, int | str | bytes) or isinstance(key, bool) or key in found:
            raise CborError("a key stands twice, or is none")
        found[key], at = _read(data, at, depth + 1)
    return found, at


def _cut(data: bytes, at: int, length: int) -> bytes:
    part = data[at : at + length]
    if len(part) != length:
        raise CborError("it is cut off")
    return part


_READERS: Final[tuple[Callable[[bytes, int, int, int], tuple[Any, int]], ...]] = (
    _read_uint,
    _read_negative,
    _read_bytes,
    _read_text,
    _read_items,
    _read_map,
    _read_tag,
    _read_simple,
)
"""By the major type."""
