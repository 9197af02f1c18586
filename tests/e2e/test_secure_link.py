# ruff: noqa: D103
"""Links minted for nginx, and a real nginx with the configuration of docs/contracts/engine-tokens.md that checks them."""

import asyncio
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from stagedoor.app import administration, create_data
from stagedoor.config import Settings
from stagedoor.live.nginx import find_nginx
from stagedoor.model.access import Action
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind, TokenTerms
from stagedoor.model.verifier import VerifierKind, VerifierSettings
from stagedoor.service.mint import MintRequest
from tests.ports import free_port

PAGE = Path(__file__).parent.parent.parent / "docs/contracts/engine-tokens.md"
SECRET = "the-secret-of-both-sides"
NAMES = ["cam", "a/b", "x_.~+=@:,-y"]
PLAYLIST, SEGMENT = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n0.ts\n", "a segment"


@dataclass
class Cdn:
    """A system with an account, and nginx that serves the account's streams to those with a link."""

    settings: Settings
    account: AccountId
    port: int
    bound: bool

    def mint(self, name: str = "cam", seconds: int = 60, address: str = "127.0.0.1") -> str:
        """Return the URL of a new link."""

        async def run() -> str:
            async with administration(self.settings) as admin:
                streams = tuple(StreamPattern(name) for name in NAMES)
                token = await admin.tokens.issue(
                    self.account, TokenKind.SUBSCRIBE, TokenTerms(label="x", streams=streams)
                )
                request = MintRequest(
                    verifier="cdn",
                    stream=name,
                    action=Action.SUBSCRIBE,
                    token=token.secret,
                    ttl_seconds=seconds,
                    client_ip=address if self.bound else "",
                )
                minted = await admin.minter.mint(self.account, request)
                assert minted.url is not None
                return minted.url.reveal()

        return asyncio.run(run())


@pytest.fixture(params=[False, True], ids=["for anyone", "for one address"])
def cdn(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cdn]:
    settings = Settings(data=tmp_path / "data")
    create_data(settings)
    port, bound = free_port(), bool(request.param)

    async def make() -> AccountId:
        async with administration(settings) as admin:
            account = (await admin.accounts.create_first("admin@example.com")).account
            await admin.verifiers.add(
                account,
                "cdn",
                VerifierKind.SECURE_LINK,
                secret=Secret(SECRET),
                settings=VerifierSettings(url=f"http://127.0.0.1:{port}/live", file="index.m3u8", bind_address=bound),
            )
            return account

    account = asyncio.run(make())
    for name in NAMES:
        folder = tmp_path / "hls" / account / name
        folder.mkdir(parents=True)
        (folder / "index.m3u8").write_text(PLAYLIST)
        (folder / "0.ts").write_text(SEGMENT)
    [documented] = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    location = documented.replace("SECRET", SECRET).replace("/var/hls", str(tmp_path / "hls"))
    if not bound:
        location = location.replace(" $remote_addr", "")
    (tmp_path / "nginx.conf").write_text(
        f"""daemon off; master_process off; pid {tmp_path}/nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {tmp_path}/t1; proxy_temp_path {tmp_path}/t2; fastcgi_temp_path {tmp_path}/t3;
    uwsgi_temp_path {tmp_path}/t4; scgi_temp_path {tmp_path}/t5;
    server {{ listen 127.0.0.1:{port}; {location} }}
}}
"""
    )
    found = find_nginx()
    assert found is not None
    running = subprocess.Popen(
        [found[0], "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")], stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert running.poll() is None, running.stderr and running.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield Cdn(settings, account, port, bound)
    finally:
        running.terminate()
        running.wait(10)
        if running.stderr is not None:
            running.stderr.close()


def status(url: str) -> int:
    return httpx.get(url).status_code


@pytest.mark.parametrize("name", NAMES)
def test_a_link_lets_in_to_the_playlist_and_what_it_names(cdn: Cdn, name: str) -> None:
    url = cdn.mint(name)
    assert httpx.get(url).text == PLAYLIST
    assert httpx.get(url.replace("index.m3u8", "0.ts")).text == SEGMENT


def test_a_link_ends_at_its_second(cdn: Cdn) -> None:
    url = cdn.mint(seconds=3)
    until = int(urlsplit(url).path.split("/")[3])
    assert status(url) == 200
    # nginx looks at its clock when something happens, so it may be asked before it has seen the next second.
    time.sleep(max(0.0, until + 1.2 - time.time()))
    assert status(url) == 403


CHANGES: dict[str, Callable[[list[str]], list[str]]] = {
    "another hash": lambda p: [*p[:2], "A" * 22, *p[3:]],
    "a later end": lambda p: [*p[:3], str(int(p[3]) + 1), *p[4:]],
    "another way to write the end": lambda p: [*p[:3], "0" + p[3], *p[4:]],
    "another stream": lambda p: [*p[:5], "a", "b", p[-1]],
    "a stream above": lambda p: [*p[:-1], "..", "a", "b", p[-1]],
    "a stream below": lambda p: [*p[:-1], "x", p[-1]],
    "no hash": lambda p: [*p[:2], *p[4:]],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_link_is_refused(cdn: Cdn, change: str) -> None:
    url = cdn.mint()
    assert status(url) == 200
    parts = urlsplit(url)
    changed = parts._replace(path="/".join(CHANGES[change](parts.path.split("/")))).geturl()
    assert changed != url
    # httpx would tidy the path before it sends it.
    with socket.create_connection(("127.0.0.1", cdn.port), timeout=10) as line:
        line.sendall(f"GET {urlsplit(changed).path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = line.recv(100)
    assert answer.split()[1] in (b"403", b"404")


def test_a_link_for_another_address_is_refused(cdn: Cdn) -> None:
    url = cdn.mint(address="127.0.0.2")
    assert status(url) == (403 if cdn.bound else 200)
