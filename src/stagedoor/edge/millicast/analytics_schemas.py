"""Shapes of analytics. Whatever counts something counts from zero; durations are in seconds.

Series are maps by time: the beginning of each hour, day or month, as an instant (RFC 3339) in UTC.
"""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from stagedoor.edge.millicast.periods import Between, Resolution, StreamResolution
from stagedoor.edge.millicast.shapes import AnyCase

_Names = Annotated[list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(min_length=1, max_length=10)]


class AccountSeriesQuery(Between, rename="camel", kw_only=True):
    """A series of the account's."""

    resolution: Resolution


class GeoSeriesQuery(Between, rename="camel", kw_only=True):
    """A series by country."""

    resolution: StreamResolution


class StreamsQuery(Between, rename="camel", kw_only=True):
    """Totals of streams."""

    stream_names: _Names


class StreamsSeriesQuery(StreamsQuery, rename="camel", kw_only=True):
    """A series of streams."""

    resolution: StreamResolution


class TrackingQuery(Between, rename="camel", kw_only=True):
    """Totals of tracking ids."""

    tracking_ids: _Names


class TrackingSeriesQuery(TrackingQuery, rename="camel", kw_only=True):
    """A series of tracking ids."""

    resolution: StreamResolution


class Bandwidth(Struct, rename="camel", kw_only=True, frozen=True):
    """Bytes sent to viewers and taken from broadcasters."""

    bytes_out: int = 0
    bytes_in: int = 0


class Usage(Bandwidth, rename="camel", kw_only=True, frozen=True):
    """The same, and for how long."""

    seconds_used: int = 0


class TrackedUsage(Bandwidth, rename="camel", kw_only=True, frozen=True):
    """The same, by the name that it has beside tracking ids."""

    duration: int = 0


class Total(Bandwidth, rename="camel", kw_only=True, frozen=True):
    """Everything, and its parts."""

    standard_stream: Bandwidth = Bandwidth()
    restream: Usage = Usage()
    geo_cascade: Bandwidth = Bandwidth()


class Series(Struct, rename="camel", kw_only=True):
    """Everything, and its parts, by time."""

    bandwidth: dict[str, Bandwidth]
    standard_stream: dict[str, Bandwidth]
    restream: dict[str, Usage]
    geo_cascade: dict[str, Bandwidth]


class CountryTotal(Bandwidth, rename="camel", kw_only=True, frozen=True):
    """What a country has a part in."""

    publish_duration: int = 0
    view_duration: int = 0


class CountrySeries(CountryTotal, rename="camel", kw_only=True, frozen=True):
    """The same, and how often."""

    publishes: int = 0
    views: int = 0


class Country(Struct, rename="camel", kw_only=True):
    """A country's part, as it was told before."""

    bytes: int = 0
    views: int = 0


class GeoTotal(Struct, rename="camel"):
    """By country."""

    geo: dict[str, CountryTotal]


class GeoSeries(Struct, rename="camel"):
    """By time, and then by country."""

    geo: dict[str, dict[str, CountrySeries]]


class StreamsGeoTotal(Struct, rename="camel"):
    """By stream, and then by country."""

    geo: dict[str, dict[str, CountryTotal]]


class StreamsGeoSeries(Struct, rename="camel"):
    """By stream, by time, and then by country."""

    geo: dict[str, dict[str, dict[str, CountrySeries]]]


class Geo(Struct, rename="camel"):
    """By country, as it was told before."""

    geo: dict[str, Country]


class Tracked(Bandwidth, rename="camel", kw_only=True, frozen=True):
    """What is counted beside tracking ids."""

    standard_stream: Bandwidth | UnsetType = UNSET
    restream: TrackedUsage | UnsetType = UNSET
    geo_cascade: Bandwidth | UnsetType = UNSET


class TrackedId(Tracked, rename="camel", kw_only=True, frozen=True):
    """What a stream has of a tracking id; what has none is not tracked."""

    tracking_id: str | UnsetType = UNSET


class TrackedStream(Tracked, rename="camel", kw_only=True, frozen=True):
    """What a tracking id has of a stream."""

    stream_name: str


class TranscoderTotal(Struct, rename="camel", kw_only=True):
    """For how many minutes transcoders ran."""

    stream_account_id: str
    start_date: datetime
    end_date: datetime
    transcoder_minutes_used: int = 0


class TranscoderMinutes(Struct, rename="camel"):
    """For how many minutes a transcoder ran."""

    transcoder_id: str
    minutes_used: int


class TranscoderSeries(Struct, rename="camel"):
    """Which transcoders ran, by day."""

    stream_account_id: str
    transcoder: dict[str, list[TranscoderMinutes]]


class Minutes(Struct, rename="camel"):
    """Minutes by day; days without any are left out."""

    series: dict[str, int]


class GigabyteHours(Struct, rename="camel"):
    """Gigabytes times hours by day; days without any are left out."""

    series: dict[str, float]


class AssetUsage(Struct, rename="camel", kw_only=True):
    """What is stored, in bytes."""

    total_bytes: int = 0
    recordings: int = 0
    clips: int = 0
    timelines: int = 0
    vod: int = 0


class AssetBilling(Struct, rename="camel", kw_only=True):
    """What was stored, in gigabytes times hours."""

    gigabyte_hours: int = 0
    recordings: int = 0
    clips: int = 0
    timelines: int = 0
    vod: int = 0


class Licences(Struct, rename="camel", kw_only=True, frozen=True):
    """How many licences were asked for, by what came of it."""

    ok: int = 0
    fail: int = 0
    denied: int = 0


class DrmSystems(Struct, rename="camel", kw_only=True, frozen=True):
    """The same, by system."""

    play_ready: Licences = Licences()
    widevine: Licences = Licences()
    fair_play: Licences = Licences()


class LicenceTotal(Struct, rename="camel", kw_only=True, frozen=True):
    """All of them, and by system."""

    totals: Licences = Licences()
    details: DrmSystems = DrmSystems()


class LicenceSeries(Struct, rename="camel", kw_only=True):
    """All of them, and by day and system."""

    totals: Licences = Licences()
    details: dict[str, DrmSystems]


class DrmTotal(Struct, rename="camel"):
    """DRM licences."""

    license: LicenceTotal


class DrmSeries(Struct, rename="camel"):
    """DRM licences by day."""

    license: LicenceSeries


class TimeOperator(AnyCase):
    """How an instant is compared."""

    GREATER_OR_EQUAL = "GreaterThanOrEqualTo"
    GREATER = "GreaterThan"
    LESS_OR_EQUAL = "LessThanOrEqualTo"
    LESS = "LessThan"


class RecordSearch(AnyCase):
    """Which views: those that ended, those that go on, or both."""

    COMPLETED = "Completed"
    ONGOING = "Ongoing"
    BOTH = "Ongoing_Completed"


class RecordFilter(Struct, rename="camel", kw_only=True):
    """What both versions of a search for views have."""

    search: RecordSearch | None = None
    stream_names: list[str] | None = None
    tracking_ids: list[str] | None = None


class FindRecords(RecordFilter, rename="camel", kw_only=True):
    """A search for views."""

    start_time: str | None = None
    start_operator: TimeOperator | None = None
    end_time: str | None = None
    end_operator: TimeOperator | None = None


class FindRecordsV2(RecordFilter, rename="camel", kw_only=True):
    """A search for views, by version 2."""

    started_after: str | None = None
    started_after_operator: TimeOperator | None = None
    started_before: str | None = None
    started_before_operator: TimeOperator | None = None
    completed_after: str | None = None
    completed_after_operator: TimeOperator | None = None
    completed_before: str | None = None
    completed_before_operator: TimeOperator | None = None


class ViewerRecord(Struct, rename="camel", kw_only=True):
    """One view: who watched what, from when to when."""

    start_time: datetime
    end_time: datetime | None
    client_id: str
    cluster_id: str
    country: str
    custom_viewer_data: str | None
    duration: int
    bytes: int
    ip_address: str
    stream_name: str
    tracking_id: str | None
    user_agent: str


class ViewerRecordV2(ViewerRecord, rename="camel", kw_only=True):
    """The same, by version 2: a view that went on is told again, and names what was told before."""

    record_id: int
    previous_record_id: int | None
