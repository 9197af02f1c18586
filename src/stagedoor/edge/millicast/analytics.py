"""The operations on analytics. Nothing is counted yet: every answer has the shape that it will have, and is empty.

What was asked for by name is always answered by name, and a series has every hour, day or month of its period; those of
clips and of storage have only what there was.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import fields

from stagedoor.edge.millicast import analytics_schemas as schemas
from stagedoor.edge.millicast.periods import Between, Period, Resolution, instant_of, period_of
from stagedoor.edge.operation import Call, Operation, Page
from stagedoor.model.ids import AccountId

_JSON_LINES: Final = "application/x-jsonl"
_CSV: Final = "text/csv"
_PERIOD: Final = "startDate=2024-03-01&stopDate=2024-03-08"
_EXAMPLES: Final = {"resolution": "resolution=Day", "stream_names": "streamNames=main", "tracking_ids": "trackingIds=a"}

_Make = Callable[[Any, Period, AccountId], Any]


class _Report(NamedTuple):
    """A report: its path below /api/analytics, what it tells, what it takes and answers, and what the answer is made by."""

    path: str
    summary: str
    query: type[Between]
    answer: Any
    make: _Make
    deprecated: bool = False


def analytics_operations() -> tuple[Operation, ...]:
    """Return the operations."""
    return (
        *(_operation(report) for report in _REPORTS),
        Operation(
            method="GET",
            path="/api/analytics/media/storage/usage",
            name="analytics_media_storage_usage",
            tag="Analytics",
            scope="live:analytics:read",
            summary="Bytes that media assets take",
            handle=_asset_usage,
            answer=schemas.AssetUsage,
            refusals=(),
        ),
        _records(
            "/api/records/viewers",
            "viewer_records",
            "Views of the account's streams, as JSON lines or CSV",
            schemas.FindRecords,
            schemas.ViewerRecord,
        ),
        _records(
            "/api/v2/records/viewers",
            "viewer_records_v2",
            "Views of the account's streams, as JSON lines or CSV, version 2",
            schemas.FindRecordsV2,
            schemas.ViewerRecordV2,
        ),
    )


def _operation(report: _Report) -> Operation:
    async def handle(call: Call) -> Any:
        return report.make(call.query, period_of(call.query), call.account)

    asked = [_EXAMPLES[name] for name in report.query.__struct_fields__ if name in _EXAMPLES]
    return Operation(
        method="GET",
        path=f"/api/analytics/{report.path}",
        name=f"analytics_{report.path.replace('/', '_')}",
        tag="Analytics",
        scope="live:analytics:read",
        summary=report.summary,
        handle=handle,
        answer=report.answer,
        query=report.query,
        example_query="&".join([*asked, _PERIOD]),
        deprecated=report.deprecated,
    )


def _records(
    path: str, name: str, summary: str, body: type[schemas.RecordFilter], answer: type[schemas.ViewerRecord]
) -> Operation:
    header = ",".join(column.encode_name for column in fields(answer)) + "\r\n"
    instants = {
        column.name: column.encode_name
        for column in fields(body)
        if column.name.endswith(("_time", "_after", "_before"))
    }

    async def handle(call: Call) -> Page:
        for attribute, written in instants.items():
            at = getattr(call.body, attribute)
            if at is not None:
                instant_of(at, written)
        if _asks_for_csv(call.header(b"accept") or ""):
            return Page(_CSV, header.encode())
        return Page(_JSON_LINES, b"")

    return Operation(
        method="POST",
        path=path,
        name=name,
        tag="Analytics",
        scope="live:analytics:read",
        summary=summary,
        handle=handle,
        answer=list[answer],  # type: ignore[valid-type]  # a type made at run time
        sends=(_JSON_LINES, _CSV),
        body=body,
        example={"search": "Completed", "streamNames": ["main"]},
        text=f"`Accept: {_CSV}` asks for CSV with a header line; else one JSON object stands on each line ({_JSON_LINES}).",
    )


def _asks_for_csv(accept: str) -> bool:
    """Tell whether CSV is named before JSON lines."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((kind for kind in kinds if kind in (_CSV, _JSON_LINES)), "") == _CSV


async def _asset_usage(_call: Call) -> schemas.AssetUsage:
    return schemas.AssetUsage()


def _just(answer: Any) -> _Make:
    return lambda _asked, _period, _account: answer


def _names(asked: Any) -> Sequence[str]:
    """Return what was asked for by name, each once."""
    named: Iterable[str] = asked.tracking_ids if isinstance(asked, schemas.TrackingQuery) else asked.stream_names
    return list(dict.fromkeys(named))


def _by_name(make: Callable[[], Any]) -> _Make:
    return lambda asked, _period, _account: {name: make() for name in _names(asked)}


def _lists_by_time(asked: Any, period: Period, _account: AccountId) -> dict[str, dict[str, list[Any]]]:
    names = _names(asked)
    buckets = period.buckets(asked.resolution, len(names))
    return {name: {bucket: [] for bucket in buckets} for name in names}


def _series(buckets: Sequence[str]) -> schemas.Series:
    bandwidth = dict.fromkeys(buckets, schemas.Bandwidth())
    restream = dict.fromkeys(buckets, schemas.Usage())
    return schemas.Series(bandwidth=bandwidth, standard_stream=bandwidth, restream=restream, geo_cascade=bandwidth)


def _account_series(asked: Any, period: Period, _account: AccountId) -> schemas.Series:
    return _series(period.buckets(asked.resolution))


def _streams_series(asked: Any, period: Period, _account: AccountId) -> dict[str, schemas.Series]:
    names = _names(asked)
    series = _series(period.buckets(asked.resolution, len(names)))
    return dict.fromkeys(names, series)


def _account_geo_series(asked: Any, period: Period, _account: AccountId) -> schemas.GeoSeries:
    return schemas.GeoSeries({bucket: {} for bucket in period.buckets(asked.resolution)})


def _streams_geo_total(asked: Any, _period: Period, _account: AccountId) -> schemas.StreamsGeoTotal:
    return schemas.StreamsGeoTotal({name: {} for name in _names(asked)})


def _streams_geo_series(asked: Any, period: Period, _account: AccountId) -> schemas.StreamsGeoSeries:
    names = _names(asked)
    buckets = period.buckets(asked.resolution, len(names))
    return schemas.StreamsGeoSeries({name: {bucket: {} for bucket in buckets} for name in names})


def _transcoder_total(_asked: Any, period: Period, account: AccountId) -> schemas.TranscoderTotal:
    return schemas.TranscoderTotal(stream_account_id=account, start_date=period.start, end_date=period.stop)


def _transcoder_series(_asked: Any, period: Period, account: AccountId) -> schemas.TranscoderSeries:
    return schemas.TranscoderSeries(account, {day: [] for day in period.buckets(Resolution.DAY)})


def _drm_series(_asked: Any, period: Period, _account: AccountId) -> schemas.DrmSeries:
    days = dict.fromkeys(period.buckets(Resolution.DAY), schemas.DrmSystems())
    return schemas.DrmSeries(schemas.LicenceSeries(details=days))


_REPORTS: Final = (
    _Report("account/total", "Totals of the account", Between, schemas.Total, _just(schemas.Total())),
    _Report("account/series", "A series of the account", schemas.AccountSeriesQuery, schemas.Series, _account_series),
    _Report(
        "account/geo_total", "Totals of the account by country", Between, schemas.GeoTotal, _just(schemas.GeoTotal({}))
    ),
    _Report(
        "account/geo_series",
        "A series of the account by country",
        schemas.GeoSeriesQuery,
        schemas.GeoSeries,
        _account_geo_series,
    ),
    _Report("account/geo", "The account by country", Between, schemas.Geo, _just(schemas.Geo({})), deprecated=True),
    _Report(
        "streams/total", "Totals of streams", schemas.StreamsQuery, dict[str, schemas.Total], _by_name(schemas.Total)
    ),
    _Report(
        "streams/series",
        "A series of streams",
        schemas.StreamsSeriesQuery,
        dict[str, schemas.Series],
        _streams_series,
    ),
    _Report(
        "streams/geo_total",
        "Totals of streams by country",
        schemas.StreamsQuery,
        schemas.StreamsGeoTotal,
        _streams_geo_total,
    ),
    _Report(
        "streams/geo_series",
        "A series of streams by country",
        schemas.StreamsSeriesQuery,
        schemas.StreamsGeoSeries,
        _streams_geo_series,
    ),
    _Report(
        "streams/geo",
        "Streams by country",
        schemas.StreamsQuery,
        dict[str, schemas.Geo],
        _by_name(lambda: schemas.Geo({})),
        deprecated=True,
    ),
    _Report(
        "tracking/streams/total",
        "Totals of streams by tracking id",
        schemas.StreamsQuery,
        dict[str, list[schemas.TrackedId]],
        _by_name(list),
    ),
    _Report(
        "tracking/streams/series",
        "A series of streams by tracking id",
        schemas.StreamsSeriesQuery,
        dict[str, dict[str, list[schemas.TrackedId]]],
        _lists_by_time,
    ),
    _Report(
        "tracking/total",
        "Totals of tracking ids by stream",
        schemas.TrackingQuery,
        dict[str, list[schemas.TrackedStream]],
        _by_name(list),
    ),
    _Report(
        "tracking/series",
        "A series of tracking ids by stream",
        schemas.TrackingSeriesQuery,
        dict[str, dict[str, list[schemas.TrackedStream]]],
        _lists_by_time,
    ),
    _Report("transcoder/total", "Minutes that transcoders ran", Between, schemas.TranscoderTotal, _transcoder_total),
    _Report(
        "transcoder/series",
        "Minutes that transcoders ran, by day",
        Between,
        schemas.TranscoderSeries,
        _transcoder_series,
    ),
    _Report("clip/series", "Minutes of clips by day", Between, schemas.Minutes, _just(schemas.Minutes({}))),
    _Report(
        "storage/series",
        "Gigabyte hours stored by day",
        Between,
        schemas.GigabyteHours,
        _just(schemas.GigabyteHours({})),
    ),
    _Report(
        "media/storage/usage/billing",
        "Gigabyte hours that media assets took",
        Between,
        schemas.AssetBilling,
        _just(schemas.AssetBilling()),
    ),
    _Report("drm/series", "DRM licences by day", Between, schemas.DrmSeries, _drm_series),
    _Report(
        "drm/total",
        "DRM licences",
        Between,
        schemas.DrmTotal,
        _just(schemas.DrmTotal(schemas.LicenceTotal())),
    ),
)
