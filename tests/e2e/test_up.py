"""`stagedoor up` as a newcomer meets it, and the README's tour, run as written."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
STAGEDOOR = str(ROOT / ".venv/bin/stagedoor")
Until = Callable[..., Any]


@pytest.fixture(scope="module")
def ports() -> dict[str, str]:
    """Three free ports, as settings."""
    return {f"STAGEDOOR_{name}": str(free_port()) for name in ("PORT", "RTMP_PORT", "HLS_PORT")}


@contextmanager
def running(folder: Path, ports: dict[str, str], until: Until) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `stagedoor up` in `folder`; give the process and what it printed; end it with Ctrl-C."""
    output = folder / "up.txt"
    with output.open("w") as stream:
        process = subprocess.Popen(
            [STAGEDOOR, "up"], cwd=folder, env={**os.environ, **ports}, stdout=stream, stderr=stream, text=True
        )
    try:
        until(lambda: "Ctrl-C ends" in output.read_text() or process.poll() is not None or None, seconds=30)
        yield process, output.read_text()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def value(text: str, name: str) -> str:
    """Return what stands after `name` in the printed lines."""
    found = re.search(rf"^ *{name} +(\S+)", text, re.MULTILINE)
    assert found is not None, text
    return found[1]


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_free(port: str) -> bool:
    """Tell whether nothing listens on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) != 0


def test_up_prints_what_works_ends_with_ctrl_c_and_finds_its_data_again(
    tmp_path: Path, ports: dict[str, str], until: Until
) -> None:
    """The printed ffmpeg command publishes, the printed ffprobe command sees it; Ctrl-C ends all; again, the same data."""
    with running(tmp_path, ports, until) as (process, text):
        token, account = value(text, "publish token"), value(text, "account id")
        assert re.fullmatch(r"[0-9a-f]{64}", token)
        assert value(text, "API secret").startswith("sds_")
        publish = next(line for line in text.splitlines() if line.strip().startswith("ffmpeg"))
        watch = next(line for line in text.splitlines() if line.strip().startswith("ffprobe"))
        encoder = subprocess.Popen(["sh", "-c", f"exec {publish.strip()}"], stdin=subprocess.DEVNULL)
        try:
            seen = until(lambda: (shown := output_of(watch)) and "codec_name=h264" in shown and shown, seconds=25)
            assert "width=640" in seen
        finally:
            encoder.terminate()
            encoder.wait(timeout=20)
        started = children(process.pid)
        assert len(started) == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in started)
        assert all(is_free(port) for port in ports.values())
    with running(tmp_path, ports, until) as (_, text):
        assert value(text, "publish token") == token
        assert value(text, "account id") == account
        assert value(text, "API secret").startswith("sds_")
    assert (tmp_path / "var/first-account.json").stat().st_mode & 0o077 == 0
    assert (tmp_path / "var/keyring.json").stat().st_mode & 0o077 == 0
    assert (tmp_path / "var/nginx/nginx.conf").stat().st_mode & 0o077 == 0


def output_of(command: str) -> str | None:
    """Run a printed command; None when it fails."""
    result = subprocess.run(["sh", "-c", command.strip()], capture_output=True, text=True, timeout=30)
    return result.stdout if result.returncode == 0 else None


def failed(folder: Path, environment: dict[str, str], *wrapper: str) -> str:
    """Run `stagedoor up` where it cannot work; see that it fails with one line, and return that."""
    result = subprocess.run(
        [*wrapper, STAGEDOOR, "up"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode not in {0, 2}
    lines = [line for line in result.stderr.splitlines() if " INFO " not in line]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]


@pytest.mark.parametrize("name", ["PORT", "RTMP_PORT", "HLS_PORT"])
def test_a_taken_port_is_one_clear_line(tmp_path: Path, ports: dict[str, str], name: str) -> None:
    """Whichever port is taken: one line names it and says what to do, and nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        line = failed(tmp_path, {**ports, f"STAGEDOOR_{name}": number})
    assert number in line
    assert f"STAGEDOOR_{name}" in line
    assert all(is_free(port) for port in ports.values())


def test_one_port_for_two_servers_is_one_clear_line(tmp_path: Path, ports: dict[str, str]) -> None:
    """A port that two settings name is refused before anything is made, with both names."""
    line = failed(tmp_path, {**ports, "STAGEDOOR_HLS_PORT": ports["STAGEDOOR_PORT"]})
    assert "STAGEDOOR_PORT and STAGEDOOR_HLS_PORT are both" in line
    assert not (tmp_path / "var").exists()


def test_a_media_server_that_does_not_start_is_one_clear_line(tmp_path: Path, ports: dict[str, str]) -> None:
    """What `up` prints is true: where nginx takes its configuration and then ends, nothing is said to run."""
    fails = tmp_path / "nginx"
    fails.write_text('#!/bin/sh\ncase "$*" in *-t*) exit 0;; esac\nexit 1\n')
    fails.chmod(0o755)
    unprivileged = [] if os.geteuid() == 0 else ["--map-root-user"]
    hide = f'mount --bind {fails} /usr/sbin/nginx && exec "$@"'
    line = failed(tmp_path, ports, "unshare", "--mount", *unprivileged, "sh", "-c", hide, "sh")
    assert line == "stagedoor: nginx did not start; var/nginx/error.log says why"
    assert all(is_free(port) for port in ports.values())


def test_a_read_only_disk_is_one_clear_line(tmp_path: Path, ports: dict[str, str]) -> None:
    """Where nothing can be written, one line says so."""
    if os.geteuid() == 0:
        wrapper = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o ro none . && cd "$PWD" && exec "$@"', "sh"]
        line = failed(tmp_path, ports, *wrapper)
    else:
        tmp_path.chmod(0o500)
        line = failed(tmp_path, ports)
    assert "cannot write var" in line
    assert "choose a directory you can write" in line


def test_without_nginx_the_authority_runs_alone_and_says_so(
    tmp_path: Path, ports: dict[str, str], until: Until
) -> None:
    """On a machine without nginx's RTMP module `up` runs the authority, says so, and how to connect a server."""
    unprivileged = [] if os.geteuid() == 0 else ["--map-root-user"]
    hide = "mount --bind /dev/null /usr/sbin/nginx && " + 'exec "$@"'
    output = tmp_path / "alone.txt"
    with output.open("w") as stream:
        process = subprocess.Popen(
            ["unshare", "--mount", *unprivileged, "sh", "-c", hide, "sh", STAGEDOOR, "up"],
            cwd=tmp_path,
            env={**os.environ, **ports},
            stdout=stream,
            stderr=stream,
        )
    try:
        until(lambda: "Ctrl-C ends" in output.read_text() or None, seconds=30)
        assert "runs alone" in output.read_text()
        assert "stagedoor engine add nginx-rtmp" in output.read_text()
        assert len(children(process.pid)) == 1
        assert is_free(ports["STAGEDOOR_RTMP_PORT"])
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


_WITHOUT_POSTGRESQL = "if [ -d /usr/lib/postgresql ]; then mount -t tmpfs none /usr/lib/postgresql; fi"
"""Hides PostgreSQL's programs, where they are; the link to them that may be on the PATH leads nowhere then."""


def test_setup_without_a_package_manager(tmp_path: Path) -> None:
    """Without apt-get, what `up` cannot install it does without, and says so; what tests need is an error."""
    copy = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".git", "var", ".venv", "*cache*")
    shutil.copytree(ROOT, copy, ignore=ignored)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    hide = " && ".join(f"mount --bind /dev/null {path}" for path in ("/usr/bin/apt-get", "/usr/sbin/nginx"))
    hide += f" && {_WITHOUT_POSTGRESQL}"
    unprivileged = [] if os.geteuid() == 0 else ["--map-root-user"]

    def setup(purpose: str) -> subprocess.CompletedProcess[str]:
        script = f"{hide} && exec sh scripts/setup.sh {purpose}"
        command = ["unshare", "--mount", *unprivileged, "sh", "-c", script]
        return subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120)

    run = setup("run")
    assert run.returncode == 0, run.stderr
    assert "the authority runs alone" in run.stderr
    test = setup("test")
    assert test.returncode != 0
    assert "nginx libnginx-mod-rtmp postgresql" in test.stderr


@pytest.mark.parametrize(
    ("purpose", "packages", "services"),
    [
        ("run", "nginx libnginx-mod-rtmp", ["nginx"]),
        ("test", "nginx libnginx-mod-rtmp postgresql", ["nginx", "postgresql"]),
    ],
)
def test_setup_installs_programs_and_leaves_no_service(
    tmp_path: Path, purpose: str, packages: str, services: list[str]
) -> None:
    """It says what it will run, with sudo only when not root; services may not start meanwhile, and stay off after.

    The package manager and systemctl are stand-ins that write down how they were called: this machine has neither a
    system to break nor one that runs services. /usr/sbin and /usr/lib/postgresql are empty ones of the test's own.
    """
    calls = tmp_path / "calls"
    for user, sudo in ((0, ""), (1000, "sudo ")):
        result = setup_with_stand_ins(tmp_path / str(user), purpose, user, calls)
        said = f"I will run: {sudo}apt-get install --yes --no-install-recommends {packages}\n"
        assert said in result.stderr
        assert "keep packages from starting services" in result.stderr
        written = calls.read_text()
        assert f"apt-get install --yes --no-install-recommends -q {packages}\n" in written
        assert "#!/bin/sh\nexit 101" in written
        disabled = [line for line in written.splitlines() if line.startswith("systemctl")]
        assert disabled == [f"systemctl disable --now {service}" for service in services]
        assert ("sudo env DEBIAN_FRONTEND=noninteractive apt-get install" in written) == bool(sudo)
        assert result.stdout.split() == ["nginx"], "the policy is gone when it is done"


def test_setup_leaves_a_service_alone_that_was_here_before(tmp_path: Path) -> None:
    """An nginx without its RTMP module gets that, and goes on to start with the system."""
    calls = tmp_path / "calls"
    result = setup_with_stand_ins(tmp_path, "test", 0, calls, "touch /usr/sbin/nginx")
    assert "postgresql service stays off" in result.stderr
    disabled = [line for line in calls.read_text().splitlines() if line.startswith("systemctl")]
    assert disabled == ["systemctl disable --now postgresql"]


def setup_with_stand_ins(
    folder: Path, purpose: str, user: int, calls: Path, before: str = "true"
) -> subprocess.CompletedProcess[str]:
    """Run the set-up where neither nginx nor PostgreSQL is, with stand-ins that write down how they were called."""
    bin_ = folder / "bin"
    bin_.mkdir(parents=True)
    calls.write_text("")
    install = (
        'cat /usr/sbin/policy-rc.d >>"$CALLS"; touch /usr/sbin/nginx; case "$*" in *postgresql*)'
        " mkdir -p /usr/lib/postgresql/15/bin; touch /usr/lib/postgresql/15/bin/postgres;; esac"
    )
    for name, then in (
        ("apt-get", f'case "$*" in *install*) {install};; esac'),
        ("systemctl", ""),
        ("sudo", 'exec "$@"'),
    ):
        stand_in = bin_ / name
        stand_in.write_text(f'#!/bin/sh\necho "{name} $*" >>"$CALLS"\n{then}\n')
        stand_in.chmod(0o755)
    copy = folder / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "var", ".venv", "*cache*"))
    (copy / ".venv").symlink_to(ROOT / ".venv")
    outer = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    inner = "" if user == 0 else f"unshare --user --map-user={user} "
    stage = f"mount -t tmpfs none /usr/sbin && mount -t tmpfs none /run && mkdir -p /run/systemd/system && {before}"
    script = f"{stage} && {_WITHOUT_POSTGRESQL} && {inner}sh scripts/setup.sh {purpose}; ls /usr/sbin"
    environment = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "CALLS": str(calls)}
    return subprocess.run(
        [*outer, "sh", "-c", script], cwd=copy, env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_tour_of_the_readme_runs_as_written(tmp_path: Path, ports: dict[str, str], until: Until) -> None:
    """Every command of the five-minute tour, with only the ports replaced, does what the text says."""
    text = (ROOT / "README.md").read_text()
    tour = text.partition("## Five-minute tour")[2].partition("## Use it from scripts")[0]
    script = "\n".join(re.findall(r"```sh\n(.*?)```", tour, re.DOTALL))
    for default, name in (("8080", "PORT"), ("1935", "RTMP_PORT"), ("8088", "HLS_PORT")):
        script = script.replace(f":{default}", f":{ports[f'STAGEDOOR_{name}']}")
    script = script.replace(".venv/bin/stagedoor", STAGEDOOR)
    with running(tmp_path, ports, until):
        started = time.monotonic()
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}"],
            cwd=tmp_path,
            env={**os.environ, **ports},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        assert time.monotonic() - started < 300
    assert "refused, as it should be" in result.stdout
    assert "codec_name=h264" in result.stdout
    assert "REFUSED: stream_not_granted" in result.stdout
    assert '{"status":"success","data":true}' in result.stdout
    assert "refused, at once" in result.stdout
    last = [json.loads(line) for line in result.stdout.splitlines() if line.startswith('{"at"')]
    assert last[-1]["reason"] == "token_revoked"
    assert '{"stoppingLevel":"Stream"}' in result.stdout
    assert "authHTTPAddress: http://127.0.0.1:" in result.stdout
    assert "on_publish " in result.stdout
