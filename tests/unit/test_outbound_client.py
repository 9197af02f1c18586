"""The guarded client, against real servers: what was judged is what is called, and nothing leads past that.

127.0.0.2 is allowed here and stands for the public internet; 127.0.0.1 is not, and stands for what has to be kept safe.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stagedoor.model.addresses import parse_network
from stagedoor.outbound.client import MAX_ANSWER_BYTES, GuardedClient
from stagedoor.outbound.guard import REFUSED, Guard
from stagedoor.service.webhook_ports import Sent
from tests.receiver import Answering, receiving, speaking

OUTSIDE, INSIDE = "127.0.0.2", "127.0.0.1"
GUARD = Guard((parse_network(OUTSIDE),))


class Names:
    """A name server of the attacker's: each question is answered with the next answer."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, _host: str, _port: int) -> Sequence[str]:
        """Answer."""
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def calling(
    resolve: Callable[[str, int], object] | None = None,
    *,
    guard: Guard = GUARD,
    seconds: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[GuardedClient]:
    """Make a client."""
    client = GuardedClient(guard=guard, resolve=resolve, timeout_seconds=seconds, ssl_context=tls)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        await client.close()


async def test_a_call_arrives_as_it_is() -> None:
    """POST, path and query, headers and body; a success is any 2xx."""
    async with receiving(Answering(status=204, body=b""), Answering(status=299), host=OUTSIDE) as receiver:
        async with calling() as client:
            sent = await client.send(receiver.url, {"content-type": "text/plain", "x-a": "b"}, b"\x00body\xff")
            assert sent == Sent(204, "")
            assert await client.send(receiver.url, {}, b"") == Sent(299, "")
        got = receiver.got[0]
        assert (got.method, got.path, got.body) == ("POST", "/hook?a=b", b"\x00body\xff")
        assert got.headers["host"] == f"{OUTSIDE}:{receiver.port}"
        assert (got.headers["content-type"], got.headers["x-a"]) == ("text/plain", "b")
        assert got.headers["content-length"] == "6"


async def test_a_private_address_is_not_called() -> None:
    """Neither as it is nor by a name that leads there."""
    async with receiving(host=INSIDE) as inside:
        async with calling(Names([INSIDE])) as client:
            assert await client.send(inside.url, {}, b"") == Sent(None, REFUSED)
            assert await client.send(f"http://evil.example:{inside.port}/", {}, b"") == Sent(None, REFUSED)
        async with calling() as client:
            assert await client.send(f"http://localhost:{inside.port}/", {}, b"") == Sent(None, REFUSED)
            assert await client.send(f"http://[::ffff:127.0.0.1]:{inside.port}/", {}, b"") == Sent(None, REFUSED)
        assert inside.connections == 0


async def test_a_name_that_changes_its_mind_is_too_late() -> None:
    """DNS rebinding: the answer that was judged is the one that is connected to, and there is one question only.

    The same attack on a client that judges a name, and then connects to the name, arrives inside.
    """
    async with receiving(host=INSIDE) as inside, receiving(host=OUTSIDE, port=inside.port) as outside:
        url = f"http://evil.example:{inside.port}/"
        naive = Names([OUTSIDE], [INSIDE])
        assert all(GUARD.permits(address) for address in await naive("evil.example", inside.port))
        (led_to,) = await naive("evil.example", inside.port)
        async with httpx.AsyncClient() as anybody:
            await anybody.post(f"http://{led_to}:{inside.port}/")
        assert len(inside.got) == 1

        names = Names([OUTSIDE], [INSIDE])
        async with calling(names) as client:
            assert await client.send(url, {}, b"") == Sent(200, "")
            assert (len(inside.got), len(outside.got), names.asked) == (1, 1, 1)
            assert outside.got[0].headers["host"] == f"evil.example:{inside.port}"
        async with calling(names) as client:
            assert await client.send(url, {}, b"") == Sent(None, REFUSED)
        assert (len(inside.got), names.asked) == (1, 2)


async def test_a_name_with_one_bad_address_is_not_called() -> None:
    """In whatever order they come."""
    async with receiving(host=OUTSIDE) as outside:
        for addresses in ([OUTSIDE, INSIDE], [INSIDE, OUTSIDE], [OUTSIDE, "::1"], ["::ffff:10.0.0.1"], ["nonsense"]):
            async with calling(Names(addresses)) as client:
                assert await client.send(f"http://evil.example:{outside.port}/", {}, b"") == Sent(None, REFUSED)
        assert outside.connections == 0


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    """A name with several good addresses."""
    guard = Guard((parse_network("127.0.0.0/8"),))
    async with receiving(host=OUTSIDE) as outside, calling(Names(["127.0.0.3", OUTSIDE]), guard=guard) as client:
        assert await client.send(f"http://good.example:{outside.port}/", {}, b"") == Sent(200, "")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    """Not even to where one could call: a redirect is a failure that says so."""
    async with receiving(host=INSIDE) as inside:
        answer = Answering(status=status, headers=(f"location: http://{INSIDE}:{inside.port}/",))
        async with receiving(answer, host=OUTSIDE) as outside, calling() as client:
            sent = await client.send(outside.url, {}, b"")
            assert sent == Sent(status, f"it answers {status}, a redirect, which is not followed")
        assert inside.connections == 0


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
async def test_a_failure_says_the_status(status: int) -> None:
    """And no more of the answer."""
    async with receiving(Answering(status=status, body=b"secret words"), host=OUTSIDE) as outside, calling() as client:
        assert await client.send(outside.url, {}, b"") == Sent(status, f"it answers {status}")


@pytest.mark.parametrize(
    "url",
    ["http://user:password@hooks.example.com/", "http://2130706433/", "http://0177.0.0.1/", "file:///etc/passwd", "x"],
)
async def test_what_is_no_plain_address_is_not_called(url: str) -> None:
    """However it came to be kept; no name is asked for."""
    names = Names([OUTSIDE])
    async with calling(names) as client:
        sent = await client.send(url, {}, b"")
    assert sent.status is None
    assert sent.error
    assert names.asked == 0


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would look the name up for themselves."""
    async with receiving(host=INSIDE) as proxy, receiving(host=OUTSIDE) as outside:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{INSIDE}:{proxy.port}")
        async with calling() as client:
            assert await client.send(outside.url, {}, b"") == Sent(200, "")
        assert proxy.connections == 0


async def test_a_server_that_does_not_answer_is_left() -> None:
    """After the time that an attempt has, in whatever it lets it pass."""
    async with receiving(Answering(after=30), host=OUTSIDE) as slow, calling(seconds=0.3) as client:
        began = time.monotonic()
        assert await client.send(slow.url, {}, b"") == Sent(None, "no answer within 0.3 seconds")
        assert time.monotonic() - began < 10

    async def never(_host: str, _port: int) -> Sequence[str]:
        await asyncio.sleep(30)
        return [OUTSIDE]

    async with calling(never, seconds=0.3) as client:
        assert await client.send("http://slow.example/", {}, b"") == Sent(None, "no answer within 0.3 seconds")


async def test_of_a_long_answer_little_is_read() -> None:
    """The status is what counts: neither an endless body nor one that never comes delays or fails it."""
    async with receiving(host=OUTSIDE) as outside:
        pushed = 0

        async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal pushed
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                await writer.drain()
                pushed += 4096

        async with speaking(pour, OUTSIDE) as port, calling() as client:
            assert await client.send(f"http://{OUTSIDE}:{port}/", {}, b"") == Sent(200, "")
        assert pushed < 50_000_000
        assert MAX_ANSWER_BYTES <= 8192

        outside.answers = [Answering(headers=("content-length: 1000",), body=b"half")]
        async with calling() as client:
            began = time.monotonic()
            assert await client.send(outside.url, {}, b"") == Sent(200, "")
            assert time.monotonic() - began < 10


@pytest.mark.parametrize("said", [b"", b"hello\r\n\r\n", b"HTTP/1.1 banana\r\n\r\n", b"\x00" * 100])
async def test_what_does_not_speak_http_is_a_failure(said: bytes) -> None:
    """In words of ours."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(said)
        await writer.drain()

    async with speaking(speak, OUTSIDE) as port, calling() as client:
        sent = await client.send(f"http://{OUTSIDE}:{port}/", {}, b"body")
    assert sent.status is None
    assert sent.error in {"its answer is not HTTP", "the connection broke off"}


async def test_nobody_listens_and_no_such_name() -> None:
    """Both are told in words."""
    async with receiving(host=OUTSIDE) as gone:
        pass
    async with calling() as client:
        assert await client.send(gone.url, {}, b"") == Sent(None, "no connection")
        assert await client.send("http://no-such-name.invalid/", {}, b"") == Sent(None, "its name has no address")
    async with calling(Names([])) as client:
        assert await client.send("http://empty.example/", {}, b"") == Sent(None, "its name has no address")


async def test_header_values_cannot_break_out() -> None:
    """A line break in a value is sent as nothing at all."""
    async with receiving(host=OUTSIDE) as outside, calling() as client:
        sent = await client.send(outside.url, {"x-millicast-stream-id": "a\r\nx-evil: 1"}, b"")
        assert sent.status is None
        assert outside.got == []
        await client.send(outside.url, {"x-millicast-feed-id": "f\u00fcnf"}, b"")
        assert outside.got[0].headers["x-millicast-feed-id"] == "f?nf"


async def test_tls_is_checked_for_the_name_and_not_for_the_address(tmp_path: Path) -> None:
    """The name goes with the handshake and into the Host header, while the connection goes to the judged address."""
    certificate = _certificate(tmp_path, "hooks.example.com")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with receiving(host=OUTSIDE, tls=server) as receiver:
        async with calling(Names([OUTSIDE]), tls=trusting) as client:
            url = f"https://hooks.example.com:{receiver.port}/x"
            assert await client.send(url, {}, b"") == Sent(200, "")
            assert receiver.server_names == ["hooks.example.com"]
            assert receiver.got[0].headers["host"] == f"hooks.example.com:{receiver.port}"
            other = await client.send(f"https://other.example.com:{receiver.port}/x", {}, b"")
            assert other.error.startswith("its certificate is not valid")
        async with calling(Names([OUTSIDE])) as client:
            stranger = await client.send(url, {}, b"")
            assert stranger.error.startswith("its certificate is not valid")


async def test_a_server_without_tls_is_told_of() -> None:
    """It answers a handshake with something else."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with speaking(plain, OUTSIDE) as port, calling() as client:
        sent = await client.send(f"https://{OUTSIDE}:{port}/", {}, b"")
    assert sent == Sent(None, "it does not speak TLS as we do")


async def test_each_call_is_judged_and_leaves_nothing_open() -> None:
    """A connection of its own, which is closed, and which says so."""
    names = Names([OUTSIDE])
    async with receiving(host=OUTSIDE) as outside, calling(names) as client:
        for _ in range(3):
            assert (await client.send(f"http://good.example:{outside.port}/", {}, b"x")).status == 200
        assert (outside.connections, names.asked) == (3, 3)
        assert all(got.headers["connection"] == "close" for got in outside.got)
        for _ in range(50):
            if not outside.tasks:
                break
            await asyncio.sleep(0.02)
        assert outside.tasks == set()


async def test_a_large_body_arrives_whole() -> None:
    """As a picture is; and an answer that comes before it is read is an answer."""
    picture = bytes(range(256)) * 4096
    async with receiving(host=OUTSIDE) as outside, calling() as client:
        assert await client.send(outside.url, {}, picture) == Sent(200, "")
        assert outside.got[0].body == picture

    async def hasty(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too large\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.3)

    async with speaking(hasty, OUTSIDE) as port, calling() as client:
        assert await client.send(f"http://{OUTSIDE}:{port}/", {}, b"few") == Sent(413, "it answers 413")


def _certificate(folder: Path, name: str) -> Path:
    """Write a certificate for a name, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file
