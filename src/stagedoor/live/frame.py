"""One picture of a live stream, by the ffmpeg that is installed.

What must hold:

- It takes at most `TAKE_SECONDS`, gives at most `MAX_JPEG_BYTES`, and no more than `AT_ONCE` run at a time in one process.
- Security: the address of the stream has a pass in it. It goes to ffmpeg through a pipe: arguments are seen by every user of
  the machine. What ffmpeg says is thrown away, since it repeats addresses; and it gets none of our environment.
"""

import asyncio
import os
import shutil
from typing import Final
from urllib.parse import urlsplit

from stagedoor.model.errors import Unavailable
from stagedoor.service.thumbnails import Source

TAKE_SECONDS: Final = 10.0
MAX_JPEG_BYTES: Final = 2_000_000
AT_ONCE: Final = 2
LARGEST_WIDTH: Final = 1280
"""Of a picture, in pixels; a wider one is made smaller."""

_PROTOCOLS: Final = {
    "rtmp": "pipe,rtmp,tcp",
    "rtmps": "pipe,rtmps,tls,tcp",
    "rtsp": "pipe,rtsp,rtp,tcp",
    "rtsps": "pipe,rtsps,rtp,tls,tcp",
}
_LOOK_MICROSECONDS: Final = 1_000_000
"""How long ffmpeg looks at a stream before it knows what is in it. What holds no sound it would wait for."""

_PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
_START_OF_JPEG: Final = b"\xff\xd8\xff"
_CHUNK: Final = 65536


class FrameTaker:
    """Takes pictures."""

    def __init__(self, program: str = "ffmpeg") -> None:
        """Take the program's name; it is looked for when it is first needed."""
        self._program = program
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, source: Source) -> bytes:
        """Return one picture of a live stream, a JPEG.

        Raises: Unavailable when ffmpeg is not installed, when no picture comes in time, or when too many are being taken.
        """
        program = shutil.which(self._program)
        if program is None:
            raise Unavailable(
                f"{self._program} is not installed where Stagedoor runs, and takes the pictures; install it"
            )
        try:
            async with asyncio.timeout(TAKE_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise Unavailable("too many pictures are being taken; try again") from None
        try:
            jpeg = await _take(program, source)
        finally:
            self._slots.release()
        if not jpeg.startswith(_START_OF_JPEG):
            raise Unavailable(f"the stream gave no picture within {TAKE_SECONDS:.0f} s; try again")
        return jpeg


async def _take(program: str, source: Source) -> bytes:
    """Run ffmpeg and return what it wrote; empty when it took too long or wrote too much."""
    process = await asyncio.create_subprocess_exec(
        *_command(program, source.url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(TAKE_SECONDS):
            return await _talk(process, _script(source))
    except (TimeoutError, OSError):
        return b""
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _talk(process: asyncio.subprocess.Process, script: bytes) -> bytes:
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018  both are pipes
    process.stdin.write(script)
    process.stdin.close()
    written = b""
    while chunk := await process.stdout.read(_CHUNK):
        written += chunk
        if len(written) > MAX_JPEG_BYTES:
            return b""
    return written if await process.wait() == 0 else b""


def _command(program: str, url: str) -> list[str]:
    look = str(_LOOK_MICROSECONDS)
    reading = ["-protocol_whitelist", _PROTOCOLS[urlsplit(url).scheme], "-analyzeduration", look]
    scaled = f"scale=w='min({LARGEST_WIDTH},iw)':h=-2"
    return [
        *(program, "-nostdin", "-hide_banner", "-loglevel", "quiet", "-threads", "1"),
        *(*reading, "-f", "concat", "-safe", "0", "-i", "pipe:0"),
        *("-map", "0:v:0", "-frames:v", "1", "-vf", scaled, "-c:v", "mjpeg", "-q:v", "4", "-f", "image2pipe", "pipe:1"),
    ]


def _script(source: Source) -> bytes:
    """Return what tells ffmpeg where the stream is, as a list of one file.

    An application of RTMP is named apart: in an address, nobody can tell where it ends.
    """
    options = {"analyzeduration": str(_LOOK_MICROSECONDS)}
    url = source.url.rstrip("/")
    path = f"{source.name}?token={source.token.reveal()}"
    if url.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    if source.application:
        options |= {"rtmp_app": source.application, "rtmp_playpath": path, "rtmp_live": "live"}
        address = f"{url}/{source.application}"
    else:
        address = f"{url}/{path}"
    lines = ["ffconcat version 1.0", f"file {_quoted(address)}"]
    lines += [f"option {name} {_quoted(value)}" for name, value in options.items()]
    return "\n".join([*lines, ""]).encode()


def _quoted(text: str) -> str:
    """Write a text as ffmpeg reads it. Security: a line break would begin another line of the list."""
    if not text.isprintable() or "'" in text:
        raise Unavailable("the stream's address cannot be written for ffmpeg")
    return f"'{text}'"
