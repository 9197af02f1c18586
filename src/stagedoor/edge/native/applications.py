"""The operations on applications."""

from functools import partial
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from stagedoor.edge.ids import number
from stagedoor.edge.operation import Call, Operation
from stagedoor.model.application import Application
from stagedoor.model.instants import instant
from stagedoor.model.scope import EVERYTHING, parse_scopes
from stagedoor.service.applications import MAX_LABEL, MAX_SECRETS, Applications, IssuedApplication

_PATH: Final = "/v1/applications"
_ONE: Final = f"{_PATH}/{{applicationId}}"

Label = Annotated[str, Meta(min_length=1, max_length=MAX_LABEL)]
ScopeList = Annotated[list[str], Meta(min_length=1, max_length=100)]


class NewApplication(Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """An application to be made. Its scopes are said, never implied: `live:*` is everything."""

    label: Label
    scopes: ScopeList


class ChangeApplication(Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """What to change in an application; what is left out stays."""

    label: Label | UnsetType = UNSET
    scopes: ScopeList | UnsetType = UNSET


class ShownApplicationSecret(Struct, rename="camel", kw_only=True):
    """A secret of an application's; `hint` is how it begins."""

    id: int
    hint: str
    added_on: str


class ShownApplication(Struct, rename="camel", kw_only=True):
    """An application. `appKey` names it; `appSecret`, its newest secret, is shown when it is made and never again."""

    id: int
    label: str
    app_key: str
    scopes: list[str]
    unrestricted: bool
    secrets: list[ShownApplicationSecret]
    added_on: str
    app_secret: str | UnsetType = UNSET


class RevokedTokens(Struct, rename="camel"):
    """How many tokens were revoked that had not expired."""

    revoked: int


def application_operations(applications: Applications) -> tuple[Operation, ...]:
    """Return the operations."""

    async def list_(call: Call) -> list[ShownApplication]:
        return [_shown(found) for found in await applications.list(call.account)]

    async def create(call: Call) -> ShownApplication:
        asked: NewApplication = call.body
        scopes = parse_scopes(asked.scopes, field="scopes")
        return _issued(await applications.create(call.caller, asked.label, scopes))

    async def read(call: Call) -> ShownApplication:
        return _shown(await applications.application(call.account, _id(call)))

    async def update(call: Call) -> ShownApplication:
        asked: ChangeApplication = call.body
        label = None if asked.label is UNSET else asked.label
        scopes = None if asked.scopes is UNSET else parse_scopes(asked.scopes, field="scopes")
        return _shown(await applications.change(call.caller, _id(call), label, scopes))

    async def delete(call: Call) -> bool:
        await applications.remove(call.account, _id(call))
        return True

    async def add_secret(call: Call) -> ShownApplication:
        return _issued(await applications.add_secret(call.caller, _id(call)))

    async def delete_secret(call: Call) -> bool:
        await applications.remove_secret(call.account, _id(call), number(call, "secretId", "secret"))
        return True

    async def revoke(call: Call) -> RevokedTokens:
        return RevokedTokens(await applications.revoke_tokens(call.account, _id(call)))

    operation = partial(Operation, tag="Applications", answer=ShownApplication)
    one = partial(operation, path=_ONE)
    return (
        operation(
            method="GET",
            path=_PATH,
            name="list_applications",
            scope="live:application:read",
            summary="List the applications",
            handle=list_,
            answer=list[ShownApplication],
            refusals=(),
        ),
        operation(
            method="POST",
            path=_PATH,
            name="create_application",
            scope="live:application:create",
            summary="Create an application",
            status=201,
            handle=create,
            body=NewApplication,
            example={"label": "Player backend", "scopes": ["live:subscribe_token:create", "live:publish_token:read"]},
            refusals=(400, 409),
            text=f"With its first secret, which is in this answer and in no other. `{EVERYTHING}` is every scope."
            " An application has no scope that the caller has not.",
        ),
        one(
            method="GET",
            name="read_application",
            scope="live:application:read",
            summary="Read an application",
            handle=read,
            refusals=(404,),
        ),
        one(
            method="PUT",
            name="update_application",
            scope="live:application:update",
            summary="Change an application",
            handle=update,
            body=ChangeApplication,
            example={"scopes": ["live:subscribe_token:create"]},
            refusals=(400, 404),
            text="Scopes that are taken away are lost to its tokens at once; those that are added come with new tokens.",
        ),
        one(
            method="DELETE",
            name="delete_application",
            scope="live:application:delete",
            summary="Delete an application",
            handle=delete,
            answer=bool,
            refusals=(404,),
            text="Its secrets and its tokens are refused when this returns.",
        ),
        operation(
            method="POST",
            path=f"{_ONE}/secrets",
            name="create_application_secret",
            scope="live:application:update",
            summary="Give an application a second secret",
            status=201,
            handle=add_secret,
            refusals=(404, 409),
            text=f"It has up to {MAX_SECRETS}, both good, so that one can be replaced without a gap.",
        ),
        operation(
            method="DELETE",
            path=f"{_ONE}/secrets/{{secretId}}",
            name="delete_application_secret",
            scope="live:application:update",
            summary="Delete a secret of an application",
            handle=delete_secret,
            answer=bool,
            refusals=(404,),
            text="It is refused when this returns; tokens that were got with it are not. With the last one they are, too.",
        ),
        operation(
            method="DELETE",
            path=f"{_ONE}/tokens",
            name="revoke_application_tokens",
            scope="live:application:update",
            summary="Revoke all tokens of an application",
            handle=revoke,
            answer=RevokedTokens,
            refusals=(404,),
        ),
    )


def _id(call: Call) -> int:
    return number(call, "applicationId", "application")


def _issued(issued: IssuedApplication) -> ShownApplication:
    shown = _shown(issued.record)
    shown.app_secret = issued.secret.reveal()
    return shown


def _shown(found: Application) -> ShownApplication:
    return ShownApplication(
        id=found.id,
        label=found.label,
        app_key=found.key,
        scopes=sorted(found.scopes),
        unrestricted=EVERYTHING in found.scopes,
        secrets=[
            ShownApplicationSecret(id=secret.id, hint=secret.hint, added_on=instant(secret.added_on))
            for secret in found.secrets
        ],
        added_on=instant(found.added_on),
    )
