"""The operations on API secrets."""

from functools import partial
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from stagedoor.edge.ids import number
from stagedoor.edge.operation import Call, Operation
from stagedoor.model.api_secret import ApiSecret
from stagedoor.model.instants import instant
from stagedoor.service.api_secrets import MAX_LABEL, ApiSecrets, IssuedApiSecret

_PATH: Final = "/v1/api-secrets"


class NewApiSecret(Struct, rename="camel", forbid_unknown_fields=True):
    """An API secret to be made."""

    label: Annotated[str, Meta(min_length=1, max_length=MAX_LABEL)]


class ShownApiSecret(Struct, rename="camel", kw_only=True):
    """An API secret; its value (`apiSecret`) is shown when it is made and never again. `hint` is how it begins."""

    id: int
    label: str
    hint: str
    added_on: str
    api_secret: str | UnsetType = UNSET


def api_secret_operations(secrets: ApiSecrets) -> tuple[Operation, ...]:
    """Return the operations."""

    async def list_(call: Call) -> list[ShownApiSecret]:
        return [_shown(record) for record in await secrets.list(call.account)]

    async def create(call: Call) -> ShownApiSecret:
        asked: NewApiSecret = call.body
        return _issued(await secrets.issue(call.account, asked.label))

    async def refresh(call: Call) -> ShownApiSecret:
        return _issued(await secrets.refresh(call.account, number(call, "apiSecretId", "API secret")))

    async def delete(call: Call) -> bool:
        await secrets.remove(call.account, number(call, "apiSecretId", "API secret"))
        return True

    operation = partial(Operation, tag="API secrets")
    return (
        operation(
            method="GET",
            path=_PATH,
            name="list_api_secrets",
            scope="live:api_secret:read",
            summary="List the API secrets, without their values",
            handle=list_,
            answer=list[ShownApiSecret],
            refusals=(),
        ),
        operation(
            method="POST",
            path=_PATH,
            name="create_api_secret",
            scope="live:*",
            summary="Create an API secret",
            status=201,
            handle=create,
            body=NewApiSecret,
            answer=ShownApiSecret,
            example={"label": "Backend"},
            text="Its value is in this answer and in no other.",
        ),
        operation(
            method="POST",
            path=f"{_PATH}/{{apiSecretId}}/refresh",
            name="refresh_api_secret",
            scope="live:*",
            summary="Give an API secret a new value",
            handle=refresh,
            answer=ShownApiSecret,
            refusals=(404,),
            text="The old value is refused when this returns.",
        ),
        operation(
            method="DELETE",
            path=f"{_PATH}/{{apiSecretId}}",
            name="delete_api_secret",
            scope="live:api_secret:delete",
            summary="Delete an API secret",
            handle=delete,
            answer=bool,
            refusals=(404,),
            text="With the last one the API is closed to the account; `stagedoor secret add` opens it again.",
        ),
    )


def _issued(issued: IssuedApiSecret) -> ShownApiSecret:
    shown = _shown(issued.record)
    shown.api_secret = issued.secret.reveal()
    return shown


def _shown(record: ApiSecret) -> ShownApiSecret:
    return ShownApiSecret(id=record.id, label=record.label, hint=record.hint, added_on=instant(record.added_on))
