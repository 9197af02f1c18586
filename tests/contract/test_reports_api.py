# ruff: noqa: D103
"""Recordings and analytics of the compatible API: nothing is kept or counted yet, and every answer has its shape."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from stagedoor.app import administration
from stagedoor.config import Settings
from stagedoor.edge.api import Api
from stagedoor.edge.millicast.analytics import analytics_operations
from stagedoor.edge.millicast.envelope import Envelopes
from stagedoor.edge.millicast.periods import MOST_BUCKETS, Period, Resolution, instant_of
from stagedoor.edge.millicast.recordings import recording_operations
from stagedoor.edge.operation import Mount
from stagedoor.model.errors import InvalidInput
from tests.callers import Caller
from tests.shapes import INSTANT, Shape, misfit

# -- the vendor's schemas

BANDWIDTH: Final = {"bytesOut": int, "bytesIn": int}
USAGE: Final = BANDWIDTH | {"secondsUsed": int}
TOTAL: Final = BANDWIDTH | {"standardStream": BANDWIDTH, "restream": USAGE, "geoCascade": BANDWIDTH}
SERIES: Final = {
    "bandwidth": {"*": BANDWIDTH},
    "standardStream": {"*": BANDWIDTH},
    "restream": {"*": USAGE},
    "geoCascade": {"*": BANDWIDTH},
}
IN_COUNTRY: Final = BANDWIDTH | {"publishDuration": int, "viewDuration": int}
OFTEN_IN_COUNTRY: Final = IN_COUNTRY | {"publishes": int, "views": int}
GEO: Final = {"geo": {"*": {"bytes": int, "views": int}}}
TRACKED: Final = BANDWIDTH | {"standardStream?": dict, "restream?": dict, "geoCascade?": dict}
BY_ID: Final = [TRACKED | {"trackingId?": str}]
BY_STREAM: Final = [TRACKED | {"streamName": str}]
LICENCES: Final = {"ok": int, "fail": int, "denied": int}
SYSTEMS: Final = {"playReady": LICENCES, "widevine": LICENCES, "fairPlay": LICENCES}
STORED: Final = {"recordings": int, "clips": int, "timelines": int, "vod": int}

DAYS: Final = ["2024-02-28T00:00:00Z", "2024-02-29T00:00:00Z"]
ACCOUNT_PATHS: Final[dict[str, tuple[Shape, Any]]] = {
    "account/total": (TOTAL, None),
    "account/series": (SERIES, lambda data: [list(part) for part in data.values()] == [DAYS] * 4),
    "account/geo_total": ({"geo": {"*": IN_COUNTRY}}, {"geo": {}}),
    "account/geo_series": ({"geo": {"*": {"*": OFTEN_IN_COUNTRY}}}, {"geo": {day: {} for day in DAYS}}),
    "account/geo": (GEO, {"geo": {}}),
    "clip/series": ({"series": {"*": int}}, {"series": {}}),
    "storage/series": ({"series": {"*": (int, float)}}, {"series": {}}),
    "media/storage/usage/billing": (STORED | {"gigabyteHours": int}, None),
    "transcoder/total": (
        {"streamAccountId": str, "startDate": INSTANT, "endDate": INSTANT, "transcoderMinutesUsed": int},
        lambda data: (data["startDate"], data["endDate"]) == (DAYS[0], "2024-03-01T00:00:00Z"),
    ),
    "transcoder/series": (
        {"streamAccountId": str, "transcoder": {"*": [{"transcoderId": str, "minutesUsed": int}]}},
        lambda data: data["transcoder"] == {day: [] for day in DAYS},
    ),
    "drm/total": ({"license": {"totals": LICENCES, "details": SYSTEMS}}, None),
    "drm/series": (
        {"license": {"totals": LICENCES, "details": {"*": SYSTEMS}}},
        lambda data: list(data["license"]["details"]) == DAYS,
    ),
}
"""What is asked about the whole account: the shape, and the data or what holds of it."""

NAMED: Final = ["b", "a/1", "c d"]
NAMED_PATHS: Final[dict[str, tuple[Shape, Any]]] = {
    "streams/total": ({"*": TOTAL}, lambda data: list(data) == NAMED),
    "streams/series": (
        {"*": SERIES},
        lambda data: list(data) == NAMED and all(list(data["b"][part]) == DAYS for part in SERIES),
    ),
    "streams/geo_total": ({"geo": {"*": {"*": IN_COUNTRY}}}, {"geo": {name: {} for name in NAMED}}),
    "streams/geo_series": (
        {"geo": {"*": {"*": {"*": OFTEN_IN_COUNTRY}}}},
        {"geo": {name: {day: {} for day in DAYS} for name in NAMED}},
    ),
    "streams/geo": ({"*": GEO}, {name: {"geo": {}} for name in NAMED}),
    "tracking/streams/total": ({"*": BY_ID}, {name: [] for name in NAMED}),
    "tracking/streams/series": ({"*": {"*": BY_ID}}, {name: {day: [] for day in DAYS} for name in NAMED}),
    "tracking/total": ({"*": BY_STREAM}, {name: [] for name in NAMED}),
    "tracking/series": ({"*": {"*": BY_STREAM}}, {name: {day: [] for day in DAYS} for name in NAMED}),
}
"""What is asked about streams or tracking ids."""

PERIOD: Final = {"startDate": "2024-02-28", "stopDate": "2024-03-01"}


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Caller]:
    async with administration(settings) as admin:
        first = await admin.accounts.create_first("op@example.com")
        operations = (*recording_operations(), *analytics_operations())
        app = Api([Mount("/api", Envelopes(), operations)], authenticate=admin.api_secrets.authenticate)
        yield Caller(app, first.api_secret.reveal())


def asked(path: str, **more: Any) -> dict[str, Any]:
    """Return the query that a report needs."""
    query: dict[str, Any] = dict(PERIOD)
    if path in NAMED_PATHS:
        query["trackingIds" if path in ("tracking/total", "tracking/series") else "streamNames"] = NAMED
    if "series" in path and path.partition("/")[0] in ("account", "streams", "tracking"):
        query["resolution"] = "Day"
    return query | more


def zero(value: Any) -> bool:
    """Tell whether nothing in a value counts anything."""
    if isinstance(value, dict | list):
        return all(zero(item) for item in (value.values() if isinstance(value, dict) else value))
    return value == 0 or isinstance(value, str)


# -- analytics


@pytest.mark.parametrize("path", [*ACCOUNT_PATHS, *NAMED_PATHS])
async def test_every_report_has_its_shape_and_counts_nothing(api: Caller, path: str) -> None:
    shape, wanted = (ACCOUNT_PATHS | NAMED_PATHS)[path]
    data = await api.data("GET", f"/api/analytics/{path}", shape, params=asked(path))
    assert zero(data)
    if callable(wanted):
        assert wanted(data)
    elif wanted is not None:
        assert data == wanted


def test_every_report_is_here() -> None:
    """All paths of the contract, each with the query that it needs and an example of it."""
    paths = {operation.path.removeprefix("/api/analytics/") for operation in analytics_operations()}
    others = {"media/storage/usage", "/api/records/viewers", "/api/v2/records/viewers"}
    assert paths == set(ACCOUNT_PATHS) | set(NAMED_PATHS) | others
    for operation in analytics_operations():
        assert operation.query is None or "startDate" in operation.example_query


async def test_what_is_stored_takes_no_bytes(api: Caller) -> None:
    assert zero(await api.data("GET", "/api/analytics/media/storage/usage", STORED | {"totalBytes": int}))


@pytest.mark.parametrize("path", ["account/total", "streams/series", "tracking/total", "clip/series", "drm/series"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"startDate": None}, "startDate"),
        ({"stopDate": None}, "stopDate"),
        ({"startDate": ""}, "startDate"),
        ({"startDate": "2024-02-30"}, "startDate"),
        ({"stopDate": "yesterday"}, "stopDate"),
        ({"stopDate": "2024-02-28"}, "stopDate"),
        ({"stopDate": "2024-02-27"}, "stopDate"),
        ({"startDate": "2024-03-01T00:00:00.000001Z"}, "stopDate"),
    ],
)
async def test_a_report_needs_a_period(api: Caller, path: str, query: Any, field: str) -> None:
    """From a date or an instant until a later one."""
    params = {name: value for name, value in (asked(path) | query).items() if value is not None}
    refused = await api.refusal("GET", f"/api/analytics/{path}", params=params)
    assert refused["message"] == "Validation errors"
    assert list(refused["errors"]) == [field]
    assert refused["errors"][field][0].startswith(f"{field}: ")


@pytest.mark.parametrize("path", NAMED_PATHS)
async def test_up_to_ten_names_are_asked_for_at_a_time(api: Caller, path: str) -> None:
    """Of 1 to 128 characters each; a name that is asked for twice is answered once."""
    field = "trackingIds" if "trackingIds" in asked(path) else "streamNames"
    shape, url = NAMED_PATHS[path][0], f"/api/analytics/{path}"
    ten = [f"{n:0128}" for n in range(10)]
    data = await api.data("GET", url, shape, params=asked(path, **{field: ten}))
    assert list(data.get("geo", data)) == ten
    data = await api.data("GET", url, shape, params=asked(path, **{field: ["a", "b", "a"]}))
    assert list(data.get("geo", data)) == ["a", "b"]
    for names in ([*ten, "one more"], ["a" * 129], ["a", ""], []):
        refused = await api.refusal("GET", url, params=asked(path, **{field: names}))
        assert list(refused["errors"]) == [field]


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("account/series", ["Hour", "Day", "Month", "month"], ["Week", ""]),
        ("account/geo_series", ["Hour", "DAY"], ["Month"]),
        ("streams/series", ["hour", "Day"], ["Month"]),
        ("streams/geo_series", ["Hour"], ["Month"]),
        ("tracking/streams/series", ["Hour"], ["Month"]),
        ("tracking/series", ["Hour"], ["Month", "Year"]),
    ],
)
async def test_a_series_is_divided_as_its_schema_says(api: Caller, path: str, good: list[str], bad: list[str]) -> None:
    """In capitals or small letters; months are the account's only."""
    shape = (ACCOUNT_PATHS | NAMED_PATHS)[path][0]
    for resolution in good:
        await api.data("GET", f"/api/analytics/{path}", shape, params=asked(path, resolution=resolution))
    for resolution in bad:
        refused = await api.refusal("GET", f"/api/analytics/{path}", params=asked(path, resolution=resolution))
        assert list(refused["errors"]) == ["resolution"]
    params = {name: value for name, value in asked(path).items() if name != "resolution"}
    assert list((await api.refusal("GET", f"/api/analytics/{path}", params=params))["errors"]) == ["resolution"]


async def test_an_answer_has_so_many_buckets_at_most_over_all_its_names(api: Caller) -> None:
    """-1, 0, +1 around it; a period of thousands of years is refused at once."""
    start = datetime(2020, 1, 1, tzinfo=UTC)
    for hours, names, right in (
        (MOST_BUCKETS, ["a"], True),
        (MOST_BUCKETS + 1, ["a"], False),
        (MOST_BUCKETS // 10, NAMED * 3 + ["d"], True),
        (MOST_BUCKETS // 10, list("abcdefghij"), True),
        (MOST_BUCKETS // 10 + 1, list("abcdefghij"), False),
    ):
        stop = start + timedelta(hours=hours)
        params = {"startDate": "2020-01-01", "stopDate": stop.isoformat(), "resolution": "Hour", "streamNames": names}
        url = "/api/analytics/tracking/streams/series"
        if right:
            data = await api.data("GET", url, {"*": {"*": [dict]}}, params=params)
            assert {len(series) for series in data.values()} == {hours}
        else:
            assert list((await api.refusal("GET", url, params=params))["errors"]) == ["stopDate"]
    for path in ("account/series", "transcoder/series", "drm/series"):
        params = asked(path, startDate="0001-01-01", stopDate="9999-12-31T23:59:59Z")
        assert list((await api.refusal("GET", f"/api/analytics/{path}", params=params))["errors"]) == ["stopDate"]


def period(start: str, stop: str) -> Period:
    return Period(instant_of(start, "startDate"), instant_of(stop, "stopDate"))


@pytest.mark.parametrize(
    ("start", "stop", "resolution", "first", "last", "count"),
    [
        ("2024-02-28", "2024-03-01", Resolution.DAY, "2024-02-28T00:00:00Z", "2024-02-29T00:00:00Z", 2),
        ("2023-02-28", "2023-03-01", Resolution.DAY, "2023-02-28T00:00:00Z", "2023-02-28T00:00:00Z", 1),
        ("2024-02-28T12:30Z", "2024-02-28T12:31Z", Resolution.DAY, "2024-02-28T00:00:00Z", "2024-02-28T00:00:00Z", 1),
        ("2024-02-28T12:30Z", "2024-02-28T14:00Z", Resolution.HOUR, "2024-02-28T12:00:00Z", "2024-02-28T13:00:00Z", 2),
        (
            "2024-02-28T12:30Z",
            "2024-02-28T14:00:00.5Z",
            Resolution.HOUR,
            "2024-02-28T12:00:00Z",
            "2024-02-28T14:00:00Z",
            3,
        ),
        ("2024-03-31", "2024-04-01", Resolution.HOUR, "2024-03-31T00:00:00Z", "2024-03-31T23:00:00Z", 24),
        ("2023-11-15", "2024-02-01", Resolution.MONTH, "2023-11-01T00:00:00Z", "2024-01-01T00:00:00Z", 3),
        ("2023-11-15", "2024-02-01T00:00:01Z", Resolution.MONTH, "2023-11-01T00:00:00Z", "2024-02-01T00:00:00Z", 4),
        ("2024-01-31", "2024-02-01", Resolution.MONTH, "2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z", 1),
        ("9999-11-01", "9999-12-31T23:59:59Z", Resolution.MONTH, "9999-11-01T00:00:00Z", "9999-12-01T00:00:00Z", 2),
        ("9999-12-31", "9999-12-31T23:59:59Z", Resolution.HOUR, "9999-12-31T00:00:00Z", "9999-12-31T23:00:00Z", 24),
        ("0001-01-01", "0001-01-02", Resolution.DAY, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", 1),
        (
            "2024-03-01T01:00+02:00",
            "2024-03-01T02:00+02:00",
            Resolution.DAY,
            "2024-02-29T00:00:00Z",
            "2024-02-29T00:00:00Z",
            1,
        ),
    ],
)
def test_a_series_has_every_bucket_that_its_period_touches(
    start: str, stop: str, resolution: Resolution, first: str, last: str, count: int
) -> None:
    """By UTC, whose days have 24 hours; the stop is not in it."""
    buckets = period(start, stop).buckets(resolution)
    assert (buckets[0], buckets[-1], len(buckets)) == (first, last, count)
    assert all(misfit(bucket, INSTANT) is None for bucket in buckets)
    assert buckets == sorted(set(buckets))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024",
        "20240101",
        "2024-W01-1",
        "2024-13-01",
        "2024-02-30",
        "24-01-01",
        "2024-01-01T25:00:00Z",
        "2024-01-01T12:00:00z+1",
        "2024-01-01T12:00:00 01:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:00:00-14:00",
        "\uff12\uff10\uff12\uff14-01-01",
        "2024-01-01\n",
        "1704067200",
    ],
)
def test_what_is_no_date_is_refused_by_its_name(text: str) -> None:
    """Also a date that lies outside what a clock has once its zone is taken into account."""
    with pytest.raises(InvalidInput) as caught:
        instant_of(text, "startTime")
    assert caught.value.field == "startTime"


# -- viewer records

COLUMNS: Final = (
    "startTime endTime clientId clusterId country customViewerData duration bytes ipAddress streamName trackingId"
    " userAgent"
)
RECORDS: Final = {
    "/api/records/viewers": (
        COLUMNS,
        {"startTime": "2024-03-01T00:00:00Z", "startOperator": "GreaterThan", "endTime": "2024-03-02"},
        "endTime",
    ),
    "/api/v2/records/viewers": (
        f"{COLUMNS} recordId previousRecordId",
        {"startedAfter": "2024-03-01", "completedBefore": "2024-03-02", "completedBeforeOperator": "LessThanOrEqualTo"},
        "completedBefore",
    ),
}


@pytest.mark.parametrize("path", RECORDS)
async def test_viewer_records_are_no_lines_of_json_or_a_csv_of_its_header(api: Caller, path: str) -> None:
    """By what is asked for first; without a word of it, JSON lines."""
    columns, body, _ = RECORDS[path]
    for accept, kind in (
        ("text/csv", "text/csv"),
        ("text/csv; charset=utf-8, application/x-jsonl;q=0.5", "text/csv"),
        ("application/json, Text/CSV", "text/csv"),
        ("application/x-jsonl, text/csv", "application/x-jsonl"),
        ("application/x-jsonl", "application/x-jsonl"),
        ("*/*", "application/x-jsonl"),
    ):
        for filter_ in ({}, body, body | {"search": "Ongoing_Completed", "streamNames": ["a"], "trackingIds": []}):
            answer = await api.send("POST", path, json=filter_, headers={"Accept": accept})
            assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
            rows = list(csv.reader(io.StringIO(answer.text))) if kind == "text/csv" else []
            assert rows == ([columns.split()] if kind == "text/csv" else [])
            assert answer.text.count("\n") == len(rows)


@pytest.mark.parametrize("path", RECORDS)
async def test_viewer_records_are_asked_for_as_the_contract_says(api: Caller, path: str) -> None:
    _, body, instant = RECORDS[path]
    for wrong, field in (
        ({instant: "tomorrow"}, instant),
        ({instant: 5}, instant),
        ({f"{'end' if instant == 'endTime' else instant}Operator": "Near"}, "Operator"),
        ({"search": "All"}, "search"),
        ({"streamNames": "a"}, "streamNames"),
    ):
        refused = await api.refusal("POST", path, json=body | wrong)
        assert any(name.endswith(field) for name in refused if name != "message")
    await api.refusal("POST", path, content=b"null")
    await api.refusal("POST", path, content=b"")


# -- recordings

FILES, ASSETS = "/api/record_files", "/api/v3/media/assets"
PAGE = "page=1&itemsOnPage=100"


@pytest.mark.parametrize(
    "path",
    [
        f"{FILES}/list?{PAGE}",
        f"{FILES}/list?{PAGE}&sortBy=RecordedOn&status=Started&status=complete&isDescending=true",
        f"{FILES}/list_by_token?{PAGE}&token=abc",
        f"{FILES}/list_by_token?{PAGE}&tokenId=5",
        f"{FILES}/list_by_token?{PAGE}&token_id=5",
        f"{FILES}/list_by_stream?{PAGE}&streamname=show",
        f"{FILES}/list_by_stream?{PAGE}&streamName=show",
        ASSETS,
        f"{ASSETS}?sort=startTime&status=processing&status=Error&type=clip&type=vod&streamName=a&tokenId=5&priority=-1",
        f"{ASSETS}?name=a&sourceId=&simulcastId=&page=3&limit=100&desc=true",
    ],
)
async def test_lists_of_recordings_are_empty(api: Caller, path: str) -> None:
    assert await api.data("GET", path, [dict]) == []


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"{FILES}/list", "page"),
        (f"{FILES}/list?page=0&itemsOnPage=1", "page"),
        (f"{FILES}/list?page=1&itemsOnPage=101", "itemsOnPage"),
        (f"{FILES}/list?{PAGE}&sortBy=Size", "sortBy"),
        (f"{FILES}/list?{PAGE}&status=Deleted", "status"),
        (f"{FILES}/list_by_token?{PAGE}", "token"),
        (f"{FILES}/list_by_stream?{PAGE}", "streamname"),
        (f"{FILES}/list_by_stream?{PAGE}&streamname={'a' * 129}", "streamname"),
        (f"{ASSETS}?limit=101", "limit"),
        (f"{ASSETS}?type=film", "type"),
        (f"{ASSETS}?priority=2147483648", "priority"),
        (f"{FILES}/usage_billing", "startDate"),
        (f"{FILES}/usage_billing?startDate=2024-01-01&stopDate=2024-01-01", "stopDate"),
    ],
)
async def test_recordings_are_asked_for_as_the_contract_says(api: Caller, path: str, field: str) -> None:
    assert list((await api.refusal("GET", path))["errors"]) == [field]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{FILES}/17", None),
        ("GET", f"{FILES}/x", None),
        ("DELETE", f"{FILES}/17", None),
        ("POST", f"{FILES}/delete", {"recordFileIds": [17, 17]}),
        ("GET", f"{ASSETS}/17", None),
        ("PATCH", f"{ASSETS}/17", {"customPath": "x"}),
    ],
)
async def test_no_recording_is_known(api: Caller, method: str, path: str, body: Any) -> None:
    more = {} if body is None else {"json": body}
    assert (await api.refusal(method, path, **more))["message"].startswith("No ")


async def test_deleting_nothing_is_done(api: Caller) -> None:
    assert await api.data("POST", f"{FILES}/delete", bool, json={"recordFileIds": []}) is True
    assert await api.data("POST", f"{FILES}/delete/all", bool) is True
    removed = {"itemsDeleted": int, "errors": [{"id": str, "error": str}]}
    for kind in ("recording", "clip", "storageValidation", "timeline", "vod", "VOD"):
        assert await api.data("DELETE", f"{ASSETS}/all/{kind}", removed) == {"itemsDeleted": 0, "errors": []}
    found = await api.data("DELETE", f"{ASSETS}?id=a&id=b&id=a", removed)
    assert found["itemsDeleted"] == 0
    assert [error["id"] for error in found["errors"]] == ["a", "b"]
    assert "recording, clip" in (await api.refusal("DELETE", f"{ASSETS}/all/films"))["type"]
    assert list((await api.refusal("DELETE", ASSETS))["errors"]) == ["id"]
    await api.refusal("POST", f"{FILES}/delete", json={})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (ASSETS, {"startTime": "2024-03-01T12:00:00Z", "streamName": "a", "targetFormat": "MP4"}),
        (f"{ASSETS}/upload", None),
        (f"{ASSETS}/register", {"objectPrefix": "a"}),
    ],
)
async def test_clips_and_uploads_are_refused_and_the_refusal_says_why(api: Caller, path: str, body: Any) -> None:
    more = {} if body is None else {"json": body}
    assert "not available here" in (await api.refusal("POST", path, **more))["message"]
    if body is not None:
        assert len(await api.refusal("POST", path, json={})) == 2


async def test_recordings_take_no_room(api: Caller) -> None:
    assert await api.data("GET", f"{FILES}/usage", {"totalBytes": int}) == {"totalBytes": 0}
    billing = f"{FILES}/usage_billing?startDate=2024-01-01&stopDate=2024-01-02T00:00:00Z"
    assert await api.data("GET", billing, {"gigabyteHours": int}) == {"gigabyteHours": 0}
