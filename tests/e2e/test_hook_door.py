"""The hook door as a peer on the wire sees it: every way of sending the same call gets the same answer."""

import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest


@pytest.fixture(name="call")
def call_fixture(stack: Any) -> tuple[str, bytes]:
    """The path of the bench engine's hook, and the body of a call that is allowed."""
    token = stack.token(streams=["door"])
    body = f"call=publish&name=door&addr=127.0.0.1&clientid=1&token={token['token']}"
    return urlsplit(stack.hook_url).path, body.encode()


def request(path: str, body: bytes, *lines: str, version: str = "1.1", method: str = "POST") -> bytes:
    """Write a request."""
    head = [f"{method} {path} HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def talk(stack: Any, *pieces: bytes, answers: int = 1) -> list[tuple[int, bytes, bool]]:
    """Send the pieces on one connection; return status, text and whether the server closed, for each answer."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        received, found = b"", list[tuple[int, bytes, bool]]()
        while len(found) < answers:
            data = connection.recv(65536)
            assert data, received
            received += data
            received = re.sub(rb"^HTTP/1.1 100 .*?\r\n\r\n", b"", received, flags=re.DOTALL)
            while match := re.match(rb"HTTP/1\.1 (\d+) [^\r]*\r\n(.*?)\r\n\r\n", received, re.DOTALL):
                length = re.search(rb"content-length: (\d+)", match[2])
                assert length is not None
                end = match.end() + int(length[1])
                if len(received) < end:
                    break
                found.append((int(match[1]), received[match.end() : end], b"connection: close" in match[2]))
                received = received[end:]
    return found


def test_a_call_is_answered_and_the_connection_stays(stack: Any, call: tuple[str, bytes]) -> None:
    """With HTTP/1.1 the next call comes on the same connection; with 1.0, as nginx speaks it, the server closes."""
    path, body = call
    both = talk(stack, request(path, body), request(path, body), answers=2)
    assert both == [(200, b"ok", False)] * 2
    assert talk(stack, request(path, body, version="1.0")) == [(200, b"ok", True)]
    assert talk(stack, request(path, body, "Connection: close")) == [(200, b"ok", True)]


def test_calls_sent_at_once_are_answered_in_order(stack: Any, call: tuple[str, bytes]) -> None:
    """Pipelined calls, warm and cold and to other doors between them, are answered in the order they came."""
    path, body = call
    unknown = [body.replace(b"token=", f"token={number:064x}"[:70].encode() + b"&x=") for number in range(3)]
    pieces = [request(path, body)]
    for text in unknown:
        pieces += [request(path, text), request("/healthz", b"", method="GET"), request(path, body)]
    expected = [(200, b"ok", False)]
    for _ in unknown:
        expected += [(403, b"token_unknown", False), (200, b"ok\n", False), (200, b"ok", False)]
    assert talk(stack, b"".join(pieces), answers=len(expected)) == expected


def test_a_call_in_small_pieces_is_one_call(stack: Any, call: tuple[str, bytes]) -> None:
    """However it is cut, the answer is the same; and so it is chunked, or asked for with `100 Continue`."""
    path, body = call
    whole = request(path, body)
    assert talk(stack, *[whole[at : at + 7] for at in range(0, len(whole), 7)]) == [(200, b"ok", False)]
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (body[:9], body[9:])) + b"0\r\n\r\n"
    assert talk(stack, head, chunks) == [(200, b"ok", False)]
    assert talk(stack, request(path, body, "Expect: 100-continue")) == [(200, b"ok", False)]


def test_other_spellings_of_the_same_call_are_the_same_call(stack: Any, call: tuple[str, bytes]) -> None:
    """An escaped path and a query take the usual way, and get the same answer."""
    path, body = call
    assert talk(stack, request(path.replace("hooks", "%68ooks"), body))[0][:2] == (200, b"ok")
    assert talk(stack, request(f"{path}?x=1", body))[0][:2] == (200, b"ok")


def test_a_body_that_is_no_hooks_is_refused(stack: Any, call: tuple[str, bytes]) -> None:
    """64 KiB is the longest; one more byte is refused, on an open connection or not, and the reason is in the log."""
    path, body = call
    fits = body + b"&x=" + b"a" * (64 * 1024 - len(body) - 3)
    assert talk(stack, request(path, fits))[0][:2] == (200, b"ok")
    assert talk(stack, request(path, fits + b"a"))[0][:2] == (403, b"request_malformed")
    assert talk(stack, request(path, fits * 20))[0][:2] == (403, b"request_malformed")


def test_a_wrong_secret_gets_the_same_answer_on_every_way(
    stack: Any, call: tuple[str, bytes], until: Callable[..., Any]
) -> None:
    """Short way and usual way refuse alike, and the access log tells of each, without what was shown."""
    path, body = call
    wrong = path[:-4] + ("0000" if path[-4:] != "0000" else "0001")

    def unknown() -> list[dict[str, Any]]:
        return [line for line in stack.log() if line["reason"] == "engine_unknown"]

    before = len(unknown())
    pieces = (
        request(wrong, body),
        request(wrong, body, version="1.0"),
        request(f"{wrong}?x=1", body),
        request(wrong, body * 2000),
        request("/hooks/", b"", method="GET"),
    )
    for piece in pieces:
        assert talk(stack, piece)[0][:2] == (403, b"forbidden")
    lines = until(lambda: found if len(found := unknown()[before:]) >= len(pieces) else None)
    assert len(lines) == len(pieces)
    nothing = {"action": "unknown", "stream": "", "token_id": None, "client_ip": "", "engine": "", "session": ""}
    for line in lines:
        assert line["allowed"] is False
        assert nothing.items() <= line.items()
    assert wrong.rpartition("/")[2] not in (stack.data / "access.log").read_text()
