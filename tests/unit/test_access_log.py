"""The access log."""

import asyncio
import json
import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.decision import Decision, Reason
from stagedoor.model.errors import ConfigError
from stagedoor.model.ids import AccountId, StreamId, TokenId
from stagedoor.service.ports import AccessEvent
from stagedoor.store import access_log
from stagedoor.store.access_log import AccessLogFile

ACCESS = Access(Action.PUBLISH, StreamId(AccountId("acct"), "show"), Protocol.RTMP, "192.0.2.1")


def _event(at: float = 0.0, reason: Reason = Reason.OK, client_ip: str = "192.0.2.1") -> AccessEvent:
    return AccessEvent(at, Decision(reason, 4), "publish", ACCESS, client_ip, TokenId(7), "edge-1", "s1")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the log is."""
    return tmp_path / "log" / "access.log"


@pytest.fixture
def log(path: Path) -> AccessLogFile:
    """Return a log whose writer does not run: a test writes with `_flush`."""
    path.parent.mkdir()
    return AccessLogFile(path)


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Return a way to let no file grow beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_decision_is_one_line_of_json(log: AccessLogFile, path: Path) -> None:
    """With everything that is told of it, and the time in UTC."""
    log.record(_event(1_000_000.5, Reason.TOKEN_EXPIRED))
    log._flush()
    assert _lines(path) == [
        {
            "at": "1970-01-12T13:46:40.500000Z",
            "allowed": False,
            "reason": "token_expired",
            "shadowed": None,
            "action": "publish",
            "stream": "acct/show",
            "token_id": 7,
            "client_ip": "192.0.2.1",
            "protocol": "rtmp",
            "engine": "edge-1",
            "session": "s1",
            "revision": 4,
            "child": "",
        }
    ]


def test_a_decision_that_shadow_mode_let_through_says_for_what(log: AccessLogFile, path: Path) -> None:
    """It was allowed, and the reason that would have refused it stands beside it."""
    decision = Decision(Reason.OK_SHADOW, 4, Reason.TOKEN_EXPIRED)
    log.record(AccessEvent(0.0, decision, "publish", ACCESS, "192.0.2.1", TokenId(7), "edge-1", "s1"))
    log._flush()
    (line,) = _lines(path)
    assert (line["allowed"], line["reason"], line["shadowed"]) == (True, "ok_shadow", "token_expired")


def test_a_notice_has_the_same_fields(log: AccessLogFile, path: Path) -> None:
    """Those it says nothing about are empty."""
    log.record(_event())
    log.record(AccessEvent(1.0, Decision(Reason.OK_ENGINE, 1), "relay", None, "", None, "edge-1", ""))
    log._flush()
    first, second = _lines(path)
    assert list(first) == list(second)
    assert (second["action"], second["stream"], second["protocol"]) == ("relay", "", "")


def test_what_a_client_sends_cannot_forge_a_line(log: AccessLogFile, path: Path) -> None:
    """Line ends and quotes stay inside their field."""
    hostile = '1.2.3.4"}\n{"at":"forged"}\r\x00\u2028'
    log.record(_event(client_ip=hostile))
    log._flush()
    assert path.read_bytes().count(b"\n") == 1
    assert json.loads(path.read_bytes())["client_ip"] == hostile


def test_nothing_is_written_until_it_is_flushed(log: AccessLogFile, path: Path) -> None:
    """`record` touches memory only."""
    log.record(_event())
    assert path.read_bytes() == b""


def test_a_batch_is_in_order_of_time(log: AccessLogFile, path: Path) -> None:
    """Refusals and the rest are kept apart and told together."""
    for at, reason in ((3.0, Reason.OK), (1.0, Reason.TOKEN_MISSING), (2.0, Reason.OK), (4.0, Reason.TOKEN_UNKNOWN)):
        log.record(_event(at, reason))
    log._flush()
    assert [line["at"][17:19] for line in _lines(path)] == ["01", "02", "03", "04"]
    assert [line["allowed"] for line in _lines(path)] == [False, True, True, False]


def test_an_old_file_is_continued(log: AccessLogFile, path: Path) -> None:
    """A restart loses nothing that was told."""
    log.record(_event())
    log._flush()
    again = AccessLogFile(path)
    again.record(_event())
    again._flush()
    assert len(_lines(path)) == 2


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_a_flood_of_allowed_accesses_is_bounded_and_displaces_no_refusal(
    log: AccessLogFile, path: Path, extra: int
) -> None:
    """What finds no room is counted, and the count is told; refusals have room of their own."""
    event = _event()
    for _ in range(access_log._QUEUE + extra):
        log.record(event)
    log.record(_event(reason=Reason.TOKEN_UNKNOWN))
    assert len(log._allowed) == access_log._QUEUE + min(extra, 0)
    assert len(log._refused) == 1
    log._flush()
    lines = _lines(path)
    assert [line["reason"] for line in lines if not line.get("allowed", True)] == ["token_unknown"]
    assert [line["dropped"] for line in lines if "dropped" in line] == ([extra] if extra > 0 else [])


async def test_the_writer_writes_the_rest_when_it_is_stopped(log: AccessLogFile, path: Path) -> None:
    """More than one batch too."""
    count = 3 * access_log._BATCH + 1
    running = asyncio.create_task(log.run())
    await asyncio.sleep(0)
    for _ in range(count):
        log.record(_event())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(_lines(path)) == count


@pytest.mark.parametrize("anew", [False, True])
def test_a_file_that_was_moved_away_is_opened_anew(log: AccessLogFile, path: Path, anew: bool) -> None:
    """Log rotation moves it, and may or may not make a new one."""
    log.record(_event())
    log._flush()
    path.rename(path.with_suffix(".1"))
    if anew:
        path.touch()
    log.record(_event())
    log._flush()
    assert len(_lines(path)) == len(_lines(path.with_suffix(".1"))) == 1


def test_a_log_that_cannot_be_opened_is_a_config_error(tmp_path: Path) -> None:
    """At the start, not at the first decision."""
    with pytest.raises(ConfigError, match="make the data directory writable"):
        AccessLogFile(tmp_path / "missing" / "access.log")


def test_a_disk_that_takes_nothing_is_counted(
    log: AccessLogFile, path: Path, file_size_limit: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    """`record` goes on, and the count is told as soon as there is room."""
    log.record(_event())
    file_size_limit(0)
    assert not log._flush()
    assert "1 events lost" in caplog.text
    file_size_limit(1_000_000)
    log.record(_event())
    log._flush()
    assert [line.get("dropped") for line in _lines(path)] == [None, 1]


def test_a_disk_that_takes_a_part_is_counted(
    log: AccessLogFile, path: Path, file_size_limit: Callable[[int], None]
) -> None:
    """A line that was cut in the middle is lost, so it is counted, and every later line is whole."""
    log.record(_event())
    log.record(_event())
    file_size_limit(300)
    log._flush()
    file_size_limit(1_000_000)
    log.record(_event())
    log._flush()
    whole, dropped = 0, 0
    for line in path.read_text().splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        whole += "reason" in content
        dropped += content.get("dropped", 0)
    assert whole + dropped == 3


def test_the_log_recovers_when_its_directory_comes_back(log: AccessLogFile, path: Path) -> None:
    """A failure to open it anew is counted, and is over when the cause is."""
    away = path.parent.with_name("away")
    path.parent.rename(away)
    log.record(_event())
    log._flush()
    away.rename(path.parent)
    log.record(_event())
    log._flush()
    assert _lines(path)[-1].get("dropped") == 1


def test_what_is_written_is_passed_on_oldest_first(path: Path) -> None:
    """Whoever looks at decisions gets each one once, when it is written and not when it is made."""
    path.parent.mkdir()
    seen: list[AccessEvent] = []
    log = AccessLogFile(path, also=seen.extend)
    made = [_event(2.0), _event(1.0, Reason.TOKEN_EXPIRED), _event(3.0)]
    for event in made:
        log.record(event)
    assert seen == []
    log._flush()
    log._flush()
    assert seen == [made[1], made[0], made[2]]


def test_a_failure_of_who_looks_on_stops_no_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Decisions are written down whatever becomes of the rest, and the operator is told."""
    path.parent.mkdir()

    def fails(_events: Sequence[AccessEvent]) -> None:
        raise ZeroDivisionError

    log = AccessLogFile(path, also=fails)
    log.record(_event())
    log._flush()
    assert len(_lines(path)) == 1
    assert "what looks at decisions has failed" in caplog.text
