"""The commands that scripts rely on, on a real system."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port

STAGEDOOR = [sys.executable, "-m", "stagedoor"]
Until = Callable[..., Any]


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    return subprocess.run(
        [*STAGEDOOR, *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **(environment or {})}
    )


def test_init_engines_and_explain(tmp_path: Path) -> None:
    """The JSON of each command has the fields it promises; what is wrong is one line and a status that is not 0."""
    data = ["--data", str(tmp_path / "data")]
    refused = run("serve", *data)
    assert refused.returncode == 1
    assert "stagedoor init" in refused.stderr
    first = json.loads(run("init", *data, "--email", "op@example.com", "--json").stdout)
    assert set(first) == {"accountId", "apiSecret", "adminEmail", "adminPassword"}
    assert first["adminEmail"] == "op@example.com"
    again = run("init", *data, "--json")
    assert again.returncode == 1
    assert again.stdout == ""
    assert "there is an account already" in again.stderr
    for kind, mark in (("mediamtx", "authHTTPAddress: "), ("nginx-rtmp", "on_publish      ")):
        added = json.loads(run("engine", "add", kind, "--name", kind, *data, "--json").stdout)
        assert set(added) == {"engineId", "hookSecret", "hookUrl", "config"}
        assert added["hookUrl"] == f"http://127.0.0.1:8080/hooks/{kind}/{added['hookSecret']}"
        assert mark + added["hookUrl"] in added["config"]
    assert "another name" in run("engine", "add", "mediamtx", "--name", "mediamtx", *data).stderr
    assert "no account" in run("engine", "add", "mediamtx", "--name", "x", "--account", "nobody", *data).stderr
    listed = json.loads(run("engine", "list", *data, "--json").stdout)
    assert [engine["name"] for engine in listed] == ["mediamtx", "nginx-rtmp"]
    assert "hookSecret" not in listed[0]
    assert run("engine", "remove", "mediamtx", *data).returncode == 0
    assert run("engine", "remove", "mediamtx", *data).returncode == 1
    explained = run("explain", *data, "--action", "publish", "--stream", f"{first['accountId']}/cam", "--json")
    content = json.loads(explained.stdout)
    assert content["decision"]["allowed"] is False
    assert content["decision"]["reason"] == "token_missing"
    assert [rule["rule"] for rule in content["rules"] if rule["decisive"]] == ["token shown"]
    assert "write ACCOUNT/NAME" in run("explain", *data, "--action", "publish", "--stream", "cam").stderr


def test_an_unknown_setting_is_an_error() -> None:
    """A misspelt variable is named, and nothing runs."""
    result = run("config", "check", environment={"STAGEDOOR_PROT": "1"})
    assert result.returncode == 1
    assert result.stderr.startswith("stagedoor: STAGEDOOR_PROT is no setting")
    assert json.loads(run("config", "check", "--json", environment={"STAGEDOOR_PORT": "81"}).stdout)["port"] == "81"


def test_a_revocation_reaches_every_worker_before_it_returns(tmp_path: Path, until: Until) -> None:
    """Two workers, both warm: once a delete has returned, no connection to either is let in; a new token works at once."""
    data = tmp_path / "data"
    first = json.loads(run("init", "--data", str(data), "--json").stdout)
    engine = json.loads(run("engine", "add", "mediamtx", "--name", "m", "--data", str(data), "--json").stdout)
    with httpx.Client() as probe:
        port = free_port()
        started = time.monotonic()
        process = subprocess.Popen([*STAGEDOOR, "serve", "--data", str(data), "--port", str(port), "--workers", "2"])
        try:
            until(lambda: _ready(probe, port) or None)
            assert time.monotonic() - started < 5
            hook = engine["hookUrl"].replace(":8080/", f":{port}/")
            api = httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {first['apiSecret']}"},
                timeout=20,
            )
            for _ in range(10):
                body = {"label": "x", "streams": [{"streamName": "cam"}]}
                token = api.post("/api/publish_token", json=body).json()["data"]
                call = {
                    "action": "publish",
                    "path": f"{first['accountId']}/cam",
                    "token": token["token"],
                    "protocol": "rtmp",
                }
                assert {_ask(hook, call) for _ in range(20)} == {200}
                assert api.delete(f"/api/publish_token/{token['id']}").status_code == 200
                assert {_ask(hook, call) for _ in range(20)} == {403}
            api.close()
            workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert len(workers) == 2
        finally:
            process.terminate()
            assert process.wait(timeout=20) == 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def _ask(hook: str, call: dict[str, str]) -> int:
    """Ask on a connection of its own, as media servers do."""
    return httpx.post(hook, json=call).status_code


def _ready(probe: httpx.Client, port: int) -> bool:
    try:
        return all(probe.get(f"http://127.0.0.1:{port}/{path}").status_code == 200 for path in ("healthz", "readyz"))
    except httpx.HTTPError:
        return False
