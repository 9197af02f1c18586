"""The guard: which addresses may be called for a stranger, and how they are read."""

import pytest

from stagedoor.model.addresses import parse_network
from stagedoor.model.errors import InvalidInput
from stagedoor.outbound.guard import Guard, Target, parse_target

PUBLIC = ["93.184.216.34", "8.8.8.8", "1.1.1.1", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001::200e"]
PRIVATE = [
    # loopback, this network, private
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "::1",
    "::",
    "fc00::1",
    "fd00:ec2::254",
    # link-local, metadata services
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fe80::1",
    "febf::1",
    "fec0::1",
    # carriers, benchmarks, documentation
    "100.64.0.1",
    "100.127.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "2001:db8::1",
    "3fff::1",
    # multicast, reserved, broadcast
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "4000::1",
    # IPv4 inside of IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:5db8:d822::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "192.88.99.1",
    # no addresses
    "",
    "localhost",
    "127.1",
    "0177.0.0.1",
    "fe80::1%eth0",
    "1.2.3.4%1",
]


@pytest.mark.parametrize("address", [*PUBLIC, "64:ff9b::5db8:d822", "::ffff:8.8.8.8"])
def test_the_public_internet_may_be_called(address: str) -> None:
    """Also through a translator, and in mapped form."""
    assert Guard().permits(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_everything_else_may_not(address: str) -> None:
    """In every form that leads there."""
    assert not Guard().permits(address)


@pytest.mark.parametrize(
    ("network", "permitted", "refused"),
    [
        (
            "10.1.0.0/16",
            ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"],
            ["10.2.0.0", "10.0.255.255"],
        ),
        ("127.0.0.2", ["127.0.0.2"], ["127.0.0.1", "127.0.0.3"]),
        ("fd00::/8", ["fd12::1"], ["fc00::1", "::1"]),
    ],
)
def test_the_operator_may_allow_networks(network: str, permitted: list[str], refused: list[str]) -> None:
    """Those and no others; the public internet stays open."""
    guard = Guard((parse_network(network),))
    assert all(guard.permits(address) for address in permitted)
    assert not any(guard.permits(address) for address in refused)
    assert guard.permits("93.184.216.34")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example.com/x", Target("https", "hooks.example.com", 443, "/x")),
        ("http://hooks.example.com", Target("http", "hooks.example.com", 80, "/")),
        ("HTTP://Hooks.Example.COM:8080?a=b", Target("http", "Hooks.Example.COM", 8080, "/?a=b")),
        ("https://hooks.example.com./x?u=a@b:c#part", Target("https", "hooks.example.com.", 443, "/x?u=a@b:c")),
        ("https://[2606:4700:4700:0::1111]:8443/", Target("https", "2606:4700:4700::1111", 8443, "/")),
        ("http://93.184.216.34/", Target("http", "93.184.216.34", 80, "/")),
        ("http://xn--bcher-kva.example/", Target("http", "xn--bcher-kva.example", 80, "/")),
        ("http://my_receiver:9000/", Target("http", "my_receiver", 9000, "/")),
    ],
)
def test_an_address_is_read_once_into_its_parts(url: str, target: Target) -> None:
    """What is read is what is called; a part after # never is."""
    assert parse_target(url) == target
    Guard().check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "//hooks.example.com/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://hooks.example.com/",
        "javascript:alert(1)",
        "http:hooks.example.com",
        "http:///x",
        "http://",
        "http://:80/",
        # a user name, which hides the host
        "http://user@hooks.example.com/",
        "http://user:password@hooks.example.com/",
        "http://hooks.example.com@127.0.0.1/",
        "http://hooks.example.com:80@127.0.0.1/",
        "http://hooks.example.com\\@127.0.0.1/",
        "http://127.0.0.1\\.hooks.example.com/",
        # what programs read in several ways
        "http://2130706433/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://0x7f000001/",
        "http://0x/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0.1./",
        "http://1.2.3.4.5/",
        "http://256.0.0.1/",
        "http://example.1/",
        "http://[::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::ffff:0177.0.0.1]/",
        "http://[::1",
        "http://[::1]x/",
        "http://[v1.a]/",
        "http://%31%32%37.0.0.1/",
        "http://\u2460\u2461\u2466.0.0.1/",
        "http://127\u30020.0.1/",
        "http://loca\u017ft/",
        "http://\u212aelvin.example/",
        "http://b\u00fccher.example/",
        # no names, no ports, no lines
        "http://a..b/",
        "http://.a/",
        f"http://{'a' * 64}.example/",
        "http://hooks.example.com:0/",
        "http://hooks.example.com:65536/",
        "http://hooks.example.com:8o/",
        "http://hooks.example.com:\u0661/",
        "http://hooks.example.com/a b",
        "http://hooks.example.com/\r\nX-Evil: 1",
        "http://hooks.example.com/x\n",
        "http://hooks.example.com/\x00",
        "http://hooks.example.com\t/",
        " http://hooks.example.com/",
        "http://hooks.example.com/\u00e9",
        "http://hooks.example.com/" + "x" * 2048,
    ],
)
def test_what_is_no_plain_address_is_refused(url: str) -> None:
    """With an error about the field, and nothing else."""
    with pytest.raises(InvalidInput) as caught:
        parse_target(url)
    assert caught.value.field == "url"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://10.0.0.1:8080/x",
        "https://169.254.169.254/latest/meta-data/",
        "http://100.64.1.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:ffff:10.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://localhost/",
        "http://LOCALHOST:8080/",
        "http://localhost./",
        "http://a.localhost/",
    ],
)
def test_what_shows_that_it_is_private_is_refused_when_it_is_set(url: str) -> None:
    """No name has to be asked for."""
    with pytest.raises(InvalidInput) as caught:
        Guard().check_url(url)
    assert caught.value.field == "url"


def test_what_the_operator_allows_can_be_set() -> None:
    """Also by the name of the machine itself."""
    guard = Guard((parse_network("127.0.0.0/8"),))
    guard.check_url("http://127.0.0.1:8080/")
    guard.check_url("http://localhost:8080/")
    with pytest.raises(InvalidInput):
        guard.check_url("http://10.0.0.1/")
