"""The routes of the compatible Token API: `/api/publish_token`, `/api/subscribe_token`, their version 2 updates."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from litestar import Request, Router, delete, get, patch, post, put
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from stagedoor.edge.millicast import schemas
from stagedoor.edge.millicast.envelope import on_http_error, on_stagedoor_error, on_unexpected, success
from stagedoor.edge.millicast.tokens import change_of, terms_of, token_body
from stagedoor.model.errors import NotFound, NotPermitted, StagedoorError
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenKind
from stagedoor.service.accounts import Accounts
from stagedoor.service.ports import Page, SortBy
from stagedoor.service.token_admin import TokenAdmin

Http = Request[Any, Any, Any]

_ID: Final = re.compile(r"[0-9]{1,40}")

_CREATE: Final[Mapping[TokenKind, type[schemas.CreateToken]]] = {
    TokenKind.PUBLISH: schemas.CreatePublishToken,
    TokenKind.SUBSCRIBE: schemas.CreateSubscribeToken,
}
_UPDATE: Final[Mapping[TokenKind, type[schemas.UpdateToken]]] = {
    TokenKind.PUBLISH: schemas.UpdatePublishToken,
    TokenKind.SUBSCRIBE: schemas.UpdateToken,
}
_UPDATE_V1: Final[Mapping[TokenKind, type[schemas.UpdateToken]]] = {
    TokenKind.PUBLISH: schemas.UpdatePublishTokenV1,
    TokenKind.SUBSCRIBE: schemas.UpdateTokenV1,
}


def token_api(*, accounts: Accounts, tokens: TokenAdmin) -> Router:
    """Return the routes, behind the API secret."""

    async def require_api_secret(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise NotPermitted("Unauthorized")
        connection.scope["user"] = await accounts.account_of(secret.strip())

    routes = [route for kind in TokenKind for route in _token_routes(tokens, kind)]
    return Router(
        path="/api",
        guards=[require_api_secret],
        route_handlers=routes,
        exception_handlers={
            StagedoorError: on_stagedoor_error,
            HTTPException: on_http_error,
            Exception: on_unexpected,
        },
    )


def _token_routes(tokens: TokenAdmin, kind: TokenKind) -> Sequence[ControllerRouterHandler]:
    path = f"/{kind}_token"

    @post(path, status_code=200, name=f"create_{kind}_token")
    async def create(request: Http) -> dict[str, object]:
        body = schemas.parse(await request.body(), _CREATE[kind])
        return success(token_body(await tokens.issue(request.user, kind, partial(terms_of, body)), version=1))

    @get(f"{path}/{{token_id:str}}", name=f"read_{kind}_token")
    async def read(request: Http, token_id: FromPath[str]) -> dict[str, object]:
        return success(token_body(await tokens.read(request.user, kind, _token_id(kind, token_id)), version=1))

    @get(f"{path}/list", name=f"list_{kind}_tokens")
    async def list_(request: Http) -> dict[str, object]:
        asked = schemas.parse_query(request.query_params.dict(), schemas.ListTokens)
        page = Page(asked.page, asked.items_on_page, asked.sort_by or SortBy.NAME, asked.is_descending)
        found = await tokens.list(request.user, kind, page)
        return success([token_body(issued, version=1) for issued in found])

    @put(f"{path}/{{token_id:str}}", name=f"update_{kind}_token_v1")
    async def update_v1(request: Http, token_id: FromPath[str]) -> dict[str, object]:
        body = schemas.parse(await request.body(), _UPDATE_V1[kind], schemas.V1_NAMES)
        return success(await _update(tokens, request.user, kind, _token_id(kind, token_id), body, version=1))

    @put(f"/v2{path}/{{token_id:str}}", name=f"update_{kind}_token_v2")
    async def update_v2(request: Http, token_id: FromPath[str]) -> dict[str, object]:
        body = schemas.parse(await request.body(), _UPDATE[kind])
        return success(await _update(tokens, request.user, kind, _token_id(kind, token_id), body, version=2))

    @delete(f"{path}/{{token_id:str}}", status_code=200, name=f"delete_{kind}_token")
    async def delete_(request: Http, token_id: FromPath[str]) -> dict[str, object]:
        await tokens.revoke(request.user, kind, _token_id(kind, token_id))
        return success(True)

    @patch(f"{path}/disable", name=f"disable_{kind}_tokens")
    async def disable(request: Http) -> dict[str, object]:
        body = schemas.parse(await request.body(), schemas.DisableTokens)
        return success(await _disable(tokens, request.user, kind, body.token_ids))

    handlers: list[HTTPRouteHandler] = [create, read, list_, update_v1, update_v2, delete_, disable]
    return handlers


def _token_id(kind: TokenKind, text: str) -> TokenId:
    """Read the id in a path.

    Raises: NotFound for what no id looks like: digits of other scripts, signs, separators.
    """
    if not _ID.fullmatch(text):
        raise NotFound(f"No {kind} token with id: {text[:40]}", field="tokenId")
    return TokenId(int(text))


async def _update(
    tokens: TokenAdmin,
    account: AccountId,
    kind: TokenKind,
    token_id: TokenId,
    body: schemas.UpdateToken,
    *,
    version: int,
) -> dict[str, Any]:
    renew = body.refresh_token is True
    return token_body(await tokens.change(account, kind, token_id, change_of(body), renew=renew), version=version)


async def _disable(
    tokens: TokenAdmin, account: AccountId, kind: TokenKind, token_ids: Sequence[int]
) -> dict[str, object]:
    """Switch tokens off, each by itself: the ids of those that are off now, and why the others are not."""
    off = change_of(schemas.UpdateToken(is_active=False))
    done: list[int] = []
    failed: list[dict[str, object]] = []
    for token_id in dict.fromkeys(token_ids):
        try:
            await tokens.change(account, kind, TokenId(token_id), off)
        except NotFound as error:
            failed.append({"tokenId": token_id, "errorMessage": error.message})
        else:
            done.append(token_id)
    return {"successfulTokens": done, "failedTokens": failed}
