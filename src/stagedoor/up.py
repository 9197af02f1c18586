"""`stagedoor up`: an authority, an nginx-rtmp of our own, a first account and token, for a first look.

What it makes stays in the data directory and is found again. It keeps the first account's credentials in a file that
only its owner can read, since an API secret is never shown twice; nothing needs that file.
"""

import asyncio
import itertools
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stagedoor.app import administration, create_data, hook_url
from stagedoor.config import Settings
from stagedoor.keyring_file import write_private
from stagedoor.live.nginx import OwnNginx, find_nginx
from stagedoor.model.engine import EngineKind
from stagedoor.model.errors import ConfigError, StagedoorError
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind, TokenTerms
from stagedoor.server import listen
from stagedoor.service.engines import AddedEngine
from stagedoor.service.ports import Page, SortBy
from stagedoor.store.countries import install_country_file, packaged_country_file

STREAM: Final = "stage"
_ENGINE: Final = "up-nginx"
_LABEL: Final = "first publish token"
_READY_SECONDS: Final = 15.0
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  no listening
"""By the names for all addresses, one that is among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _FirstLook:
    account: AccountId
    api_secret: Secret | None
    publish_token: Secret
    engine: AddedEngine


def up(settings: Settings) -> int:
    """Start everything, tell how to use it, and wait for Ctrl-C; return the exit status.

    Raises: ConfigError when a port is taken or a directory cannot be written.
    """
    _check_ports(settings)
    look = asyncio.run(_first_look(settings))
    _install_countries(settings)
    nginx = _own_nginx(settings, look.engine)
    listen(settings.host, settings.port).close()
    children: list[subprocess.Popen[bytes]] = []
    # Installed before the first child, so that there is never one that a signal would leave behind.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        children.append(_start_authority(settings))
        _wait_until_ready(settings, children[0])
        if nginx is not None:
            children.append(nginx.start())
            _wait_until_listening(settings, children[1])
        print(_text(settings, look, with_nginx=nginx is not None), flush=True)
        return _wait(children)
    except KeyboardInterrupt:
        return 0
    finally:
        _end(children)


def _check_ports(settings: Settings) -> None:
    """Refuse to give one port to two servers.

    Raises: ConfigError.
    """
    ports = {
        "STAGEDOOR_PORT": settings.port,
        "STAGEDOOR_RTMP_PORT": settings.rtmp_port,
        "STAGEDOOR_HLS_PORT": settings.hls_port,
    }
    for (name, port), (other, same) in itertools.combinations(ports.items(), 2):
        if port == same:
            raise ConfigError(f"{name} and {other} are both {port}; set one of them to another port")


def _install_countries(settings: Settings) -> None:
    """Take the file of countries that was downloaded, where there is none yet; without one, countries are unknown."""
    source = packaged_country_file()
    if settings.country_file != Path() or settings.countries.exists() or source is None:
        return
    try:
        info = install_country_file(source, settings.countries)
    except StagedoorError as error:
        print(f"stagedoor: {error.message}; until then countries are unknown", file=sys.stderr)
    else:
        print(f"Countries of {info.built:%B %Y}: IP Geolocation by DB-IP, https://db-ip.com", flush=True)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


async def _first_look(settings: Settings) -> _FirstLook:
    """Find the first account, its token and its engine, or make them."""
    create_data(settings)
    notes = settings.data / "first-account.json"
    async with administration(settings) as admin:
        accounts = await admin.store.accounts()
        if accounts:
            account = accounts[0]
        else:
            first = await admin.accounts.create_first("admin@localhost")
            account = first.account
            credentials = {
                "accountId": account,
                "apiSecret": first.api_secret.reveal(),
                "adminEmail": first.admin_email,
                "adminPassword": first.admin_password.reveal(),
            }
            write_private(notes, json.dumps(credentials, indent=2).encode() + b"\n")
        oldest = Page(1, 100, SortBy.ADDED_ON)
        tokens = await admin.tokens.list(account, TokenKind.PUBLISH, oldest)
        token = next((issued for issued in tokens if issued.record.terms.label == _LABEL), None)
        if token is None:
            terms = TokenTerms(label=_LABEL, streams=(StreamPattern(STREAM),))
            token = await admin.tokens.issue(account, TokenKind.PUBLISH, terms)
        control, media = _own_urls(settings) if find_nginx() is not None else ("", "")
        if any(engine.name == _ENGINE for engine in await admin.engines.list()):
            await admin.engines.set(_ENGINE, control_url=control, media_url=media)
            engine = await admin.engines.renew_secret(_ENGINE)
        else:
            engine = await admin.engines.add(
                EngineKind.NGINX_RTMP, _ENGINE, account, control_url=control, media_url=media
            )
    return _FirstLook(
        account=account, api_secret=_noted_secret(notes, account), publish_token=token.secret, engine=engine
    )


def _noted_secret(notes: Path, account: AccountId) -> Secret | None:
    """Return the API secret that the first start wrote down, while its file is still there."""
    try:
        noted = json.loads(notes.read_bytes())
    except (OSError, ValueError):
        return None
    return Secret(noted["apiSecret"]) if noted.get("accountId") == account and "apiSecret" in noted else None


def _own_urls(settings: Settings) -> tuple[str, str]:
    """Return where the media server that we start is controlled, and where it plays, as its own machine reaches it."""
    host = _LOOPBACK.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.hls_port}", f"rtmp://{host}:{settings.rtmp_port}"


def _own_nginx(settings: Settings, engine: AddedEngine) -> OwnNginx | None:
    """Prepare the media server; None when it is not installed.

    Raises: ConfigError when its ports are taken or it does not take its configuration.
    """
    found = find_nginx()
    if found is None:
        return None
    program, module = found
    for name, port in (("STAGEDOOR_RTMP_PORT", settings.rtmp_port), ("STAGEDOOR_HLS_PORT", settings.hls_port)):
        try:
            listen(settings.host, port).close()
        except ConfigError:
            raise ConfigError(
                f"port {port} on {settings.host} is taken; stop what uses it, or set {name} to another"
            ) from None
    nginx = OwnNginx(
        program=program,
        module=module,
        run=settings.data / "nginx",
        hook_url=hook_url(settings, EngineKind.NGINX_RTMP, engine.hook_secret),
        control_secret=engine.control_secret,
        host=settings.host,
        rtmp=settings.rtmp_port,
        hls=settings.hls_port,
    )
    nginx.check()
    return nginx


def _start_authority(settings: Settings) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "stagedoor",
        "serve",
        "--data",
        str(settings.data),
        "--host",
        settings.host,
        "--port",
        str(settings.port),
        "--workers",
        str(settings.workers),
    ]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)


def _wait_until_ready(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    """Wait until the authority answers.

    Raises: ConfigError when it does not; what is wrong, it has said itself.
    """
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{settings.url}/readyz", timeout=1):  # noqa: S310  our own http address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise ConfigError("the authority did not start; its message is above")


def _wait_until_listening(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    """Wait until the media server takes connections on both of its ports.

    Raises: ConfigError when it does not.
    """
    host = _LOOPBACK.get(settings.host, settings.host)
    deadline = time.monotonic() + _READY_SECONDS
    for port in (settings.rtmp_port, settings.hls_port):
        while not _takes(host, port):
            if time.monotonic() > deadline or process.poll() is not None:
                raise ConfigError(f"nginx did not start; {settings.data / 'nginx' / 'error.log'} says why")
            time.sleep(0.05)


def _takes(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait(children: list[subprocess.Popen[bytes]]) -> int:
    """Wait until a child ends, which none should; return the exit status."""
    ended = None
    while ended is None:
        time.sleep(0.2)
        ended = next((child for child in children if child.poll() is not None), None)
    name = "the authority" if ended is children[0] else "nginx"
    print(f"stagedoor: {name} ended with status {ended.returncode}; stopping", file=sys.stderr)
    return 1


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    """End what was started, the last first, and wait for it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for child in reversed(children):
        child.terminate()
        try:
            child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _text(settings: Settings, look: _FirstLook, *, with_nginx: bool) -> str:
    """Say what runs and how to use it."""
    secret = look.api_secret
    lines = [
        "",
        f"Stagedoor runs at {settings.url}",
        "",
        f"  account id      {look.account}",
        f"  API secret      {secret.reveal() if secret else '(shown at the first start, and kept nowhere since)'}",
        f"  publish token   {look.publish_token.reveal()}",
        f"                  for the stream {STREAM}",
        "",
    ]
    if not with_nginx:
        return "\n".join(
            [
                *lines,
                "nginx with its RTMP module is not installed here, so the authority runs alone. Connect a media server:",
                f"  stagedoor engine add nginx-rtmp --name my-server --account {look.account} --data {settings.data}",
                "",
                "Ctrl-C ends it.",
            ]
        )
    rtmp = f"rtmp://{settings.host}:{settings.rtmp_port}/live/{STREAM}"
    hls = f"http://{settings.host}:{settings.hls_port}/hls/{STREAM}/index.m3u8"
    return "\n".join(
        [
            *lines,
            "Go live with a test picture:",
            f"  {publish_command(f'{rtmp}?token={look.publish_token.reveal()}')}",
            "Watch it (after a few seconds):",
            f"  ffplay {hls}",
            f"  ffprobe -v error -show_entries stream=codec_name,width,height {hls}",
            "See every decision and its reason:",
            f"  tail -f {settings.access_log_file}",
            "",
            "Ctrl-C ends everything.",
        ]
    )


def publish_command(url: str) -> str:
    """Return an ffmpeg command that publishes a test picture and a tone to `url`."""
    return (
        "ffmpeg -hide_banner -loglevel warning -re -f lavfi -i testsrc2=size=640x360:rate=25"
        " -f lavfi -i sine=frequency=440:sample_rate=48000 -c:v libx264 -preset veryfast -tune zerolatency -g 25"
        f" -pix_fmt yuv420p -c:a aac -f flv '{url}'"
    )
