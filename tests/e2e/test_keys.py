# ruff: noqa: D103
"""The keyring of a running system: sealed under a master key, everything sealed anew, while workers answer."""

import base64
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import free_port

STAGEDOOR = [sys.executable, "-m", "stagedoor"]
ONE, TWO = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
TABLES = ("token", "webhook", "signing_key", "verifier")


class System:
    """A system with an environment of its own."""

    def __init__(self, data: Path, **environment: str) -> None:
        """Take the data directory; nothing is made yet."""
        self.data = data
        self.environment = {**os.environ, **environment, "STAGEDOOR_DATA": str(data)}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def run(self, *arguments: str, given: str = "", environment: Mapping[str, str] | None = None) -> Any:
        """Run a command."""
        return subprocess.run(
            [*STAGEDOOR, *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            env={**self.environment, **(environment or {})},
        )

    def done(self, *arguments: str, given: str = "") -> str:
        """Return what a command prints that succeeds."""
        result = self.run(*arguments, given=given)
        assert result.returncode == 0, result.stderr
        printed: str = result.stdout
        return printed

    def refused(self, *arguments: str, given: str = "", environment: Mapping[str, str] | None = None) -> str:
        """Return the one line that a command is refused with, in which no key stands."""
        result = self.run(*arguments, given=given, environment=environment)
        assert (result.returncode, result.stdout) == (1, ""), result.stdout
        line: str = result.stderr
        assert line.startswith("stagedoor: ")
        assert line.count("\n") == 1, line
        assert ONE not in line
        assert TWO not in line
        return line

    @contextmanager
    def serving(self, workers: int = 2) -> Iterator[None]:
        """Serve it."""
        log = self.data.parent / "serve.log"
        command = [*STAGEDOOR, "serve", "--port", str(self.port), "--workers", str(workers)]
        with log.open("ab") as stream:
            process = subprocess.Popen(command, env=self.environment, stdout=stream, stderr=stream)
        try:
            deadline = time.monotonic() + 30
            while not self._ready():
                assert time.monotonic() < deadline, log.read_text()
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)

    def _ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        return False

    def keyring(self) -> dict[str, Any]:
        """Return the keyring's file."""
        content: dict[str, Any] = json.loads((self.data / "keyring.json").read_bytes())
        return content

    def marks(self) -> set[bytes]:
        """Return the names of the keys that sealed values name."""
        with sqlite3.connect(self.data / "stagedoor.db") as database:
            rows = [row[0] for table in TABLES for row in database.execute(f"SELECT sealed FROM {table}")]  # noqa: S608  our names
        database.close()
        return {sealed[1 : 1 + sealed[0]] for sealed in rows if sealed}


class Api:
    """The API of a system."""

    def __init__(self, system: System, secret: str) -> None:
        """Take the system and an API secret."""
        self._client = httpx.Client(
            base_url=system.url, headers={"Authorization": f"Bearer {secret}"}, timeout=20, trust_env=False
        )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the data of a success."""
        # A connection of its own each time, so that each worker is asked.
        answer = self._client.request(method, path, json=body, headers={"Connection": "close"})
        assert answer.status_code == 200, (method, path, answer.text)
        return answer.json()["data"]

    def issue(self) -> tuple[int, str]:
        """Make a token and return its id and its value."""
        made = self.call("POST", "/api/subscribe_token", {"label": "l", "streams": [{"streamName": "a"}]})
        return made["id"], made["token"]

    def value(self, token_id: int) -> str:
        """Return a token's value."""
        value: str = self.call("GET", f"/api/subscribe_token/{token_id}")["token"]
        return value

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class Busy:
    """Does something again and again, in a thread, until it is stopped; what goes wrong is raised then."""

    def __init__(self, work: Callable[[], None]) -> None:
        """Begin."""
        self.times = 0
        self._work, self._stopped, self._errors = work, threading.Event(), list[BaseException]()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._work()
            except BaseException as error:  # noqa: BLE001  it is raised where the test sees it
                self._errors.append(error)
                return
            self.times += 1
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop, and raise what went wrong."""
        self._stopped.set()
        self._thread.join(timeout=30)
        if self._errors:
            raise self._errors[0]


def test_everything_is_sealed_anew_while_workers_answer(tmp_path: Path) -> None:
    """Values of tokens are read, made and renewed all the time; nothing fails, and all are readable afterwards."""
    (tmp_path / "key").write_text(ONE)
    system = System(tmp_path / "data", STAGEDOOR_MASTER_KEY_FILE=str(tmp_path / "key"))
    secret = json.loads(system.done("init", "--json"))["apiSecret"]
    with system.serving():
        api, maker = Api(system, secret), Api(system, secret)
        tokens = dict(api.issue() for _ in range(40))
        webhook = api.call("POST", "/api/webhooks", {"url": "https://receiver.example", "isFeedHooks": True})
        renewed, _ = api.issue()
        made: dict[int, str] = {}
        first = sorted(tokens)

        def read() -> None:
            for token_id in first[:5]:
                assert api.value(token_id) == tokens[token_id]

        def make() -> None:
            token_id, value = maker.issue()
            assert maker.value(token_id) == value
            made[token_id] = value
            answer = maker.call("PUT", f"/api/subscribe_token/{renewed}", {"refreshToken": True})
            made[renewed] = answer["token"]

        readers = [Busy(read), Busy(make)]
        time.sleep(0.3)
        printed = system.done("reseal", "--settle", "3")
        time.sleep(0.3)
        for reader in readers:
            reader.stop()
        assert min(reader.times for reader in readers) > 5
        assert "sealed anew" in printed
        assert system.marks() == {b"2"}
        assert system.keyring()["seal_with"] == "2"
        everything = tokens | made
        assert {token_id: api.value(token_id) for token_id in everything} == everything
        api.close()
        maker.close()
    # Also with the keyring as it is on the disk, where the old key is gone.
    with system.serving(workers=1):
        api = Api(system, secret)
        assert {token_id: api.value(token_id) for token_id in everything} == everything
        assert api.call("GET", f"/api/webhooks/{webhook['id']}")["secret"] == webhook["secret"]
        api.close()


def test_a_process_that_is_killed_while_it_seals_anew_loses_nothing(tmp_path: Path) -> None:
    """The next run finishes what it began, without another key."""
    system = System(tmp_path / "data")
    secret = json.loads(system.done("init", "--json"))["apiSecret"]
    with system.serving(workers=1):
        api = Api(system, secret)
        tokens = dict(api.issue() for _ in range(5))
        killed = subprocess.Popen([*STAGEDOOR, "reseal", "--settle", "60"], env=system.environment)
        deadline = time.monotonic() + 30
        while system.keyring()["seal_with"] == "1":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        killed.kill()
        killed.wait(timeout=30)
        assert {token_id: api.value(token_id) for token_id in tokens} == tokens
        tokens |= dict([api.issue()])
        system.done("reseal", "--settle", "0")
        assert sorted(system.keyring()["sealing_keys"]) == ["2"]
        assert system.marks() == {b"2"}
        assert {token_id: api.value(token_id) for token_id in tokens} == tokens
        api.close()


def test_a_system_under_a_master_key_from_its_first_moment(tmp_path: Path) -> None:
    """No key stands readable anywhere in its directory; without the master key, or with another, nothing opens it."""
    system = System(tmp_path / "data", STAGEDOOR_MASTER_KEY=ONE)
    first = json.loads(system.done("init", "--json"))
    assert set(system.keyring()) == {"version", "seal_with", "wrapped"}
    assert all(ONE.encode() not in path.read_bytes() for path in system.data.iterdir() if path.is_file())
    system.done("secret", "list", first["accountId"])
    listed = ("secret", "list", first["accountId"])
    assert "does not open with this master key" in system.refused(*listed, environment={"STAGEDOOR_MASTER_KEY": TWO})
    assert "set STAGEDOOR_MASTER_KEY" in system.refused(*listed, environment={"STAGEDOOR_MASTER_KEY": ""})
    assert "32 random bytes" in system.refused(*listed, environment={"STAGEDOOR_MASTER_KEY": "x"})
    assert ONE not in system.done("config", "check")
    assert json.loads(system.done("config", "check", "--json"))["master_key"] == "***"


def test_a_master_key_is_changed_taken_and_given_up(tmp_path: Path) -> None:
    """Plain to sealed, to another key, by every way there is, and back; each leaves the same keys."""
    system = System(tmp_path / "data")
    first = json.loads(system.done("init", "--json"))
    before = system.keyring()
    listed = ("secret", "list", first["accountId"])
    shown = system.done(*listed)
    # A line of standard input, where the key stands in no list of processes.
    assert "set that one" in system.done("master-key", "change", given=f"{ONE}\n")
    system.refused(*listed)
    system.environment["STAGEDOOR_MASTER_KEY"] = ONE
    assert system.done(*listed) == shown
    new = tmp_path / "new"
    new.write_text(TWO)
    system.done("master-key", "change", "--new-file", str(new))
    system.refused(*listed)
    del system.environment["STAGEDOOR_MASTER_KEY"]
    system.environment["STAGEDOOR_MASTER_KEY_COMMAND"] = f"cat {new}"
    assert system.done(*listed) == shown
    refused = system.refused("master-key", "change", "--none", "--new-file", str(new))
    assert "one of" in refused
    assert "32 random bytes" in system.refused("master-key", "change", given="nothing\n")
    assert system.done(*listed) == shown
    system.done("master-key", "change", "--none")
    assert system.keyring() == before
    # One that is not sealed is refused where a master key is set, and what the words say helps.
    assert "stagedoor master-key change" in system.refused(*listed)
    system.done("master-key", "change", "--new-command", f"cat {new}")
    assert system.done(*listed) == shown
    assert (system.data / "keyring.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("both", [{"STAGEDOOR_MASTER_KEY": ONE, "STAGEDOOR_MASTER_KEY_FILE": "/run/key"}])
def test_two_master_keys_are_refused(tmp_path: Path, both: dict[str, str]) -> None:
    assert "not several" in System(tmp_path / "data", **both).refused("init")
