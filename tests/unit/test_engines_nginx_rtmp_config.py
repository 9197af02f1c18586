"""The configuration for nginx-rtmp."""

import re
from pathlib import Path

import pytest

from stagedoor.engines.nginx_rtmp.config import APPLICATIONS, snippet, whole
from stagedoor.model.secret import Secret

HOOK = "http://192.0.2.1:8080/hooks/nginx-rtmp/SECRET"
CONTROL = Secret("CONTROL")

LISTENS = [
    ("8088", "127.0.0.1:8088"),
    ("*:8088", "127.0.0.1:8088"),
    ("0.0.0.0:8088", "127.0.0.1:8088"),
    ("[::]:8088", "[::1]:8088"),
    ("127.0.0.1:8088", "127.0.0.1:8088"),
    ("127.0.0.2:8088", "127.0.0.2:8088"),
    ("192.0.2.7:80", "192.0.2.7:80"),
    ("[::1]:8088", "[::1]:8088"),
    ("[2001:db8::7]:8088", "[2001:db8::7]:8088"),
    ("localhost:8088", "localhost:8088"),
]
"""What nginx's http server listens on, and where nginx itself finds it."""


def _both(hls_listen: str) -> list[str]:
    """Return both configurations of a server that listens there."""
    run = Path("/run/own")
    return [
        snippet(HOOK, CONTROL, hls_listen=hls_listen),
        whole(HOOK, CONTROL, run=run, rtmp_listen="1935", hls_listen=hls_listen, module=None, user=None),
    ]


@pytest.mark.parametrize(("hls_listen", "itself"), LISTENS)
def test_what_runs_is_asked_about_where_the_http_server_listens(hls_listen: str, itself: str) -> None:
    """For every application. A call that finds nobody there would end every broadcast within seconds."""
    for text in _both(hls_listen):
        assert re.findall(r"on_update +(\S+);", text) == [f"http://{itself}/_stagedoor_update"] * len(APPLICATIONS)
        assert f"listen {hls_listen};" in text


@pytest.mark.parametrize(
    ("ends", "itself"),
    [
        ("127.0.0.1 127.0.0.1", True),
        # Linux calls any address of loopback from the first one.
        ("127.0.0.1 127.0.0.2", True),
        ("::1 ::1", True),
        ("192.0.2.7 192.0.2.7", True),
        ("2001:db8::7 2001:db8::7", True),
        ("192.0.2.70 192.0.2.7", False),
        ("192.0.2.7 192.0.2.70", False),
        ("192.0.2.7 127.0.0.1", False),
        ("2001:db8::1 ::1", False),
        ("::11 ::1", False),
        ("127::1 127::2", False),
        ("1127.0.0.1 127.0.0.1", False),
        ("unix: unix:x", False),
    ],
)
def test_only_nginx_itself_asks_about_what_runs(ends: str, itself: bool) -> None:
    """By both ends of the connection, which is right for every address, and for names, which `allow` does not take."""
    for text in _both("8088"):
        location = text.partition("location = /_stagedoor_update {")[2].partition("proxy_pass")[0]
        assert 'set $stagedoor_ends "$remote_addr $server_addr";' in location
        condition = re.search(r'if \(\$stagedoor_ends !~ "(.*)"\) \{\s+return 403;', location)
        assert condition is not None
        assert (re.search(condition[1], ends) is not None) is itself


def test_the_snippet_listens_on_every_address_unless_told_otherwise() -> None:
    """And finds itself at the first of them."""
    assert "on_update       http://127.0.0.1:8088/" in snippet(HOOK, CONTROL)
