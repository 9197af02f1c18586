"""The operations on the values of tokens: rotate one with an overlap, and refuse tokens that were signed with one."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from stagedoor.edge.ids import token_id
from stagedoor.edge.operation import Call, Operation
from stagedoor.model.errors import InvalidInput
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.instants import instant
from stagedoor.model.token import TokenKind
from stagedoor.service.child_ports import ChildStore
from stagedoor.service.children import ALL, Children, fingerprint_name, jti_name
from stagedoor.service.ports import Clock, FormerUse
from stagedoor.service.token_admin import MOST_OVERLAP_SECONDS, TokenAdmin
from stagedoor.tokens.carriers import Carrier, carriers, longest_name

_KINDS: Final = (TokenKind.PUBLISH, TokenKind.SUBSCRIBE)


class Rotate(Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """For how long the value that a token has is good beside its new one: an hour is 3600, a day 86400, 0 not at all."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=MOST_OVERLAP_SECONDS)]


class FormerValue(Struct, rename="camel", kw_only=True):
    """A value that a token had: until when it is good, and how often it was let in since it was replaced."""

    replaced_on: str
    until: str
    uses: int
    last_used_on: str | UnsetType = UNSET


class RotatedToken(Struct, rename="camel", kw_only=True):
    """A token with its new value, what has room for that, and the values that it had before."""

    id: int
    token: str
    length: int
    carriers: list[Carrier]
    former: list[FormerValue]


class FormerValues(Struct, rename="camel", kw_only=True):
    """The values that a token had before, newest first."""

    former: list[FormerValue]


class RevokeChildren(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which of the tokens that were signed with one are refused from now on: by `jti`, one by its text, or all until now.

    One is also told by its `fingerprint`, which stands in the access log as `child`.
    """

    fingerprint: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$", min_length=43, max_length=43)] | None = None
    jti: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    token: Annotated[str, Meta(min_length=1, max_length=8192)] | None = None
    all: bool | None = None


class RevokedChild(Struct, rename="camel", kw_only=True):
    """What is refused: tokens with a `jti`, one by its text (`fingerprint`), or all that were made until then."""

    revoked_on: str
    jti: str | UnsetType = UNSET
    fingerprint: str | UnsetType = UNSET
    all: bool | UnsetType = UNSET


class RevokedChildren(Struct, rename="camel", kw_only=True):
    """What is refused of the tokens that were signed with one, oldest first."""

    revoked: list[RevokedChild]


def token_value_operations(
    tokens: TokenAdmin, children: Children, store: ChildStore, clock: Clock
) -> tuple[Operation, ...]:
    """Return the operations."""
    return (
        *(operation for kind in _KINDS for operation in _rotation(tokens, kind)),
        *child_operations(children, store, clock, "/v1/subscribe-tokens", "live:subscribe_token", "subscribe token"),
    )


def _rotation(tokens: TokenAdmin, kind: TokenKind) -> tuple[Operation, ...]:
    async def rotate(call: Call) -> RotatedToken:
        asked: Rotate = call.body
        issued = await tokens.rotate(call.account, kind, token_id(call), asked.overlap_seconds)
        former = await tokens.former_uses(call.account, kind, issued.record.id)
        text = issued.secret.reveal()
        return RotatedToken(
            id=issued.record.id,
            token=text,
            length=len(text),
            carriers=list(carriers(len(text), longest_name(issued.record.terms))),
            former=[_shown(each) for each in former],
        )

    async def list_(call: Call) -> FormerValues:
        found = await tokens.former_uses(call.account, kind, token_id(call))
        return FormerValues(former=[_shown(each) for each in found])

    async def end(call: Call) -> bool:
        await tokens.end_former(call.account, kind, token_id(call))
        return True

    operation = partial(Operation, tag=f"{kind.capitalize()} tokens")
    path = f"/v1/{kind}-tokens/{{tokenId}}"
    return (
        operation(
            method="POST",
            path=f"{path}/rotate",
            name=f"rotate_{kind}_token",
            scope=f"live:{kind}_token:update",
            summary=f"Give a {kind} token a new value, with an overlap",
            handle=rotate,
            body=Rotate,
            answer=RotatedToken,
            example={"overlapSeconds": 86400},
            refusals=(400, 404),
            text="What was used of the token stays counted. To end the old value at once, renew the token (`refreshToken`).",
        ),
        operation(
            method="GET",
            path=f"{path}/former-values",
            name=f"list_former_{kind}_token_values",
            scope=f"live:{kind}_token:read",
            summary=f"Tell how often former values of a {kind} token are used yet",
            handle=list_,
            answer=FormerValues,
            refusals=(404,),
        ),
        operation(
            method="DELETE",
            path=f"{path}/former-values",
            name=f"end_former_{kind}_token_values",
            scope=f"live:{kind}_token:update",
            summary=f"Refuse the former values of a {kind} token from now on",
            handle=end,
            answer=bool,
            refusals=(404,),
        ),
    )


def child_operations(
    children: Children, store: ChildStore, clock: Clock, path: str, scope: str, what: str
) -> tuple[Operation, ...]:
    """Return the operations on what was signed with a token, or with a key: both are a parent of theirs."""
    revoke_: Callable[[AccountId, TokenId, str, int], Awaitable[None]] = store.revoke_child

    async def revoke(call: Call) -> bool:
        asked: RevokeChildren = call.body
        given = [asked.jti is not None, asked.token is not None, asked.fingerprint is not None, asked.all is True]
        if given.count(True) != 1:
            raise InvalidInput("name one of jti, token, fingerprint or all", field="jti")
        name = ALL
        if asked.jti is not None:
            name = jti_name(asked.jti)
        elif asked.fingerprint is not None:
            name = fingerprint_name(asked.fingerprint)
        elif asked.token is not None:
            name = children.name_of(asked.token)
        await revoke_(call.account, token_id(call), name, int(clock()))
        return True

    async def list_(call: Call) -> RevokedChildren:
        found = await store.revoked_children(call.account, token_id(call))
        return RevokedChildren(revoked=[_shown_child(name, at) for name, at in found.items()])

    operation = partial(Operation, tag="Signed tokens")
    of = what.replace(" ", "_")
    return (
        operation(
            method="POST",
            path=f"{path}/{{tokenId}}/children/revoke",
            name=f"revoke_children_of_{of}",
            scope=f"{scope}:update",
            summary=f"Revoke what was signed with a {what}: by jti, one by its text, or all of it until now",
            handle=revoke,
            body=RevokeChildren,
            answer=bool,
            example={"jti": "viewer-4711"},
            refusals=(400, 404),
            text="When this returns no worker lets it in, nor what was signed with it in turn.",
        ),
        operation(
            method="GET",
            path=f"{path}/{{tokenId}}/children/revoked",
            name=f"list_revoked_children_of_{of}",
            scope=f"{scope}:read",
            summary=f"List what is refused of what was signed with a {what}",
            handle=list_,
            answer=RevokedChildren,
            refusals=(404,),
        ),
    )


def _shown(former: FormerUse) -> FormerValue:
    shown = FormerValue(replaced_on=instant(former.replaced_at), until=instant(former.until), uses=former.uses)
    if former.last_used_at is not None:
        shown.last_used_on = instant(former.last_used_at)
    return shown


def _shown_child(name: str, at: int) -> RevokedChild:
    shown = RevokedChild(revoked_on=instant(at))
    kind, _, text = name.partition(":")
    if name == ALL:
        shown.all = True
    elif kind == "jti":
        shown.jti = text
    else:
        shown.fingerprint = text
    return shown
