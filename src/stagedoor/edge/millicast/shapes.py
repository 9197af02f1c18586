"""What several groups of operations have in common."""

from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct

from stagedoor.edge.operation import Call

Filled = Annotated[str, Meta(min_length=1)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
ClusterName = Annotated[str, Meta(min_length=1, max_length=64)]
Int32 = Annotated[int, Meta(ge=-2147483648, le=2147483647)]


class AnyCase(StrEnum):
    """Words that a caller may write in capitals or small letters."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        folded = str(value).casefold()
        return next((member for member in cls if member.value.casefold() == folded), None)


class Paged(Struct, rename="camel", kw_only=True):
    """The part of a list that is asked for."""

    page: Annotated[int, Meta(ge=1, le=2147483647)] = 1
    limit: Annotated[int, Meta(ge=1, le=100)] = 25
    desc: bool = False


class StorageType(AnyCase):
    """Where recordings are put."""

    GCS = "gcs"
    AWS_S3 = "awsS3"
    DOLBY = "dolbyStorage"


class StorageOptions(Struct, rename="camel", kw_only=True):
    """A bucket of the account's own."""

    object_prefix: Annotated[str, Meta(max_length=1000)] | None = None
    bucket_name: str | None = None
    bucket_region: Annotated[str, Meta(min_length=1, max_length=32)] | None = None


class Storage(Struct, rename="camel", kw_only=True):
    """A storage profile, or a bucket."""

    profile_id: str | None = None
    type: StorageType | None = None
    options: StorageOptions | None = None


class StoredAt(Struct, rename="camel", kw_only=True):
    """Where a recording was put."""

    type: StorageType
    path: str | None = None


async def nothing(_call: Call) -> list[Any]:
    """Answer a list of what is not kept yet."""
    return []
