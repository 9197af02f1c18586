"""What the runs of the other files left behind: recorded hook calls, and logs. (Files run in the order of their names.)"""

import re
from typing import Any


def test_what_nginx_sent_is_what_was_recorded(stack: Any, hook_vectors: Any) -> None:
    """Each kind of call of this run, by its fields and their order, is among the recorded ones that unit tests replay."""
    recorded = {(call["event"], tuple(call["fields"])) for call in hook_vectors.recorded("nginx-rtmp", stack)}
    seen = {(call["event"], tuple(call["fields"])) for call in hook_vectors.calls(stack)}
    assert {"publish", "play", "update_publish", "update_play", "publish_done", "play_done", "hls"} <= {
        event for event, _ in seen
    }
    assert seen <= recorded, "nginx says something new; look at it, then make test ARGS=--record-hooks"


def test_no_secret_reached_a_log(stack: Any) -> None:
    """No token, API secret, hook secret or password stands in any log line of the whole run."""
    logs = [stack.data / "access.log", stack.folder / "serve.log", *sorted((stack.folder / "nginx").glob("*.log"))]
    text = "\n".join(path.read_text(errors="replace") for path in logs)
    assert len(stack.log()) > 50
    assert len(stack.secrets) > 30
    leaked = [secret[:6] for secret in stack.secrets if secret in text]
    assert not leaked
    assert not re.search(r"[0-9a-f]{48}", text)
    assert "token=" not in text
