"""The bench of the end-to-end tests: a real authority, a real nginx-rtmp, real encoders, all on 127.0.0.1."""

import base64
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from stagedoor.live.nginx import OwnNginx, find_nginx
from stagedoor.model.secret import Secret
from tests.answers import checked
from tests.ports import HOST, free_port

STAGEDOOR = [sys.executable, "-m", "stagedoor"]
T = TypeVar("T")


class Tap:
    """A TCP relay that keeps what clients said: between nginx and the authority, it records hook calls as they are."""

    def __init__(self, target: int, source: str = HOST) -> None:
        """Listen on a free port and relay to `target`, from the address `source`."""
        self.target = target
        self.source = source
        self.calls: list[bytes] = []
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection((HOST, self.target), timeout=10, source_address=(self.source, 0))
            except OSError:
                return
            with server:
                answers = threading.Thread(target=_pump, args=(server, client, None), daemon=True)
                answers.start()
                said: list[bytes] = []
                _pump(client, server, said)
                answers.join(timeout=10)
                self.calls.append(b"".join(said))


def _pump(source: socket.socket, sink: socket.socket, keep: list[bytes] | None) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            if keep is not None:
                keep.append(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


class Stack:
    """Everything that runs, and what a user does with it."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        """Make a new system in `folder`, and start it, the authority with `environment` beside this one."""
        self.folder = folder
        self.environment = environment or {}
        self.data = folder / "data"
        self.port, self.rtmp, self.hls = free_port(), free_port(), free_port()
        self.tap = Tap(self.port)
        self.url = f"http://{HOST}:{self.port}"
        first = json.loads(self.stagedoor("init", "--json"))
        self.account: str = first["accountId"]
        self.secrets: list[str] = [first["apiSecret"], first["adminPassword"]]
        engine = json.loads(
            self.stagedoor(
                "engine",
                "add",
                "nginx-rtmp",
                "--name",
                "bench",
                "--account",
                self.account,
                "--json",
                environment={"STAGEDOOR_PUBLIC_URL": f"http://{HOST}:{self.tap.port}"},
            )
        )
        self.hook_url: str = engine["hookUrl"]
        self.control_secret = Secret(re.findall(r'"Bearer (\w+)"', engine["config"])[0])
        self.secrets += [engine["hookSecret"], self.control_secret.reveal()]
        self.api = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {first['apiSecret']}"},
            timeout=20,
            event_hooks={"response": [checked]},
        )
        self.authority = self.serve()
        self.nginx = self._start_nginx(folder / "nginx", HOST, self.rtmp, self.hls)

    def stagedoor(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """Run a `stagedoor` command on this system and return what it printed."""
        command = [*STAGEDOOR, *arguments, "--data", str(self.data)]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, **(environment or {})}, timeout=60
        ).stdout

    def serve(self) -> subprocess.Popen[bytes]:
        """Start the authority and wait until it is ready."""
        with (self.folder / "serve.log").open("ab") as log:
            process = subprocess.Popen(
                [*STAGEDOOR, "serve", "--data", str(self.data), "--port", str(self.port)],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )
        until(lambda: _ready(self.url) or None)
        return process

    def _start_nginx(self, run: Path, host: str, rtmp: int, hls: int) -> subprocess.Popen[bytes]:
        found = find_nginx()
        assert found is not None, "nginx with its RTMP module is missing; make test installs it"
        nginx = OwnNginx(
            program=found[0],
            module=found[1],
            run=run,
            hook_url=self.hook_url,
            control_secret=self.control_secret,
            host=host,
            rtmp=rtmp,
            hls=hls,
        )
        nginx.check()
        process = nginx.start()
        until(lambda: _listens(host, rtmp) or None)
        return process

    def reach_nginx(self) -> None:
        """Tell the authority where nginx is controlled, and where it plays."""
        urls = "--control-url", f"http://{HOST}:{self.hls}", "--media-url", f"rtmp://{HOST}:{self.rtmp}"
        self.stagedoor("engine", "set", "bench", *urls)

    @contextmanager
    def nginx_on(self, host: str) -> Iterator[str]:
        """Run another nginx, which listens on `host` and nowhere else; yield where it takes RTMP."""
        # Not the ports of the first one: what is asked of the wrong address must find nobody there.
        rtmp = free_port()
        process = self._start_nginx(self.folder / f"nginx-{rtmp}", host, rtmp, free_port())
        try:
            yield f"{host}:{rtmp}"
        finally:
            process.terminate()
            process.wait(timeout=20)

    def close(self) -> None:
        """End everything that was started."""
        self.api.close()
        for process in (self.nginx, self.authority):
            process.terminate()
            process.wait(timeout=20)
        self.tap.close()

    # -- the API

    def token(self, kind: str = "publish", streams: list[str] | None = None, **body: Any) -> dict[str, Any]:
        """Create a token; `streams` are exact names, `regex=` one expression."""
        regex = body.pop("regex", None)
        names: list[dict[str, Any]] = [{"streamName": name} for name in streams or []]
        if regex is not None:
            names.append({"streamName": regex, "isRegex": True})
        answer = self.api.post(f"/api/{kind}_token", json={"label": "e2e", "streams": names, **body})
        assert answer.status_code == 200, answer.text
        token: dict[str, Any] = answer.json()["data"]
        self.keep_secret(token["token"])
        return token

    def keep_secret(self, token: str) -> None:
        """Remember that `token`, in either spelling, must not be in any log."""
        self.secrets += [token, base64.urlsafe_b64encode(bytes.fromhex(token)).rstrip(b"=").decode()]

    def change(self, token: dict[str, Any], kind: str = "publish", **body: Any) -> dict[str, Any]:
        """Update a token (version 2)."""
        answer = self.api.put(f"/api/v2/{kind}_token/{token['id']}", json=body)
        assert answer.status_code == 200, answer.text
        changed: dict[str, Any] = answer.json()["data"]
        self.keep_secret(changed["token"])
        return changed

    def delete(self, token: dict[str, Any], kind: str = "publish") -> None:
        """Delete a token."""
        answer = self.api.delete(f"/api/{kind}_token/{token['id']}")
        assert answer.status_code == 200, answer.text

    # -- encoders and players

    def rtmp_url(self, name: str, query: str = "", application: str = "live", server: str = "") -> str:
        """Return the address of a stream on nginx-rtmp, or on another `server`."""
        return f"rtmp://{server or f'{HOST}:{self.rtmp}'}/{application}/{name}" + (f"?{query}" if query else "")

    def publish(
        self,
        name: str,
        query: str = "",
        *,
        seconds: float = 60,
        application: str = "live",
        server: str = "",
        picture: str = "testsrc2=size=160x120",
    ) -> subprocess.Popen[str]:
        """Start a real encoder."""
        source = f"{picture}:rate=25:duration={seconds}"
        tone = f"sine=frequency=440:sample_rate=48000:duration={seconds}"
        command = (
            ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", source]
            + ["-f", "lavfi", "-i", tone, "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "12"]
            + ["-pix_fmt", "yuv420p", "-c:a", "aac", "-f", "flv", self.rtmp_url(name, query, application, server)]
        )
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def refused(self, name: str, query: str = "") -> str:
        """Try to publish, see that it is refused, and return the reason in the access log."""
        before = len(self.log())
        encoder = self.publish(name, query, seconds=5)
        try:
            _, words = encoder.communicate(timeout=20)
        finally:
            encoder.kill()
        assert encoder.returncode != 0, "the encoder got in"
        assert "error" in words.lower(), words
        event = until(lambda: next((line for line in self.log()[before:] if line["action"] == "publish"), None))
        assert event["allowed"] is False
        reason: str = event["reason"]
        return reason

    def log(self) -> list[dict[str, Any]]:
        """Return the access log."""
        path = self.data / "access.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def on_air(self, name: str) -> None:
        """Wait until the stream has a playlist."""
        files = [self.folder / "nginx" / "hls" / directory / name / "index.m3u8" for directory in ("live", "pub")]
        until(lambda: any(file.exists() for file in files) or None, seconds=20)

    def watch(self, url: str) -> subprocess.Popen[str]:
        """Start a player that watches until it is ended."""
        command = ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-i", url, "-f", "null", "-"]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def decided(self, token: dict[str, Any], count: int) -> list[str]:
        """Wait until so many decisions about a token are in the access log, and return their reasons."""

        def reasons() -> list[str] | None:
            found = [line["reason"] for line in self.log() if line["token_id"] == token["id"]]
            return found if len(found) >= count else None

        return until(reasons)

    def frames(self, url: str) -> int:
        """Decode about a second of video from `url` with ffprobe and return the number of frames; 0 when refused."""
        command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-count_frames", "-read_intervals", "%+1"] + [
            "-show_entries",
            "stream=nb_read_frames",
            "-of",
            "json",
            url,
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=40)
        if result.returncode != 0:
            return 0
        streams = json.loads(result.stdout).get("streams") or [{}]
        return int(streams[0].get("nb_read_frames", 0))

    def hls_url(self, name: str, token: str = "") -> str:
        """Return the address of a playlist."""
        return f"http://{HOST}:{self.hls}/hls/" + (f"~{token}/" if token else "") + f"{name}/index.m3u8"


def until(what: Callable[[], T | None], seconds: float = 15.0) -> T:
    """Poll `what` until it gives something, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found is not None:
            return found
        time.sleep(0.05)
    raise AssertionError(f"did not come about within {seconds} s")


def stop(process: subprocess.Popen[str]) -> None:
    """End an encoder."""
    process.terminate()
    process.communicate(timeout=20)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running system for all tests of the session."""
    running = Stack(tmp_path_factory.mktemp("stack"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system of a module's own, which controls its nginx, and whose webhooks may call this machine."""
    running = Stack(tmp_path_factory.mktemp("controlled"), {"STAGEDOOR_WEBHOOK_NETWORKS": "127.0.0.0/8"})
    try:
        running.reach_nginx()
        yield running
    finally:
        running.close()


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    """Hand out `until`."""
    return until


@pytest.fixture(name="tap")
def tap_fixture() -> Iterator[Callable[[int, str], Tap]]:
    """Hand out relays to a port, from another address of this machine."""
    taps: list[Tap] = []

    def start(target: int, source: str) -> Tap:
        taps.append(Tap(target, source))
        return taps[-1]

    yield start
    for started in taps:
        started.close()


@pytest.fixture(name="stop")
def stop_fixture() -> Callable[[subprocess.Popen[str]], None]:
    """Hand out `stop`."""
    return stop


class HookVectors:
    """Hook calls as they came, and the recorded ones in tests/vectors/hooks: one for each event and set of fields."""

    folder = Path(__file__).parent.parent / "vectors" / "hooks"

    def __init__(self, *, record: bool) -> None:
        """With `record`, this run writes the recorded calls anew."""
        self._record = record

    def calls(self, stack: Stack) -> list[dict[str, Any]]:
        """Return the calls of this run, one for each shape, with secrets, account and port replaced."""
        found: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
        for raw in stack.tap.calls:
            call = _readable(raw, stack)
            if call is not None:
                found.setdefault((call["event"], tuple(call["fields"])), call)
        return [found[key] for key in sorted(found)]

    def recorded(self, engine: str, stack: Stack) -> list[dict[str, Any]]:
        """Return the recorded calls of `engine`, after writing them when this run is to."""
        file = self.folder / f"{engine}.json"
        if self._record:
            file.write_text(json.dumps(self.calls(stack), indent=2) + "\n")
        calls: list[dict[str, Any]] = json.loads(file.read_text())
        return calls


def _readable(raw: bytes, stack: Stack) -> dict[str, Any] | None:
    """Return an HTTP request as a vector; None for a request that was cut off."""
    head, separator, body = raw.decode("latin-1").partition("\r\n\r\n")
    if not separator:
        return None
    for number, secret in enumerate(stack.secrets):
        replacement = f"{number:x}".rjust(64, "e") if len(secret) == 64 else "S" * len(secret)
        head, body = head.replace(secret, replacement), body.replace(secret, replacement)
    head, body = (text.replace(stack.account, "ACCOUNT") for text in (head, body))
    for port in (stack.rtmp, stack.hls, stack.tap.port, stack.port):
        head, body = head.replace(f":{port}", ":1"), body.replace(f"%3A{port}", "%3A1").replace(f":{port}", ":1")
    request, *lines = head.split("\r\n")
    path = request.split()[1]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    headers = {name: value for name, value in headers.items() if name.startswith("x-")}
    fields = [pair.partition("=")[0] for pair in body.split("&")] if body else list(headers)
    event = dict(pair.partition("=")[::2] for pair in reversed(body.split("&"))).get("call", "hls")
    if event == "hls":
        fields.append("with a token" if "/~" in headers.get("x-original-uri", "") else "without a token")
    path = "".join(path.split("/", 4)[4:])
    return {"event": event, "fields": fields, "path": path, "headers": headers, "body": body}


@pytest.fixture
def hook_vectors(request: pytest.FixtureRequest) -> HookVectors:
    """Hand out this run's hook calls and the recorded ones."""
    return HookVectors(record=request.config.getoption("--record-hooks"))
