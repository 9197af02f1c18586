"""Taking one picture: what it may cost, and what nobody gets to see of it. A picture of a real stream is in tests/e2e."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from stagedoor.live import frame
from stagedoor.live.frame import FrameTaker
from stagedoor.model.errors import Unavailable
from stagedoor.model.secret import Secret
from stagedoor.service.thumbnails import Source

TOKEN = "5ec2e7" * 10 + "abcd"


def source(port: int, application: str = "live", scheme: str = "rtmp") -> Source:
    """Return a stream on this machine."""
    return Source(f"{scheme}://127.0.0.1:{port}", application, "acc/cam", Secret(TOKEN))


def children() -> dict[int, bytes]:
    """Return the arguments of our own children that run, by their ids."""
    found: dict[int, bytes] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == os.getpid():
                    found[int(process.name)] = (process / "cmdline").read_bytes()
    return found


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """Run a server that takes connections and never says a word; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def until_running(count: int) -> dict[int, bytes]:
    """Wait until so many programs run."""
    deadline = time.monotonic() + 20
    while len(found := {pid: line for pid, line in children().items() if b"image2pipe" in line}) < count:
        assert time.monotonic() < deadline, "no ffmpeg was started"
        await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize("scheme", ["rtmp", "rtsp"])
async def test_a_stream_that_gives_nothing_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """ffmpeg is ended by its id, and waited for; what is told says what to do and holds no address."""
    monkeypatch.setattr(frame, "TAKE_SECONDS", 1.5)
    async with silent() as port:
        started = time.monotonic()
        with pytest.raises(Unavailable, match="no picture") as caught:
            await FrameTaker()(source(port, "live" if scheme == "rtmp" else "", scheme))
        assert 1.4 < time.monotonic() - started < 6
    assert TOKEN not in caught.value.message
    assert not any(b"image2pipe" in line for line in children().values())


async def test_nobody_on_the_machine_sees_what_lets_us_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the arguments, which everybody reads; and the program sees nothing of our environment."""
    monkeypatch.setenv("STAGEDOOR_PLANTED", "a secret of ours")
    monkeypatch.setattr(frame, "TAKE_SECONDS", 2.0)
    async with silent() as port:
        taking = asyncio.ensure_future(FrameTaker()(source(port)))
        ((pid, line),) = (await until_running(1)).items()
        environment = (Path("/proc") / str(pid) / "environ").read_bytes()
        with pytest.raises(Unavailable):
            await taking
    assert TOKEN.encode() not in line
    assert b"127.0.0.1" not in line
    assert b"PLANTED" not in environment
    assert b"PATH=" in environment


async def test_no_more_than_two_run_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third waits, for as long as a picture may take, and is then told to try again."""
    monkeypatch.setattr(frame, "TAKE_SECONDS", 3.0)
    taker = FrameTaker()
    async with silent() as port:
        first = [asyncio.ensure_future(taker(source(port))) for _ in range(2)]
        await until_running(2)
        monkeypatch.setattr(frame, "TAKE_SECONDS", 0.3)
        with pytest.raises(Unavailable, match="too many"):
            await taker(source(port))
        assert len(await until_running(2)) == 2
        outcomes = await asyncio.gather(*first, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    # Their places are free again.
    async with silent() as port:
        with pytest.raises(Unavailable, match="no picture"):
            await taker(source(port))


async def test_who_gives_up_leaves_no_program_behind() -> None:
    """A call that is cancelled ends its ffmpeg."""
    async with silent() as port:
        taking = asyncio.ensure_future(FrameTaker()(source(port)))
        await until_running(1)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert not any(b"image2pipe" in line for line in children().values())


async def test_a_program_that_is_missing_is_told_by_its_name() -> None:
    """With what to do about it."""
    with pytest.raises(Unavailable, match=r"no-such-ffmpeg is not installed.*install it"):
        await FrameTaker("no-such-ffmpeg")(source(1))


@pytest.mark.parametrize(
    ("url", "application", "name", "lines"),
    [
        (
            "rtmp://127.0.0.1:1935/",
            "v2/pub",
            "acc/cam",
            [
                "file 'rtmp://127.0.0.1:1935/v2/pub'",
                "option rtmp_app 'v2/pub'",
                f"option rtmp_playpath 'acc/cam?token={TOKEN}'",
            ],
        ),
        ("rtmp://127.0.0.1", "", "acc/cam", [f"file 'rtmp://127.0.0.1/acc/cam?token={TOKEN}'"]),
        (
            "rtsps://[::1]:8322",
            "",
            "acc/cam",
            [f"file 'rtsps://[::1]:8322/acc/cam?token={TOKEN}'", "option rtsp_transport 'tcp'"],
        ),
    ],
)
def test_a_stream_is_written_as_ffmpeg_reads_it(url: str, application: str, name: str, lines: list[str]) -> None:
    """With the application of RTMP apart, since stream names may have more than one part."""
    script = frame._script(Source(url, application, name, Secret(TOKEN))).decode()
    assert script.splitlines()[0] == "ffconcat version 1.0"
    assert set(lines) <= set(script.splitlines())
    assert ("rtmp_app" in script) is bool(application)


@pytest.mark.parametrize("name", ["cam\nfile '/etc/passwd'", "cam' file '/etc/passwd", "cam\r", "cam\0"])
def test_no_name_writes_a_line_of_its_own(name: str) -> None:
    """A name that could is refused: ffmpeg would open what it says."""
    for application, named in ((name, "cam"), ("live", name)):
        with pytest.raises(Unavailable):
            frame._script(Source("rtmp://127.0.0.1", application, named, Secret(TOKEN)))


async def test_more_than_a_picture_may_be_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written beyond it is not kept. The program is another one here, which writes without end."""
    endless = tmp_path / "endless"
    endless.write_text("#!/bin/sh\nwhile printf '\\377\\330\\377%1000s' x; do :; done\n")
    endless.chmod(0o700)
    monkeypatch.setattr(frame, "MAX_JPEG_BYTES", 100_000)
    started = time.monotonic()
    with pytest.raises(Unavailable, match="no picture"):
        await FrameTaker(str(endless))(source(1))
    assert time.monotonic() - started < 8
