"""Shapes of recordings: the older record files, and the media assets that came after them."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct, field

from stagedoor.edge.millicast.shapes import AnyCase, Filled, Int32, Name, Paged, Storage, StoredAt

_CustomPath = Annotated[str, Meta(min_length=1, max_length=512)]


class FileStatus(AnyCase):
    """What becomes of a record file."""

    STARTED = "Started"
    TRANSCODE = "Transcode"
    COMPLETE = "Complete"
    DELETING = "Deleting"
    ERROR = "Error"


class AnyFileStatus(AnyCase):
    """The same, with what a list is never asked for."""

    STARTED = "Started"
    TRANSCODE = "Transcode"
    IN_PROGRESS = "InProgress"
    DELETED = "Deleted"
    INVALID = "Invalid"
    EXPIRING = "Expiring"
    COMPLETE = "Complete"
    DELETING = "Deleting"
    ERROR = "Error"


class SortFiles(AnyCase):
    """What record files are sorted by."""

    RECORDED_ON = "RecordedOn"
    STREAM_NAME = "StreamName"
    TOKEN = "Token"


class Track(Struct, rename="camel", kw_only=True):
    """A track of what was recorded."""

    type: str
    codec: str
    bitrate: int
    width: int | None = None
    height: int | None = None
    framerate: int | None = None
    channels: int | None = None
    samplerate: int | None = None


class Metadata(Struct, rename="camel", kw_only=True):
    """What was recorded. `sizes` in bytes by file, `duration` in seconds."""

    format: str
    sizes: dict[str, int]
    duration: int
    tracks: list[Track]
    thumbnails: list[str]
    file_count: int | None = None


class Download(Struct, rename="camel", kw_only=True):
    """Where a record file can be fetched, until when."""

    download_url: str
    download_expires_on: datetime | None


class ListedFile(Struct, rename="camel", kw_only=True):
    """A record file in a list."""

    id: int
    token_id: int | None
    token: str
    stream_name: str
    recorded_on: datetime
    removed_on: datetime | None
    status: AnyFileStatus
    metadata: Metadata | None


class File(ListedFile, rename="camel", kw_only=True):
    """A record file."""

    download: Download | None


class RemoveFiles(Struct, rename="camel"):
    """Record files to delete."""

    record_file_ids: Annotated[list[int], Meta(max_length=1000)]


class ListFiles(Struct, rename="camel", kw_only=True):
    """The query of a list of record files."""

    page: Annotated[int, Meta(ge=1, le=2147483647)]
    items_on_page: Annotated[int, Meta(ge=1, le=100)]
    sort_by: SortFiles | None = None
    status: list[FileStatus] | None = None
    is_descending: bool = False


class ListFilesByToken(ListFiles, rename="camel", kw_only=True):
    """Those of a token: its text or its id is needed."""

    token: str | None = None
    token_id: int | None = None


class ListFilesByStream(ListFiles, rename="camel", kw_only=True):
    """Those of a stream."""

    stream_name: Annotated[str, Meta(max_length=128)] = field(name="streamname")


class FileUsage(Struct, rename="camel"):
    """What is stored, in bytes."""

    total_bytes: int = 0


class FileBilling(Struct, rename="camel"):
    """What was stored, in gigabytes (1024^3 bytes) times hours."""

    gigabyte_hours: int = 0


class AssetType(AnyCase):
    """What a media asset is."""

    RECORDING = "recording"
    CLIP = "clip"
    STORAGE_VALIDATION = "storageValidation"
    TIMELINE = "timeline"
    VOD = "vod"


class AssetStatus(AnyCase):
    """What becomes of a media asset."""

    PROCESSING = "processing"
    COMPLETE = "complete"
    ERROR = "error"
    DELETING = "deleting"
    DELETED = "deleted"


class TargetFormat(AnyCase):
    """What a clip is made as."""

    MP4 = "mp4"
    HLS = "hls"


class SortAssets(AnyCase):
    """What media assets are sorted by."""

    START_TIME = "startTime"
    STOP_TIME = "stopTime"
    STREAM_NAME = "streamName"
    TOKEN_ID = "tokenId"
    CREATED = "created"


class Feed(Struct, rename="camel", kw_only=True):
    """What was recorded: a broadcast, or a part of it."""

    token_id: int | None = None
    stream_name: str | None = None
    source_id: str | None = None
    simulcast_id: str | None = None
    priority: Int32 | None = None
    channel_id: str | None = None


class Asset(Struct, rename="camel", kw_only=True):
    """A media asset."""

    id: str
    type: AssetType
    feed: Feed | None
    start_time: datetime
    stop_time: datetime | None
    name: str | None
    storage: StoredAt | None
    status: AssetStatus
    error: str | None
    created: datetime | None
    expiration: datetime | None
    removed: datetime | None
    metadata: Metadata | None
    media_distribution_id: str | None
    custom_path: str | None


class AssetDownload(Struct, rename="camel", kw_only=True):
    """Where a media asset can be fetched, until when."""

    download_url: str | None
    url: str | None
    download_expires_on: datetime | None


class DownloadAsset(Asset, rename="camel", kw_only=True):
    """A media asset, and where it can be fetched."""

    download: AssetDownload | None


class ListAssets(Paged, rename="camel", kw_only=True):
    """The query of a list of media assets."""

    sort: SortAssets | None = None
    status: list[AssetStatus] | None = None
    type: list[AssetType] | None = None
    name: str | None = None
    stream_name: str | None = None
    token_id: int | None = None
    source_id: str | None = None
    simulcast_id: str | None = None
    priority: Int32 | None = None


class CreateAsset(Feed, rename="camel", kw_only=True):
    """A clip to be cut from a broadcast."""

    start_time: Filled
    stop_time: str | None = None
    name: Name | None = None
    storage: Storage | None = None
    expiration: str | None = None
    target_format: TargetFormat | None = None
    media_distribution_id: str | None = None
    custom_path: _CustomPath | None = None


class UpdateAsset(Struct, rename="camel", kw_only=True):
    """Changes of a media asset."""

    media_distribution_id: str | None = None
    custom_path: _CustomPath | None = None


class RegisterAsset(Struct, rename="camel", kw_only=True):
    """An upload to be made a media asset."""

    object_prefix: Filled
    entrypoint: str | None = None
    expiration: str | None = None
    name: Name | None = None
    tags: list[str] | None = None
    media_distribution_id: str | None = None
    custom_path: _CustomPath | None = None


class RemoveAssets(Struct, rename="camel"):
    """The media assets to delete, by their ids."""

    id: Annotated[list[str], Meta(max_length=100)]


class AssetError(Struct, rename="camel"):
    """Why a media asset was not deleted."""

    id: str
    error: str


class RemovedAssets(Struct, rename="camel"):
    """How many media assets were deleted, and which were not."""

    items_deleted: int
    errors: list[AssetError]


class UploadCredentials(Struct, rename="camel", kw_only=True):
    """What an upload is made with."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: str
    path: str
    bucket_name: str
    object_prefix: str
