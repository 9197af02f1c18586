"""The operations on tokens: `/api/publish_token`, `/api/subscribe_token`, their version 2 updates."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from stagedoor.edge.ids import number
from stagedoor.edge.millicast import schemas
from stagedoor.edge.millicast.tokens import change_of, shown_token, terms_of
from stagedoor.edge.operation import Call, Operation
from stagedoor.model.errors import NotFound
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenKind
from stagedoor.service.ports import FilterBy, Page, SortBy
from stagedoor.service.token_admin import TokenAdmin
from stagedoor.service.unsure import Request

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
_SHOWN: Final[Mapping[TokenKind, tuple[Any, Any]]] = {
    TokenKind.PUBLISH: (schemas.PublishToken, list[schemas.PublishToken]),
    TokenKind.SUBSCRIBE: (schemas.SubscribeToken, list[schemas.SubscribeToken]),
}
"""The answers: one token, several."""
_EXAMPLE: Final[Mapping[TokenKind, Mapping[str, Any]]] = {
    TokenKind.PUBLISH: {"label": "Main camera", "streams": [{"streamName": "main"}]},
    TokenKind.SUBSCRIBE: {"label": "A viewer", "streams": [{"streamName": "main"}], "expires": 3600},
}


def token_operations(tokens: TokenAdmin, kind: TokenKind) -> tuple[Operation, ...]:
    """Return the operations on tokens of one kind."""
    path, tag, one = f"/api/{kind}_token", f"{kind.value.capitalize()} tokens", f"{kind}_token"
    shown, several = _SHOWN[kind]

    async def create(call: Call) -> schemas.Token:
        body: schemas.CreateToken = call.body
        request = Request(_fingerprint(kind, call.raw), call.header(b"idempotency-key"))
        return shown_token(await tokens.issue(call.account, kind, partial(terms_of, body), request), version=1)

    async def read(call: Call) -> schemas.Token:
        return shown_token(await tokens.read(call.account, kind, _token_id(kind, call)), version=1)

    async def list_(call: Call) -> list[schemas.Token]:
        found = await tokens.list(call.account, kind, _page(call.query))
        return [shown_token(issued, version=1) for issued in found]

    async def list_by_name(call: Call) -> list[schemas.Token]:
        asked: schemas.ListTokensByName = call.query
        by = asked.filter_by or FilterBy.TOKEN_OR_STREAM_NAME
        found = await tokens.list_by_name(call.account, kind, asked.name, by, _page(asked))
        return [shown_token(issued, version=1) for issued in found]

    async def list_by_cluster(call: Call) -> list[schemas.Token]:
        asked: schemas.ListTokensByCluster = call.query
        found = await tokens.list_by_cluster(call.account, kind, asked.cluster, _page(asked))
        return [shown_token(issued, version=1) for issued in found]

    async def update(call: Call, *, version: int) -> schemas.Token:
        body: schemas.UpdateToken = call.body
        renew = body.refresh_token is True
        changed = await tokens.change(call.account, kind, _token_id(kind, call), change_of(body), renew=renew)
        return shown_token(changed, version=version)

    async def delete(call: Call) -> bool:
        await tokens.revoke(call.account, kind, _token_id(kind, call))
        return True

    async def disable(call: Call) -> schemas.DisabledTokens:
        asked: schemas.DisableTokens = call.body
        return await _disable(tokens, call.account, kind, asked.token_ids)

    operation = partial(Operation, tag=tag)
    page = "page=1&itemsOnPage=30"
    found = [
        operation(
            method="POST",
            path=path,
            name=f"create_{one}",
            scope=f"live:{kind}_token:create",
            summary=f"Create a {kind} token",
            handle=create,
            body=_CREATE[kind],
            answer=shown,
            example=_EXAMPLE[kind],
            text="With a header `Idempotency-Key` of your own, a request that is sent again within 24 hours makes no second token.",
            keyed=True,
        ),
        operation(
            method="GET",
            path=f"{path}/{{tokenId}}",
            name=f"read_{one}",
            scope=f"live:{kind}_token:read",
            summary=f"Read a {kind} token",
            handle=read,
            answer=shown,
        ),
        operation(
            method="GET",
            path=f"{path}/list",
            name=f"list_{one}s",
            scope=f"live:{kind}_token:read",
            summary=f"List the {kind} tokens",
            handle=list_,
            query=schemas.ListTokens,
            answer=several,
            example_query=f"{page}&sortBy=AddedOn&isDescending=true",
        ),
        operation(
            method="GET",
            path=f"{path}/list_by_name",
            name=f"list_{one}s_by_name",
            scope=f"live:{kind}_token:read",
            summary=f"Find {kind} tokens by label or stream name",
            handle=list_by_name,
            query=schemas.ListTokensByName,
            answer=several,
            example_query=f"{page}&name=main",
        ),
        operation(
            method="GET",
            path=f"{path}/list_by_cluster",
            name=f"list_{one}s_by_cluster",
            scope=f"live:{kind}_token:read",
            summary=f"List the {kind} tokens of a cluster",
            handle=list_by_cluster,
            query=schemas.ListTokensByCluster,
            answer=several,
            example_query=f"{page}&cluster=auto",
        ),
        operation(
            method="PUT",
            path=f"{path}/{{tokenId}}",
            name=f"update_{one}_v1",
            scope=f"live:{kind}_token:update",
            deprecated=True,
            summary=f"Update a {kind} token by the names of version 1",
            handle=partial(update, version=1),
            body=_UPDATE_V1[kind],
            names=schemas.V1_NAMES,
            answer=shown,
            example={"label": "Another name"},
        ),
        operation(
            method="PUT",
            path=f"/api/v2/{kind}_token/{{tokenId}}",
            name=f"update_{one}_v2",
            scope=f"live:{kind}_token:update",
            summary=f"Update a {kind} token",
            handle=partial(update, version=2),
            body=_UPDATE[kind],
            answer=shown,
            example={"refreshToken": True},
        ),
        operation(
            method="DELETE",
            path=f"{path}/{{tokenId}}",
            name=f"delete_{one}",
            scope=f"live:{kind}_token:delete",
            summary=f"Revoke a {kind} token",
            handle=delete,
            answer=bool,
        ),
        operation(
            method="PATCH",
            path=f"{path}/disable",
            name=f"disable_{one}s",
            scope=f"live:{kind}_token:update",
            summary=f"Switch {kind} tokens off",
            handle=disable,
            body=schemas.DisableTokens,
            answer=schemas.DisabledTokens,
            example={"tokenIds": [1]},
        ),
    ]
    if kind is TokenKind.PUBLISH:
        found.append(_sync(tokens, path))
    return tuple(found)


def _sync(tokens: TokenAdmin, path: str) -> Operation:
    async def sync(call: Call) -> bool:
        await tokens.sync_restream(call.account, _token_id(TokenKind.PUBLISH, call))
        return True

    return Operation(
        method="POST",
        path=f"{path}/{{tokenId}}/restream/sync",
        name="sync_publish_token_restream",
        scope="live:publish_token:update",
        tag="Publish tokens",
        summary="Have running streams take over the targets they are sent on to",
        handle=sync,
        answer=bool,
    )


def _page(asked: schemas.ListTokens) -> Page:
    return Page(asked.page, asked.items_on_page, asked.sort_by or SortBy.NAME, asked.is_descending)


def _fingerprint(kind: TokenKind, raw: bytes) -> bytes:
    return hashlib.sha256(kind.encode() + b" " + raw).digest()


def _token_id(kind: TokenKind, call: Call) -> TokenId:
    """Read the id in a path.

    Raises: NotFound for what no id looks like: digits of other scripts, signs, separators.
    """
    return TokenId(number(call, "tokenId", f"{kind} token"))


async def _disable(
    tokens: TokenAdmin, account: AccountId, kind: TokenKind, token_ids: Sequence[int]
) -> schemas.DisabledTokens:
    """Switch tokens off, each by itself: the ids of those that are off now, and why the others are not."""
    off = change_of(schemas.UpdateToken(is_active=False))
    done: list[int] = []
    failed: list[schemas.FailedToken] = []
    for token_id in dict.fromkeys(token_ids):
        try:
            await tokens.change(account, kind, TokenId(token_id), off)
        except NotFound as error:
            failed.append(schemas.FailedToken(token_id, error.message))
        else:
            done.append(token_id)
    return schemas.DisabledTokens(done, failed)
