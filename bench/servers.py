"""Servers under measure: each runs on processor 0, and the load generator on processor 1."""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


@contextmanager
def server(command: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on processor 0."""
    process = subprocess.Popen(
        ["taskset", "-c", "0", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=HERE.parent,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def uvicorn(peer: str, port: int) -> list[str]:
    """Return the command for a peer, on the same server and loop as ours."""
    return [
        sys.executable,
        "-m",
        "uvicorn",
        f"bench.peers.{peer}:app",
        "--port",
        str(port),
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
        "--no-server-header",
        "--no-proxy-headers",
        "--lifespan",
        "off",
        "--log-level",
        "error",
    ]


def wait_for(url: str) -> None:
    """Wait until a server answers anything."""
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).read()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"no answer from port {url.split('/')[2]}")


def wrk(script: str, url: str, seconds: int, connections: int, *arguments: str) -> float:
    """Load `url` from processor 1 and return the answers a second; an answer that is no 2xx is an error."""
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / script), url]
    output = subprocess.run([*command, "--", *arguments], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output:
        raise SystemExit(f"a server refused what it should do:\n{output}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found is not None, output
    return float(found[1])


def memory(process: subprocess.Popen[bytes]) -> int:
    """Return the resident memory of a server, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024
