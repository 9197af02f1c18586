"""HTTPS as `stagedoor serve` speaks it, and what it says of certificates that it cannot use."""

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from stagedoor.config import Settings
from stagedoor.model.errors import ConfigError
from stagedoor.server import serve
from tests.certificates import Certificates, make_certificates
from tests.ports import free_port

STAGEDOOR = [sys.executable, "-m", "stagedoor"]
Until = Callable[..., Any]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate for this machine, and who signed it."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A new system: its API secret, and the settings that `serve` finds it with."""
    data = str(tmp_path_factory.mktemp("system") / "data")
    made = subprocess.run([*STAGEDOOR, "init", "--data", data, "--json"], check=True, capture_output=True, timeout=60)
    return {
        "secret": json.loads(made.stdout)["apiSecret"],
        "STAGEDOOR_DATA": data,
        "STAGEDOOR_PORT": str(free_port()),
    }


def environment(system: dict[str, str], certificate: Path | str, key: Path | str) -> dict[str, str]:
    """Return the environment of `serve` with a certificate."""
    files = {"STAGEDOOR_TLS_CERTIFICATE": str(certificate), "STAGEDOOR_TLS_KEY": str(key)}
    return {**os.environ, **{name: system[name] for name in ("STAGEDOOR_DATA", "STAGEDOOR_PORT")}, **files}


@contextmanager
def serving(system: dict[str, str], certificates: Certificates, until: Until) -> Iterator[tuple[str, Path]]:
    """Run `stagedoor serve` with a certificate; give its address and its log."""
    log = Path(system["STAGEDOOR_DATA"]).parent / "serve.log"
    settings = environment(system, certificates.certificate, certificates.key)
    with log.open("wb") as stream:
        process = subprocess.Popen([*STAGEDOOR, "serve"], env=settings, stdout=stream, stderr=stream)
    try:
        until(lambda: "listens on https://" in log.read_text() or process.poll() is not None or None, seconds=30)
        yield f"127.0.0.1:{system['STAGEDOOR_PORT']}", log
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_the_api_and_hooks_are_reached_over_https_alone(
    system: dict[str, str], certificates: Certificates, until: Until
) -> None:
    """Who trusts the authority gets in by name and by address; who does not, and who speaks plain HTTP, gets nothing."""
    secret = {"Authorization": f"Bearer {system['secret']}"}
    body = {"label": "over TLS", "streams": [{"streamName": "cam"}]}
    with serving(system, certificates, until) as (address, log):
        with httpx.Client(verify=certificates.client(), base_url=f"https://{address}") as client:
            assert until(lambda: _status(client, "/readyz")) == 200
            created = client.post("/api/publish_token", json=body, headers=secret)
            assert (created.status_code, created.json()["data"]["label"]) == (200, "over TLS")
            # The short way of hooks too: an engine that nobody added is told so.
            assert client.post("/hooks/mediamtx/nobody", content=b"{}").status_code == 403
            by_name = client.get(f"https://localhost:{system['STAGEDOOR_PORT']}/healthz")
            assert (by_name.status_code, by_name.text) == (200, "ok\n")
            assert client.get("/openapi.json").json()["servers"] == [{"url": f"https://{address}"}]
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(f"https://{address}/healthz", timeout=10)
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://{address}/healthz", timeout=10)
        assert system["secret"] not in log.read_text()


def test_old_versions_of_tls_are_refused(system: dict[str, str], certificates: Certificates, until: Until) -> None:
    """1.2 is the oldest that is spoken (RFC 8996)."""
    with serving(system, certificates, until) as (address, _log):
        host, port = address.split(":")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = certificates.client()
            context.minimum_version = context.maximum_version = version
            with (
                socket.create_connection((host, int(port)), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as wrapped,
            ):
                assert wrapped.version() == version.name.replace("_", ".")
        old = certificates.client()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            old.wrap_socket(plain, server_hostname="localhost")


def test_files_that_are_no_certificate_and_key_are_refused_before_anything_is_served(
    system: dict[str, str], certificates: Certificates, tmp_path: Path
) -> None:
    """What is said names both files: missing, a directory, swapped, of another key, no PEM, empty."""
    other = make_certificates(tmp_path / "other")
    words = tmp_path / "words.pem"
    words.write_text("not a certificate\n")
    empty = tmp_path / "empty.pem"
    empty.touch()
    locked = tmp_path / "locked.pem"
    locked.write_bytes(_encrypted(certificates.key))
    wrong: list[tuple[Path, Path]] = [
        (tmp_path / "nothing.pem", certificates.key),
        (certificates.certificate, tmp_path / "nothing.pem"),
        (tmp_path, certificates.key),
        (certificates.key, certificates.certificate),
        (certificates.certificate, other.key),
        (words, certificates.key),
        (certificates.certificate, words),
        (empty, empty),
        # With a password nobody is there to type: it must not wait for one.
        (certificates.certificate, locked),
    ]
    data, port = Path(system["STAGEDOOR_DATA"]), int(system["STAGEDOOR_PORT"])
    for certificate, key in wrong:
        with pytest.raises(ConfigError) as refused:
            serve(Settings(data=data, port=port, tls_certificate=certificate, tls_key=key))
        said = refused.value.message
        assert f"cannot use {certificate} with {key}: " in said, said
        assert "PEM" in said, said
    certificate, key = wrong[0]
    printed = subprocess.run(
        [*STAGEDOOR, "serve"], env=environment(system, certificate, key), capture_output=True, text=True, timeout=60
    )
    assert (printed.returncode, printed.stderr.count("\n")) == (1, 1)
    assert printed.stderr.startswith(f"stagedoor: cannot use {certificate} with {key}: ")


def _status(client: httpx.Client, path: str) -> int | None:
    try:
        return client.get(path).status_code
    except httpx.ConnectError:
        return None


def _encrypted(key: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    return serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a password"),
    )
