"""The dialect of nginx-rtmp."""

from urllib.parse import quote

import pytest

from stagedoor.engines.dialect import Answer, OwnSecrets
from stagedoor.engines.nginx_rtmp.hook import NginxRtmp
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.decision import ALLOWING, Reason
from stagedoor.model.ids import AccountId, StreamId
from stagedoor.service.authorize import Attempt, Notice

TOKEN = "ab" * 32
SESSION = "app=live&flashver=FMLE/3.0&swfurl=&tcurl=rtmp%3A//host/live&pageurl=&addr=192.0.2.1&clientid=7"
RELAY = "app=&flashver=ngx-local-relay&swfurl=&tcurl=&pageurl=&addr=127.0.0.1:19351/live/x&clientid=9"


def _read(body: str, path: str = "", headers: list[tuple[bytes, bytes]] | None = None) -> Attempt | Notice:
    return NginxRtmp().read(path, headers or [], body.encode("latin-1"), OwnSecrets("hook-secret", "control-secret"))


def _attempt(body: str) -> Attempt:
    asked = _read(body)
    assert isinstance(asked, Attempt)
    return asked


def _hls(uri: str, *more: tuple[bytes, bytes]) -> Attempt | Notice:
    return _read("", "hls", [(b"x-original-uri", uri.encode("latin-1")), (b"x-real-ip", b"192.0.2.9"), *more])


def _hls_attempt(uri: str, *more: tuple[bytes, bytes]) -> Attempt:
    asked = _hls(uri, *more)
    assert isinstance(asked, Attempt)
    return asked


def test_a_publisher_is_read() -> None:
    """Name, token, address and session come from where nginx wrote them."""
    assert _read(f"{SESSION}&call=publish&name=show&type=live&token={TOKEN}") == Attempt(
        Access(Action.PUBLISH, StreamId(AccountId(""), "show"), Protocol.RTMP, "192.0.2.1", user_agent="FMLE/3.0"),
        TOKEN,
        "7",
    )


def test_a_viewer_is_read() -> None:
    """`play` is a subscription."""
    asked = _attempt(f"{SESSION}&call=play&name=show&start=0&duration=0&reset=0&t={TOKEN}")
    assert (asked.access.action, asked.access.stream.name, asked.unverified_token) == (Action.SUBSCRIBE, "show", TOKEN)


def test_the_path_may_name_the_account() -> None:
    """`ACCOUNT/NAME`, with the slash escaped or not."""
    for name in ("acct/show", "acct%2Fshow", "acct%2fshow"):
        asked = _attempt(f"{SESSION}&call=publish&name={name}")
        assert asked.access.stream == (AccountId("acct"), "show")


def test_rtmp_clients_cannot_be_asked_for_a_token() -> None:
    """So a missing one is a refusal at once."""
    assert not _attempt(f"{SESSION}&call=publish&name=show").will_ask


@pytest.mark.parametrize(
    "injected",
    [
        "name=victim&addr=1.2.3.4",
        "call=play&name=victim",
        "clientid=1&addr=1.2.3.4&call=publish_done",
        "app=&flashver=ngx-local-relay&addr=127.0.0.1:1/x",
        "name=victim&name=victim2&&&=&addr",
    ],
)
def test_fields_that_a_client_injects_do_not_count(injected: str) -> None:
    """What nginx wrote stands first, and only the first counts."""
    body = f"{SESSION}&call=publish&name=show&type=live"
    assert _read(f"{body}&{injected}&token={TOKEN}") == _read(f"{body}&token={TOKEN}")


def test_a_last_field_wins_reader_would_be_fooled() -> None:
    """The attack works on a reader without the defence, so the test above tests something."""
    body = f"{SESSION}&call=publish&name=show&type=live&name=victim&addr=1.2.3.4"
    fooled = dict(pair.split("=", 1) for pair in body.split("&"))
    assert (fooled["name"], fooled["addr"]) == ("victim", "1.2.3.4")


def test_only_the_first_token_counts() -> None:
    """A second one is no second chance."""
    assert _attempt(f"{SESSION}&call=play&name=show&token=first&token={TOKEN}").unverified_token == "first"


def test_token_goes_before_t() -> None:
    """`t=` is the short form, looked at where there is no `token=`, or an empty one."""
    play = f"{SESSION}&call=play&name=show"
    assert _attempt(f"{play}&t=short&token=long").unverified_token == "long"
    assert _attempt(f"{play}&t=short").unverified_token == "short"
    assert _attempt(f"{play}&token=&t=short").unverified_token == "short"
    assert _attempt(play).unverified_token == ""


def test_an_escaped_token_is_unescaped_once() -> None:
    """What was escaped twice stays escaped, and is no token."""
    assert _attempt(f"{SESSION}&call=play&name=show&token=a%2Db").unverified_token == "a-b"
    assert _attempt(f"{SESSION}&call=play&name=show&token=a%252Db").unverified_token == "a%2Db"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../x",
        "acct/..",
        "acct/../x",
        ".hidden",
        "acct/.hidden",
        "a/b/c",
        "/x",
        "x/",
        "a b",
        "a\n",
        "a\x00b",
        "a%2e",
        "a;rm",
        "$(id)",
        "`id`",
        "a'b",
        "~a",
        "a\u00e9",
        "x" * 129,
        "x" * 10_000,
        "v2/pub/show",
    ],
)
def test_a_name_that_is_no_file_name_is_read_as_none(name: str) -> None:
    """Whatever was escaped: the name is empty, which no stream has."""
    asked = _attempt(f"{SESSION}&call=publish&name={quote(name, safe='', encoding='latin-1')}&token={TOKEN}")
    assert asked.access.stream == (AccountId(""), "")


def test_a_call_without_a_name_is_about_no_stream() -> None:
    """The empty name is refused further on."""
    assert _attempt(f"{SESSION}&call=publish").access.stream.name == ""


def test_nginx_own_relay_is_let_through() -> None:
    """In exactly its shape, and it is recorded."""
    asked = _read(f"{RELAY}&call=play&name=x")
    assert asked == Notice("relay", Reason.OK_ENGINE, session="9")
    assert isinstance(asked, Notice)
    assert asked.recorded


@pytest.mark.parametrize(
    "body",
    [
        RELAY.replace("app=", "app=live", 1),
        RELAY.removeprefix("app=&"),
        RELAY.replace("ngx-local-relay", "ngx-local-relay2"),
        RELAY.replace("ngx-local-relay", "NGX-local-relay"),
        RELAY.replace("flashver=ngx-local-relay", "flashver="),
        RELAY.replace("127.0.0.1:19351/live/x", "192.0.2.1"),
        RELAY.replace("127.0.0.1:19351/live/x", "2001:db8::1"),
        RELAY.replace("127.0.0.1:19351/live/x", "127.0.0.1:19351"),
        RELAY.replace("127.0.0.1:19351/live/x", "127.0.0.1/live/x"),
        RELAY.replace("127.0.0.1:19351/live/x", ":1/x"),
        RELAY.replace("127.0.0.1:19351/live/x", "a%20b:1/x"),
        RELAY.replace("127.0.0.1:19351/live/x", "a:123456/x"),
        RELAY.replace("127.0.0.1:19351/live/x", ""),
        RELAY.replace("&addr=127.0.0.1:19351/live/x", ""),
    ],
)
def test_almost_a_relay_is_a_viewer(body: str) -> None:
    """One thing different, and it needs what every viewer needs."""
    asked = _attempt(f"{body}&call=play&name=x")
    assert (asked.access.action, asked.access.stream.name) == (Action.SUBSCRIBE, "x")


def test_a_relay_does_not_publish_unasked() -> None:
    """The shape lets play through, nothing else."""
    assert _attempt(f"{RELAY}&call=publish&name=x").access.action is Action.PUBLISH


@pytest.mark.parametrize("event", ["done", "record_done", "disconnect", "connect"])
def test_what_neither_begins_nor_ends_a_session_is_answered_and_not_recorded(event: str) -> None:
    """It decides nothing."""
    asked = _read(f"{SESSION}&call={event}&name=show")
    assert asked == Notice(event, Reason.OK_ENGINE, "192.0.2.1", "7", recorded=False, ends=None)


@pytest.mark.parametrize(("event", "ends"), [("publish_done", Action.PUBLISH), ("play_done", Action.SUBSCRIBE)])
def test_an_end_tells_which_session_and_what_of_it(event: str, ends: Action) -> None:
    """By the engine's own id; a connection may publish and play, and end the one without the other."""
    asked = _read(f"{SESSION}&call={event}&name=show")
    assert asked == Notice(event, Reason.OK_ENGINE, "192.0.2.1", "7", recorded=False, ends=ends)


@pytest.mark.parametrize(("event", "action"), [("update_publish", Action.PUBLISH), ("update_play", Action.SUBSCRIBE)])
def test_an_update_asks_whether_what_runs_may_go_on(event: str, action: Action) -> None:
    """It is the first call over again, and marked as running: same stream, token, session and client."""
    update = _attempt(f"{SESSION}&call={event}&name=acct/show&time=30&timestamp=0&token={TOKEN}")
    first = _attempt(f"{SESSION}&call={event.removeprefix('update_')}&name=acct/show&token={TOKEN}")
    assert update == first._replace(running=True)
    assert (update.access.action, update.unverified_token, update.session) == (action, TOKEN, "7")


@pytest.mark.parametrize("event", ["publish", "play"])
def test_a_first_call_is_about_nothing_that_runs(event: str) -> None:
    """Whatever the client appends to it."""
    assert not _attempt(f"{SESSION}&call={event}&name=show").running
    assert not _attempt(f"{SESSION}&call={event}&name=show&call=update_{event}").running


def test_the_updates_of_nginx_own_relay_are_let_through_and_not_recorded() -> None:
    """They come every few seconds for as long as it runs."""
    asked = _read(f"{RELAY}&call=update_play&name=x")
    assert asked == Notice("relay", Reason.OK_ENGINE, session="9", recorded=False)


def test_a_relay_does_not_go_on_publishing_unasked() -> None:
    """The shape lets play through, nothing else."""
    assert _attempt(f"{RELAY}&call=update_publish&name=x").running


def test_the_program_and_the_page_are_taken_over() -> None:
    """`flashver` is what the client calls itself and `pageurl` where it is; the origin is none, RTMP has none."""
    said = "app=live&flashver=LNX%209%2c0%2c124%2c2&pageurl=https%3A//example.org/a%3Fb&addr=192.0.2.1&clientid=7"
    access = _attempt(f"{said}&call=play&name=show").access
    assert (access.user_agent, access.referrer) == ("LNX 9,0,124,2", "https://example.org/a?b")
    assert access.origin is None


def test_a_call_without_a_program_and_a_page_says_nothing_of_them() -> None:
    """Empty, like those that are left empty."""
    for said in ("addr=192.0.2.1&clientid=7", "flashver=&pageurl=&addr=192.0.2.1&clientid=7"):
        access = _attempt(f"{said}&call=play&name=show").access
        assert (access.user_agent, access.referrer) == ("", "")


@pytest.mark.parametrize(
    "event",
    [
        "update",
        "update_",
        "update_done",
        "UPDATE_PLAY",
        "update_play ",
        "update_record",
        "PUBLISH",
        "publish ",
        "publish%00",
        "\u00e9",
        "x" * 9000,
    ],
)
def test_unknown_calls_are_refused(event: str) -> None:
    """What this version does not know is not let through; the word itself is not told on."""
    assert _read(f"{SESSION}&call={event}&name=show") == Notice("unknown", Reason.ACTION_UNKNOWN, "192.0.2.1")


@pytest.mark.parametrize("body", ["", "&", "=", "call", "call=", "name=show", '{"call":"publish"}', "\x00\xff"])
def test_what_is_no_call_is_malformed(body: str) -> None:
    """No `call`, no question."""
    asked = _read(body)
    assert isinstance(asked, Notice)
    assert asked.reason is Reason.REQUEST_MALFORMED


def test_hls_token_in_the_path() -> None:
    """Before the name, so that relative addresses keep it."""
    asked = _hls_attempt(f"/hls/~{TOKEN}/show/index.m3u8")
    stream = StreamId(AccountId(""), "show")
    assert asked == Attempt(Access(Action.SUBSCRIBE, stream, Protocol.HLS, "192.0.2.9"), TOKEN)


@pytest.mark.parametrize("file", ["index.m3u8", "0.ts", "show-12.ts", "x_y.m3u8"])
def test_hls_playlists_and_segments_are_asked_for(file: str) -> None:
    """Each of them is a viewer of the stream."""
    asked = _hls_attempt(f"/hls/acct/show/{file}?token={TOKEN}")
    assert (asked.access.stream, asked.unverified_token) == (StreamId(AccountId("acct"), "show"), TOKEN)


def test_hls_token_in_the_query() -> None:
    """`token` goes before `t`, the first of each counts, and the path goes before the query."""
    assert _hls_attempt("/hls/show/index.m3u8?t=short&token=long&token=second").unverified_token == "long"
    assert _hls_attempt("/hls/show/index.m3u8?x=1&t=short").unverified_token == "short"
    assert _hls_attempt("/hls/~path/show/index.m3u8?token=query").unverified_token == "path"
    assert _hls_attempt("/hls/show/index.m3u8").unverified_token == ""
    assert _hls_attempt("/hls/show/index.m3u8?").unverified_token == ""


def test_hls_origin_is_taken_over() -> None:
    """Where the browser sent one."""
    assert (
        _hls_attempt("/hls/show/index.m3u8", (b"origin", b"https://example.org")).access.origin == "https://example.org"
    )
    assert _hls_attempt("/hls/show/index.m3u8").access.origin is None


def test_hls_program_and_page_are_taken_over() -> None:
    """From the viewer's own headers, byte for byte; empty where there are none."""
    headers = ((b"user-agent", b"Mozilla/5.0 (\xe9)"), (b"referer", b"https://example.org/watch"))
    access = _hls_attempt("/hls/show/index.m3u8", *headers).access
    assert (access.user_agent, access.referrer) == ("Mozilla/5.0 (\xe9)", "https://example.org/watch")
    plain = _hls_attempt("/hls/show/index.m3u8").access
    assert (plain.user_agent, plain.referrer, plain.origin) == ("", "", None)


def test_an_empty_hls_origin_is_one_that_was_sent() -> None:
    """It names no origin, and is another thing than none."""
    assert _hls_attempt("/hls/show/index.m3u8", (b"origin", b"")).access.origin == ""


def test_each_hls_request_is_a_question_of_its_own() -> None:
    """It has no session, and is not known to go on with anything."""
    asked = _hls_attempt(f"/hls/~{TOKEN}/show/index.m3u8")
    assert (asked.session, asked.running) == ("", False)


@pytest.mark.parametrize(
    "uri",
    [
        "/hls/open/../secured/index.m3u8",
        "/hls/open/%2e%2e/secured/index.m3u8",
        "/hls/open/%2E%2E/secured/index.m3u8",
        "/hls/open/.%2e/secured/index.m3u8",
        "/hls/open%2f..%2fsecured/index.m3u8",
        "/hls/open%2F%2e%2e%2Fsecured/index.m3u8",
        "/hls/open/%252e%252e/secured/index.m3u8",
        "/hls/../secured/index.m3u8",
        "/hls/./secured/index.m3u8",
        "/hls//secured/index.m3u8",
        "/hls/open//secured/index.m3u8",
        "/hls/open/index.m3u8/../../secured/index.m3u8",
        "/hls/~tok/../secured/index.m3u8",
        "/hls/~tok/open/../secured/index.m3u8",
        "/hls/~/secured/index.m3u8",
        "/hls/~a~b/secured/index.m3u8",
        "/hls/~a/~b/secured/index.m3u8",
        "/hls/%7Eopen/secured/index.m3u8",
        "/hls/~to%2fk/secured/index.m3u8",
        "/hls/open\\..\\secured/index.m3u8",
        "/hls/open%5c..%5csecured/index.m3u8",
        "/hls/secured%00/index.m3u8",
        "/hls/secured%0a/index.m3u8",
        "/hls/secured\n/index.m3u8",
        "/hls/secured%20/index.m3u8",
        "/hls/secured#/index.m3u8",
        "/hls/.secured/index.m3u8",
        "/hls/acct/.secured/index.m3u8",
        "/hls/secured;x/index.m3u8",
        "/hls/secur\u00e9d/index.m3u8",
        "/hls/secur%C3%A9d/index.m3u8",
        "/hls/" + "x" * 10_000 + "/index.m3u8",
        "/hls/" + "../" * 3_000 + "secured/index.m3u8",
        "/hls/secured/index.m3u8/",
        "/hls/secured/../index.m3u8",
        "/hls/secured/index.m3u8%00.ts",
        "/hls/secured/index.mp4",
        "/hls/secured/.m3u8",
        "/hls/secured/index.m3u8\n",
        "/hls/index.m3u8",
        "/hls/",
        "/hls",
        "hls/secured/index.m3u8",
        "//hls/secured/index.m3u8",
        "/HLS/secured/index.m3u8",
        "/%68ls/secured/index.m3u8",
        "/x/../hls/secured/index.m3u8",
        "http://host/hls/secured/index.m3u8",
        "",
    ],
)
def test_hls_addresses_that_could_be_read_in_two_ways_are_refused(uri: str) -> None:
    """Malformed, or about a stream with the empty name, which is refused further on."""
    asked = _hls(uri)
    if isinstance(asked, Attempt):
        assert asked.access.stream.name == ""
    else:
        assert asked == Notice("hls", Reason.REQUEST_MALFORMED, "192.0.2.9")


def test_hls_without_the_header_is_malformed() -> None:
    """A misconfigured nginx does not let anyone in."""
    assert _read("", "hls") == Notice("hls", Reason.REQUEST_MALFORMED, "")


@pytest.mark.parametrize("path", ["hls/", "HLS", "hls/x", "", "/hls"])
def test_only_the_path_hls_is_auth_request(path: str) -> None:
    """Any other one is read as a notify call."""
    asked = _read("", path, [(b"x-original-uri", b"/hls/show/index.m3u8")])
    assert asked == Notice("unknown", Reason.REQUEST_MALFORMED, "")


@pytest.mark.parametrize("reason", list(Reason))
def test_answers(reason: Reason) -> None:
    """2xx allows and 4xx or 5xx refuse; never 3xx, which would rename the stream."""
    answer = NginxRtmp().answer(reason)
    if reason in ALLOWING:
        assert answer == Answer(200, "ok")
    else:
        assert answer == Answer(503 if reason is Reason.STORE_UNAVAILABLE else 403, reason.value)
