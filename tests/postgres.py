"""A real PostgreSQL server of the tests' own."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import asyncpg

from tests.ports import HOST, free_port

SETTINGS: Final = {
    "listen_addresses": HOST,
    "shared_buffers": "32MB",
    "autovacuum": "off",
    # What a power cut would take, no test asks for again.
    "fsync": "off",
    "full_page_writes": "off",
}


class PostgresServer:
    """A server with its files in `folder`, on a free port and on a socket in that folder; it trusts everybody."""

    def __init__(self, folder: Path) -> None:
        """Make the server's files and start it, and wait until it answers."""
        self.folder = folder
        self._programs = _find_programs()
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            # It refuses to run as root; its package makes a user for it.
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(folder, "postgres", "postgres")
        self.port = free_port()
        self._make()
        self._process = self._start()
        try:
            self._wait_until_ready()
            self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
            self._connection = self._runner.run(asyncpg.connect(self.url("postgres")))
        except BaseException:
            self._process.kill()
            self._process.wait(timeout=30)
            raise

    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://postgres@{HOST}:{self.port}/{database}"

    def run(self, statement: str) -> None:
        """Run a statement as the superuser, outside of any transaction. Not for use inside a coroutine."""
        self._runner.run(self._connection.execute(statement))

    def stop(self) -> None:
        """End the server, whoever is still connected, and wait until it is gone."""
        self._runner.run(self._connection.close())
        self._runner.close()
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=30)

    def _make(self) -> None:
        """Make its files, in the order of a language where it can: nothing of ours may depend on that."""
        initdb = str(self._programs / "initdb")
        known = subprocess.run([initdb, "--help"], capture_output=True, text=True).stdout
        language = ["--locale-provider=icu", "--icu-locale=en"] if "--icu-locale" in known else []
        made = subprocess.run(
            [initdb, "--pgdata=data", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", *language]
            + ["--no-sync"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            **self._user,
        )
        assert made.returncode == 0, made.stderr

    def _start(self) -> subprocess.Popen[bytes]:
        settings = {**SETTINGS, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                [
                    str(self._programs / "postgres"),
                    "-D",
                    "data",
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, and they end the server
                **self._user,
            )

    def _wait_until_ready(self) -> None:
        ask = [str(self._programs / "pg_isready"), "--quiet", f"--host={HOST}", f"--port={self.port}"]
        deadline = time.monotonic() + 30
        while subprocess.run(ask).returncode != 0:
            running = self._process.poll() is None and time.monotonic() < deadline
            assert running, (self.folder / "log").read_text()
            time.sleep(0.02)


def _find_programs() -> Path:
    """Return the directory of the newest server's programs; the distribution keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[4]))
    on_path = shutil.which("postgres")
    if on_path is not None:
        found.insert(0, Path(on_path).resolve())
    assert found, "PostgreSQL is missing; make test installs it"
    return found[-1].parent
