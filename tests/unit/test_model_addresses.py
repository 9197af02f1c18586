"""Addresses and networks."""

import pytest

from stagedoor.model.addresses import Address, Network, format_network, network_of, parse_address, parse_network
from stagedoor.model.errors import InvalidInput


def _address(text: str) -> Address:
    address = parse_address(text)
    assert address is not None
    return address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "010.0.0.1",
        "10.0.0.01",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "127.1",
        "10.0.0",
        "10.0.0.0.1",
        "10.0.0.256",
        "10.0.0.-1",
        "10.0.0.1/32",
        "10.0.0.1:80",
        "[::1]",
        "::1]",
        "fe80::1%eth0",
        "fe80::1%",
        "10.0.0.1%1",
        ":::",
        "1::2::3",
        "12345::",
        " 10.0.0.1",
        "10.0.0.1 ",
        "10.0.0.1\n",
        "10.0.0.1\x00",
        "\u0661.0.0.1",
        "localhost",
        "unix:",
        "9" * 10_000,
        "\ud800",
    ],
)
def test_odd_forms_are_not_addresses(text: str) -> None:
    """Octal, hexadecimal, short, zoned, padded and cut forms are none of ours."""
    assert parse_address(text) is None


def test_an_ipv4_mapped_ipv6_address_is_the_ipv4_address() -> None:
    """Both ways to write it give one value."""
    assert parse_address("::ffff:192.0.2.1") == parse_address("192.0.2.1") == parse_address("::FFFF:c000:201")


def test_ipv6_addresses_are_equal_however_they_are_written() -> None:
    """Zeros and case do not matter."""
    assert parse_address("2001:db8::1") == parse_address("2001:0DB8:0:0:0:0:0:1")


def test_the_same_number_in_another_version_is_another_address() -> None:
    """`::c000:201` is not 192.0.2.1."""
    assert parse_address("::c000:201") != parse_address("192.0.2.1")


@pytest.mark.parametrize(
    ("network", "address", "held"),
    [
        ("192.0.2.0/24", "192.0.1.255", False),
        ("192.0.2.0/24", "192.0.2.0", True),
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.1", "192.0.2.0", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("0.0.0.0/0", "255.255.255.255", True),
        ("0.0.0.0/0", "::1", False),
        ("::/0", "2001:db8::1", True),
        ("::/0", "192.0.2.1", False),
        ("2001:db8::/32", "2001:db8:ffff::", True),
        ("2001:db8::/32", "2001:db9::", False),
        ("::ffff:192.0.2.0/120", "192.0.2.77", True),
        ("::ffff:192.0.2.0/120", "192.0.3.0", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.0/24", "::ffff:192.0.2.9", True),
    ],
)
def test_a_network_holds_exactly_its_addresses(network: str, address: str, held: bool) -> None:
    """The first and the last address are in it, their neighbours are not."""
    assert parse_network(network).holds(_address(address)) is held


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("192.0.2.1/24", "192.0.2.0/24"),
        ("10.255.0.0/8", "10.0.0.0/8"),
        ("192.0.2.255/31", "192.0.2.254/31"),
        ("1.2.3.4/0", "0.0.0.0/0"),
        ("2001:db8::1/32", "2001:db8::/32"),
    ],
)
def test_host_bits_are_an_error_that_names_the_network_meant(text: str, meant: str) -> None:
    """The owner is told what to write, and the field."""
    with pytest.raises(InvalidInput) as caught:
        parse_network(text)
    assert caught.value.message == f"{text!r} has host bits set; write {meant}"
    assert caught.value.field == "addresses"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/24",
        "192.0.2.0/",
        "192.0.2.0/33",
        "192.0.2.0/-1",
        "192.0.2.0/+8",
        "192.0.2.0/1_6",
        "192.0.2.0/255.255.255.0",
        "192.0.2.0/24/24",
        "192.0.2.0/\u0662\u0664",
        "192.0.2.0 /24",
        "192.0.2.0/24\n",
        "010.0.0.0/8",
        "0x0a.0.0.0/8",
        "10/8",
        "2001:db8::/129",
        "fe80::1%eth0",
        "fe80::%eth0/64",
        "example.org",
        "*",
        "\x00",
        "1" * 10_000,
    ],
)
def test_what_is_no_network_is_an_error_of_the_field_addresses(text: str) -> None:
    """One exception type, with the field, and a text that stays short."""
    with pytest.raises(InvalidInput) as caught:
        parse_network(text)
    assert caught.value.field == "addresses"
    assert len(caught.value.message) < 400


def test_a_single_address_is_a_network_with_a_full_mask() -> None:
    """The mask is the number with all bits set."""
    assert parse_network("192.0.2.1") == Network(4, 0xC0000201, 0xFFFFFFFF)
    assert parse_network("::1") == Network(6, 1, (1 << 128) - 1)


@pytest.mark.parametrize(
    ("address", "bits", "network"),
    [
        ("192.0.2.77", 32, "192.0.2.77"),
        ("192.0.2.77", 31, "192.0.2.76/31"),
        ("192.0.2.77", 24, "192.0.2.0/24"),
        ("192.0.2.77", 8, "192.0.0.0/8"),
        ("192.0.2.77", 0, "0.0.0.0/0"),
        ("::ffff:192.0.2.77", 24, "192.0.2.0/24"),
        ("2001:db8::1", 128, "2001:db8::1"),
        ("2001:db8:0:0:ffff::1", 64, "2001:db8::/64"),
        ("2001:db8::1", 16, "2001::/16"),
    ],
)
def test_an_address_is_cut_to_a_network(address: str, bits: int, network: str) -> None:
    """Of so many bits, written as it is read."""
    cut = network_of(_address(address), bits)
    assert (format_network(cut), parse_network(network)) == (network, cut)
    assert cut.holds(_address(address))


@pytest.mark.parametrize(
    ("text", "is_address"), [("::ffff:255.255.255.255", True), ("0" * 46, False), ("1" * 46, False)]
)
def test_what_is_longer_than_any_address_is_none(text: str, is_address: bool) -> None:
    """It is not even remembered."""
    assert (parse_address(text) is not None) is is_address
