"""The operations on recordings, which are not kept yet: lists are empty, and no id is known."""

from functools import partial
from typing import Any, Final, NoReturn

from stagedoor.edge.millicast import recordings_schemas as schemas
from stagedoor.edge.millicast.periods import Between, period_of
from stagedoor.edge.millicast.shapes import nothing
from stagedoor.edge.operation import Call, Operation
from stagedoor.edge.parse import InvalidQuery
from stagedoor.model.errors import InvalidInput, NotFound

_FILES: Final = "/api/record_files"
_ASSETS: Final = "/api/v3/media/assets"
_NAMES: Final = {"streamName": "streamname", "token_id": "tokenId"}
_PERIOD: Final = "startDate=2024-03-01&stopDate=2024-04-01"
_PAGE: Final = "page=1&itemsOnPage=10"


def recording_operations() -> tuple[Operation, ...]:
    """Return the operations."""
    return (*_file_operations(), *_asset_operations())


def _file_operations() -> tuple[Operation, ...]:
    """Return the operations on record files, which media assets came after."""
    get = partial(Operation, method="GET", tag="Recordings", deprecated=True)
    post = partial(Operation, method="POST", tag="Recordings", deprecated=True, answer=bool)
    list_ = partial(get, answer=list[schemas.ListedFile], handle=nothing, names=_NAMES)
    return (
        get(
            path=f"{_FILES}/{{recordFileId}}",
            name="read_record_file",
            scope="live:recording:read",
            summary="Read a record file",
            handle=_no_file,
            answer=schemas.File,
        ),
        post(
            method="DELETE",
            path=f"{_FILES}/{{recordFileId}}",
            name="delete_record_file",
            scope="live:recording:delete",
            summary="Delete a record file",
            handle=_no_file,
        ),
        post(
            path=f"{_FILES}/delete",
            name="delete_record_files",
            scope="live:recording:delete",
            summary="Delete record files",
            handle=_delete_files,
            body=schemas.RemoveFiles,
            example={"recordFileIds": []},
        ),
        post(
            path=f"{_FILES}/delete/all",
            name="delete_all_record_files",
            scope="live:recording:delete",
            summary="Delete all record files",
            handle=_delete_all,
            refusals=(),
        ),
        list_(
            path=f"{_FILES}/list",
            name="list_record_files",
            scope="live:recording:read",
            summary="List the record files",
            query=schemas.ListFiles,
            example_query=_PAGE,
        ),
        list_(
            path=f"{_FILES}/list_by_token",
            name="list_record_files_by_token",
            scope="live:recording:read",
            summary="List the record files of a token",
            handle=_files_by_token,
            query=schemas.ListFilesByToken,
            example_query=f"tokenId=1&{_PAGE}",
        ),
        list_(
            path=f"{_FILES}/list_by_stream",
            name="list_record_files_by_stream",
            scope="live:recording:read",
            summary="List the record files of a stream",
            query=schemas.ListFilesByStream,
            example_query=f"streamname=main&{_PAGE}",
        ),
        get(
            path=f"{_FILES}/usage",
            name="read_record_file_usage",
            scope="live:recording:read",
            summary="Read how many bytes the record files take",
            handle=_usage,
            answer=schemas.FileUsage,
            refusals=(),
        ),
        get(
            path=f"{_FILES}/usage_billing",
            name="read_record_file_billing",
            scope="live:recording:read",
            summary="Read how many gigabyte hours the record files took",
            handle=_billing,
            answer=schemas.FileBilling,
            query=Between,
            example_query=_PERIOD,
        ),
    )


def _asset_operations() -> tuple[Operation, ...]:
    operation = partial(Operation, path=_ASSETS, tag="Media assets")
    one = partial(operation, path=f"{_ASSETS}/{{mediaAssetId}}", handle=_no_asset, answer=schemas.DownloadAsset)
    return (
        operation(
            method="POST",
            name="create_media_asset",
            scope="live:recording:create",
            summary="Cut a clip from a broadcast",
            handle=_not_kept,
            answer=list[schemas.Asset],
            body=schemas.CreateAsset,
            example={"streamName": "main", "startTime": "2024-03-01T12:00:00Z"},
        ),
        operation(
            method="GET",
            name="list_media_assets",
            scope="live:recording:read",
            summary="List the media assets",
            handle=nothing,
            answer=list[schemas.DownloadAsset],
            query=schemas.ListAssets,
            example_query="limit=25",
        ),
        operation(
            method="DELETE",
            name="delete_media_assets",
            scope="live:recording:delete",
            summary="Delete media assets",
            handle=_delete_assets,
            answer=schemas.RemovedAssets,
            query=schemas.RemoveAssets,
            example_query="id=1",
        ),
        operation(
            method="POST",
            path=f"{_ASSETS}/upload",
            name="upload_media_asset",
            scope="live:recording:create",
            summary="Get credentials for an upload",
            handle=_not_kept,
            answer=schemas.UploadCredentials,
        ),
        operation(
            method="POST",
            path=f"{_ASSETS}/register",
            name="register_media_asset",
            scope="live:recording:create",
            summary="Make an upload a media asset",
            handle=_not_kept,
            answer=schemas.Asset,
            body=schemas.RegisterAsset,
            example={"objectPrefix": "uploads/1"},
        ),
        one(method="GET", name="read_media_asset", scope="live:recording:read", summary="Read a media asset"),
        one(
            method="PATCH",
            name="update_media_asset",
            scope="live:recording:update",
            summary="Change a media asset",
            body=schemas.UpdateAsset,
            example={"customPath": "shows/1"},
        ),
        operation(
            method="DELETE",
            path=f"{_ASSETS}/all/{{type}}",
            name="delete_all_media_assets",
            scope="live:recording:delete",
            summary="Delete all media assets of a type",
            handle=_delete_all_assets,
            answer=schemas.RemovedAssets,
            choices={"type": list(schemas.AssetType)},
        ),
    )


async def _no_file(call: Call) -> NoReturn:
    raise NotFound(f"No record file with id: {call.path['recordFileId'][:40]}", field="recordFileId")


async def _no_asset(call: Call) -> NoReturn:
    raise NotFound(_unknown(call.path["mediaAssetId"]), field="mediaAssetId")


async def _not_kept(_call: Call) -> NoReturn:
    raise InvalidInput("recordings are not kept yet, so clips and uploads are not available here")


async def _delete_files(call: Call) -> bool:
    asked: schemas.RemoveFiles = call.body
    if asked.record_file_ids:
        ids = ", ".join(str(number)[:40] for number in asked.record_file_ids[:10])
        raise NotFound(f"No record files with ids: {ids}", field="recordFileIds")
    return True


async def _delete_all(_call: Call) -> bool:
    return True


async def _files_by_token(call: Call) -> list[Any]:
    asked: schemas.ListFilesByToken = call.query
    if asked.token is None and asked.token_id is None:
        raise InvalidQuery("token: name a token by token or by tokenId", field="token")
    return []


async def _usage(_call: Call) -> schemas.FileUsage:
    return schemas.FileUsage()


async def _billing(call: Call) -> schemas.FileBilling:
    period_of(call.query)
    return schemas.FileBilling()


async def _delete_assets(call: Call) -> schemas.RemovedAssets:
    asked: schemas.RemoveAssets = call.query
    return schemas.RemovedAssets(0, [schemas.AssetError(name, _unknown(name)) for name in dict.fromkeys(asked.id)])


async def _delete_all_assets(call: Call) -> schemas.RemovedAssets:
    try:
        schemas.AssetType(call.path["type"])
    except ValueError:
        kinds = ", ".join(schemas.AssetType)
        raise InvalidInput(f"type: {call.path['type'][:40]!r} is none of {kinds}", field="type") from None
    return schemas.RemovedAssets(0, [])


def _unknown(asset: str) -> str:
    return f"No media asset with id: {asset[:64]}"
