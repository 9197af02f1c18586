"""Countries of addresses."""

import asyncio
import gzip
import json
import random
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import maxminddb
import pytest

from stagedoor.model.errors import ConfigError, InvalidInput
from stagedoor.store import countries
from stagedoor.store.countries import CountryFile, CountryFileInfo, install_country_file, packaged_country_file
from tests.mmdb import mmdb, write_mmdb

NETWORKS: dict[str, dict[str, Any]] = {
    "192.0.2.0/24": {"country_code": "US"},
    "192.0.2.128/26": {"country_code": "CA"},
    "198.51.100.7/32": {"country": {"iso_code": "FR", "geoname_id": 3017382, "names": {"en": "France"}}},
    "2001:db8::/32": {"country_code": "DE"},
    "2001:db8:8::/48": {"country": {"iso_code": "AT"}, "registered_country": {"iso_code": "DE"}},
}

QUICK = 0.005
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file is."""
    return tmp_path / "countries.mmdb"


@pytest.fixture
def file(path: Path) -> CountryFile:
    """Return a file of `NETWORKS`."""
    return CountryFile(write_mmdb(path, NETWORKS))


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Return a way to let no file grow beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _country_of(record: dict[str, Any], path: Path) -> str:
    """Return the country of an address with `record`, in a file that has another with a country."""
    write_mmdb(path, {"192.0.2.0/24": record, "192.0.2.0/32": {"country_code": "SE"}})
    return CountryFile(path).country("192.0.2.1")


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("record_size", [24, 28, 32])
@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("192.0.1.255", ""),
        ("192.0.2.0", "US"),
        ("192.0.2.127", "US"),
        ("192.0.2.128", "CA"),
        ("192.0.2.191", "CA"),
        ("192.0.2.192", "US"),
        ("192.0.2.255", "US"),
        ("192.0.3.0", ""),
        ("198.51.100.6", ""),
        ("198.51.100.7", "FR"),
        ("198.51.100.8", ""),
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", ""),
        ("2001:db8::", "DE"),
        ("2001:db8:7:ffff:ffff:ffff:ffff:ffff", "DE"),
        ("2001:db8:8::", "AT"),
        ("2001:0DB8:0008:FFFF:FFFF:FFFF:FFFF:FFFF", "AT"),
        ("2001:db8:9::", "DE"),
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "DE"),
        ("2001:db9::", ""),
    ],
)
def test_a_network_ends_where_it_ends(path: Path, record_size: int, address: str, country: str) -> None:
    """The first and the last address of a network are in it, their neighbours are not; the narrower network wins."""
    write_mmdb(path, NETWORKS, record_size=record_size)
    assert CountryFile(path).country(address) == country


@pytest.mark.parametrize("record_size", [24, 28, 32])
@pytest.mark.parametrize("ip_version", [4, 6])
def test_every_address_of_a_large_file_has_its_country(path: Path, ip_version: int, record_size: int) -> None:
    """Record sizes and the place of IPv4 in a tree of IPv6 make no difference."""
    codes = [f"{a}{b}" for a in "ABCD" for b in "ABCDEFGHIJ"]
    write_mmdb(
        path,
        {f"10.{i}.0.0/16": {"country_code": codes[i % 40]} for i in range(256)},
        ip_version=ip_version,
        record_size=record_size,
    )
    file = CountryFile(path)
    assert [file.country(f"10.{i}.1.2") for i in range(256)] == [codes[i % 40] for i in range(256)]


@pytest.mark.parametrize("address", ["::ffff:192.0.2.1", "::FFFF:c000:201", "0:0:0:0:0:ffff:192.0.2.1"])
def test_an_ipv4_mapped_address_is_where_the_ipv4_address_is(path: Path, address: str) -> None:
    """In a file of IPv4 alone too, and whatever a file says of the mapped network itself."""
    trap = {**NETWORKS, "::ffff:0:0/96": {"country_code": "KP"}}
    assert CountryFile(write_mmdb(path, trap)).country(address) == "US"
    only_ipv4 = {network: record for network, record in NETWORKS.items() if ":" not in network}
    assert CountryFile(write_mmdb(path, only_ipv4, ip_version=4)).country(address) == "US"


def test_an_address_of_ipv6_is_not_the_ipv4_address_of_the_same_number(file: CountryFile) -> None:
    """`::c000:201` is not 192.0.2.1, though it stands at the same place in the tree."""
    assert file.country("::c000:201") == file.country("::192.0.2.1") == ""


def test_a_file_of_ipv4_alone_knows_no_ipv6(path: Path) -> None:
    """An address of IPv6 is unknown there."""
    file = CountryFile(write_mmdb(path, {"192.0.2.0/24": {"country_code": "US"}}, ip_version=4))
    assert file.country("2001:db8::1") == ""
    assert file.country("192.0.2.1") == "US"


@pytest.mark.parametrize(
    ("record", "country"),
    [
        ({"country_code": "US"}, "US"),
        ({"country_code": "us"}, "US"),
        ({"country": {"iso_code": "FR"}}, "FR"),
        ({"country_code": "US", "country": {"iso_code": "FR"}}, "US"),
        ({"country_code": "", "country": {"iso_code": "FR"}}, ""),
        ({"registered_country": {"iso_code": "FR"}}, ""),
        ({"country": {}, "registered_country": {"iso_code": "FR"}}, ""),
        ({"country": "FR"}, ""),
        ({"country": {"iso_code": 250}}, ""),
        ({"country_code": "USA"}, ""),
        ({"country_code": "-"}, ""),
        ({"country_code": "A1"}, ""),
        ({"country_code": "ÅX"}, ""),
        ({"country_code": "ZZ"}, ""),
        ({"country_code": "XX"}, ""),
        ({"country_code": ["US"]}, ""),
        ({}, ""),
    ],
)
def test_both_shapes_of_records_are_read(path: Path, record: dict[str, Any], country: str) -> None:
    """What is no code of two letters is unknown; so is where the owner of a network has its office."""
    assert _country_of(record, path) == country


@pytest.mark.parametrize(
    "address",
    [
        "",
        "10.0.0.1",
        "127.0.0.1",
        "192.168.1.1",
        "::1",
        "fe80::1",
        "fc00::1",
        "0.0.0.0",
        "255.255.255.255",
        "0300.0.2.1",
        "0300.0.02.01",
        "0xc0.0.2.1",
        "0xc0000201",
        "3221225985",
        "192.0.513",
        "192.0.2.1%1",
        "2001:db8::1%eth0",
        "2001:db8::1%",
        "192.0.2.1\x00",
        "\x00",
        "192.0.2.1 ",
        " 192.0.2.1",
        "192.0.2.1\n",
        "192.0.2.1/32",
        "192.0.2.1:80",
        "[2001:db8::1]",
        "192.0.2.\u0661",
        "localhost",
        "unix:",
        "9" * 10_000,
        "192.0.2.1" * 1_000,
        "::" * 5_000,
        "\ud800",
    ],
)
def test_what_is_no_address_or_in_no_country_is_unknown(file: CountryFile, address: str) -> None:
    """Octal, hexadecimal, short and zoned forms, which the reader itself would take, are none; nothing raises."""
    assert file.country(address) == ""


def test_the_reader_alone_would_take_odd_forms(file: CountryFile, path: Path) -> None:
    """What the strict reading of addresses defends against."""
    with maxminddb.open_database(path) as reader:
        for odd in ("0300.0.2.1", "0xc0000201", "3221225985", "192.0.513"):
            assert reader.get(odd) == {"country_code": "US"}
            assert file.country(odd) == ""


def test_long_texts_are_not_remembered(file: CountryFile) -> None:
    """What is no address for its length does not fill the memory."""
    for number in range(100):
        assert file.country(f"{number}" * 5_000) == ""
    assert file._country.cache_info().currsize == 0  # type: ignore[attr-defined]


def test_without_a_file_every_country_is_unknown(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A missing file is no error, and none is logged."""
    file = CountryFile(path)
    assert file.country("192.0.2.1") == ""
    assert file.info is None
    assert caplog.records == []


@pytest.mark.parametrize("content", [b"", b"x", b"\xab\xcd\xefMaxMind.com", mmdb(NETWORKS)[:-1], mmdb(NETWORKS)[:900]])
def test_a_damaged_file_at_the_start_is_logged(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The authority starts; every country is unknown, and one line says so."""
    path.write_bytes(content)
    assert CountryFile(path).country("192.0.2.1") == ""
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "all countries are unknown" in caplog.text


def test_damage_anywhere_raises_nothing(path: Path) -> None:
    """Whatever octets change: the file is of no use, or look-ups give a code or nothing."""
    good = mmdb(NETWORKS)
    chance = random.Random(7)  # noqa: S311
    for _ in range(2_000):
        damaged = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.getrandbits(8)
        try:
            reader, _ = countries._open(path, bytes(damaged))
        except InvalidInput:
            continue
        for address in ("192.0.2.1", "198.51.100.7", "2001:db8::1", "203.0.113.1"):
            code = countries._look_up(reader, address)
            assert code == "" or (len(code) == 2 and code.isupper())


async def test_a_file_put_in_place_is_read(path: Path) -> None:
    """One that appears, and one that takes its place, with nothing restarted; addresses remembered are looked up anew."""
    file = CountryFile(path)
    task = asyncio.create_task(file.run(QUICK))
    try:
        assert file.country("192.0.2.1") == ""
        for code in ("US", "FR", "DE"):
            write_mmdb(path.with_suffix(".new"), {"192.0.2.0/24": {"country_code": code}}).replace(path)
            await _until(lambda code=code: file.country("192.0.2.1") == code)  # type: ignore[misc]
    finally:
        task.cancel()


async def test_a_file_written_over_in_place_is_read_once_it_is_whole(
    path: Path, file: CountryFile, caplog: pytest.LogCaptureFixture
) -> None:
    """While it grows nothing is read and nothing is logged."""
    task = asyncio.create_task(file.run(0.05))
    fresh = mmdb({"192.0.2.0/24": {"country_code": "SE"}})
    try:
        with path.open("wb") as stream:
            for octet in range(0, len(fresh), 16):
                stream.write(fresh[octet : octet + 16])
                stream.flush()
                assert file.country("192.0.2.1") == "US"
                await asyncio.sleep(0.005)
        await _until(lambda: file.country("192.0.2.1") == "SE")
        assert caplog.records == []
    finally:
        task.cancel()


def test_a_file_that_becomes_readable_is_read(path: Path, file: CountryFile) -> None:
    """A change of permissions is a change: what could not be read for them is tried again."""
    before = countries._identity_of(path)
    path.chmod(0o600)
    assert countries._identity_of(path) != before


async def test_a_new_file_is_read_within_about_a_second(path: Path, file: CountryFile) -> None:
    """With the pace it has in use."""
    task = asyncio.create_task(file.run())
    try:
        write_mmdb(path.with_suffix(".new"), {"192.0.2.0/24": {"country_code": "SE"}}).replace(path)
        async with asyncio.timeout(1.5):
            await _until(lambda: file.country("192.0.2.1") == "SE")
    finally:
        task.cancel()


@pytest.mark.parametrize(
    "damaged",
    [b"", b"not a database", mmdb(NETWORKS)[:900], mmdb({"192.0.2.0/24": {"autonomous_system_number": 64496}})],
)
async def test_a_damaged_file_does_not_take_the_old_one_away(
    path: Path, file: CountryFile, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The old answers go on, one line is logged, and the next good file is read."""
    task = asyncio.create_task(file.run(QUICK))
    try:
        fresh = path.with_suffix(".new")
        fresh.write_bytes(damaged)
        fresh.replace(path)
        await _until(lambda: bool(caplog.records))
        await asyncio.sleep(0.1)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert str(path) in caplog.text
        assert "countries stay as they were" in caplog.text
        assert file.country("192.0.2.1") == "US"
        write_mmdb(fresh, {"192.0.2.0/24": {"country_code": "SE"}}).replace(path)
        await _until(lambda: file.country("192.0.2.1") == "SE")
    finally:
        task.cancel()


async def test_a_file_that_is_removed_leaves_countries_as_they_were(
    path: Path, file: CountryFile, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody from a denied country comes in while a file is being replaced by hand."""
    task = asyncio.create_task(file.run(QUICK))
    try:
        path.unlink()
        await _until(lambda: bool(caplog.records))
        await asyncio.sleep(0.1)
        assert len(caplog.records) == 1
        assert file.country("192.0.2.1") == "US"
    finally:
        task.cancel()


def test_a_file_written_over_in_place_ends_no_process(path: Path) -> None:
    """A mapped file that shrinks ends the process at the next look-up; this one was read into memory of its own."""
    many = {f"10.{i}.{j}.0/24": {"country_code": "US"} for i in range(256) for j in range(0, 256, 8)}
    file = CountryFile(write_mmdb(path, many))
    attack = f"""if True:
        import maxminddb, os
        mapped = maxminddb.open_database({str(path)!r})
        os.truncate({str(path)!r}, 4096)
        mapped.get("10.255.248.1")
    """
    mapped = subprocess.run([sys.executable, "-c", attack], capture_output=True)
    assert mapped.returncode == -signal.SIGBUS, "the attack works where the file is mapped"
    assert path.stat().st_size == 4096
    assert [file.country(f"10.{i}.248.1") for i in range(256)] == ["US"] * 256


def test_swapping_under_load(path: Path) -> None:
    """While files take each other's place, every look-up gives what the one or the other says."""
    fresh = path.with_suffix(".new")
    file = CountryFile(write_mmdb(path, {"192.0.2.0/24": {"country_code": "US"}}))
    seen: set[str] = set()
    wrong: list[str] = []
    done = threading.Event()

    def look() -> None:
        number = 0
        while not done.is_set():
            number = (number + 1) % 256
            code = file.country(f"192.0.2.{number}")
            seen.add(code)
            if code not in {"US", "FR"}:
                wrong.append(code)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for turn in range(50):
            write_mmdb(fresh, {"192.0.2.0/24": {"country_code": ("FR", "US")[turn % 2]}}).replace(path)
            file.reload()
    finally:
        done.set()
        thread.join()
    assert wrong == []
    assert seen == {"US", "FR"}


def test_no_descriptor_is_left_open(path: Path, file: CountryFile) -> None:
    """Neither of a file read anew, nor of one that is damaged, nor of one installed."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for turn in range(20):
        path.write_bytes(b"x" if turn % 2 else mmdb(NETWORKS))
        file.reload()
        install_country_file(write_mmdb(path.with_suffix(".new"), NETWORKS), path.with_suffix(".other"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_is_installed_in_one_step(path: Path, tmp_path: Path) -> None:
    """The target is what the source was, readable to whoever serves; what it is, is told; nothing else is left behind."""
    source = write_mmdb(
        tmp_path / "source", NETWORKS, database_type="DBIP-Country-Lite", build_epoch=1_780_345_978, record_size=28
    )
    info = install_country_file(source, path)
    assert info == CountryFileInfo(
        database_type="DBIP-Country-Lite", built=datetime(2026, 6, 1, 20, 32, 58, tzinfo=UTC), ip_versions=(4, 6)
    )
    assert path.read_bytes() == source.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o644
    assert {entry.name for entry in tmp_path.iterdir()} == {"source", path.name}
    file = CountryFile(path)
    assert file.info == info
    assert file.country("192.0.2.1") == "US"


@pytest.mark.parametrize(
    ("networks", "ip_version", "versions"),
    [
        ({"192.0.2.0/24": {"country_code": "US"}}, 4, (4,)),
        ({"192.0.2.0/24": {"country_code": "US"}}, 6, (4,)),
        ({"2001:db8::/32": {"country_code": "US"}}, 6, (6,)),
        ({"192.0.2.0/24": {"as": 1}, "2001:db8::/32": {"country_code": "US"}}, 6, (6,)),
        (NETWORKS, 6, (4, 6)),
    ],
)
def test_it_is_told_which_ip_versions_a_file_has(
    path: Path, networks: dict[str, dict[str, Any]], ip_version: int, versions: tuple[int, ...]
) -> None:
    """By what is in it, not by the form of its tree."""
    source = write_mmdb(path.with_suffix(".new"), networks, ip_version=ip_version)
    assert install_country_file(source, path).ip_versions == versions


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "there is no file"),
        (b"", "is not a MaxMind database"),
        (b"PK\x03\x04", "is not a MaxMind database"),
        (mmdb(NETWORKS)[:-40], "is not a MaxMind database"),
        (mmdb(NETWORKS, build_epoch=(1 << 64) - 1), "is not a MaxMind database"),
        (gzip.compress(mmdb(NETWORKS)), "is compressed; unpack it"),
        (
            mmdb({"192.0.2.0/24": {"autonomous_system_number": 64496}}, database_type="GeoLite2-ASN"),
            "(GeoLite2-ASN) tells no countries",
        ),
    ],
)
def test_what_is_no_country_file_is_not_installed(path: Path, content: bytes | None, text: str) -> None:
    """One error that says what to do; the file in use stays."""
    write_mmdb(path, NETWORKS)
    source = path.with_suffix(".new")
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        install_country_file(source, path)
    assert text in caught.value.message
    assert str(source) in caught.value.message
    assert caught.value.field == "file"
    assert CountryFile(path).country("192.0.2.1") == "US"


def test_a_directory_is_no_country_file(path: Path, tmp_path: Path) -> None:
    """It is said like a file that is not there."""
    with pytest.raises(InvalidInput, match="there is no file"):
        install_country_file(tmp_path, path)


@pytest.mark.parametrize("name", ["missing/countries.mmdb", "file/countries.mmdb", "folder"])
def test_a_target_that_cannot_be_written_is_an_error(tmp_path: Path, name: str) -> None:
    """A directory that is not there, a file in its place, a directory in the file's place: one error, nothing left."""
    source = write_mmdb(tmp_path / "source", NETWORKS)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError) as caught:
        install_country_file(source, tmp_path / name)
    assert caught.value.message.startswith(f"cannot write {tmp_path / name}: ")
    assert {entry.name for entry in tmp_path.iterdir()} == {"source", "file", "folder"}


def test_a_full_disk_leaves_the_file_in_use(
    path: Path, file: CountryFile, file_size_limit: Callable[[int], None], tmp_path: Path
) -> None:
    """The error says how much room is needed; what was written so far is taken away."""
    file_size_limit(1024)
    with pytest.raises(ConfigError) as caught:
        countries._replace(path, bytes(1_000_001))
    file_size_limit(resource.RLIM_INFINITY)
    assert caught.value.message == f"cannot write {path}: the disk is full; make room for 2 MB"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    file.reload()
    assert file.country("192.0.2.1") == "US"


def test_the_packaged_file_is_where_the_set_up_puts_it(tmp_path: Path) -> None:
    """In the place that the lock in `geo` installs it to; without it there is none."""
    assert packaged_country_file(tmp_path) is None
    lock = json.loads((ROOT / "geo/package-lock.json").read_text())
    (package,) = (name for name in lock["packages"] if name)
    folder = tmp_path / "geo" / package
    folder.mkdir(parents=True)
    source = write_mmdb(folder / "dbip-country.mmdb", NETWORKS)
    assert packaged_country_file(tmp_path) == source


def test_the_lock_names_no_address() -> None:
    """Whoever installs asks the registry of their own; what comes is held to a checksum."""
    text = (ROOT / "geo/package-lock.json").read_text()
    assert "resolved" not in text
    assert "://" not in text
    assert '"integrity": "sha512-' in text
