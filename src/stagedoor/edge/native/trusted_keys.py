"""The operations on public keys of an account's own, and what they may sign."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from stagedoor.edge.ids import token_id
from stagedoor.edge.native.token_values import child_operations
from stagedoor.edge.operation import Call, Operation
from stagedoor.model.access import Action
from stagedoor.model.grant import StreamPattern
from stagedoor.model.instants import instant
from stagedoor.model.key import Algorithm
from stagedoor.model.token import TokenTerms
from stagedoor.service.child_ports import ChildStore
from stagedoor.service.children import Children
from stagedoor.service.ports import Clock
from stagedoor.service.trusted_keys import TrustedKey, TrustedKeys
from stagedoor.tokens.public_keys import MAX_KEY
from stagedoor.tokens.rules import Rules, ShownRules, rules_of, shown_rules

_PATH: Final = "/v1/trusted-keys"
_ONE: Final = f"{_PATH}/{{tokenId}}"

_Label = Annotated[str, Meta(min_length=1, max_length=128)]
_Texts = Annotated[list[str], Meta(max_length=1000)]
_Longest = Annotated[int, Meta(ge=1, le=2147483647)]


class StreamName(Struct, rename="camel", forbid_unknown_fields=True):
    """A stream name, or a regular expression that matches whole names."""

    stream_name: Annotated[str, Meta(min_length=1, max_length=128)]
    is_regex: bool = False


_Streams = Annotated[list[StreamName], Meta(min_length=1, max_length=1000)]
_Actions = Annotated[list[Action], Meta(min_length=1)]


class _Limits(Rules, rename="camel", kw_only=True):
    """What holds for everything that a key signs, beside what each token says itself."""

    allowed_origins: _Texts | None = None
    allowed_ip_addresses: _Texts | None = None
    allowed_countries: _Texts | None = None
    denied_countries: _Texts | None = None


class NewTrustedKey(_Limits, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """A public key (JWK or PEM: RSA of 2048 bits or more, EC P-256, Ed25519) and what it may sign.

    `longestSeconds`: a token is good for so long at most, counted from its `iat`.
    """

    label: _Label
    public_key: Annotated[str, Meta(min_length=1, max_length=MAX_KEY)]
    streams: _Streams
    actions: _Actions
    longest_seconds: _Longest


class ChangeTrustedKey(_Limits, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """What to change of what a key may sign; what is left out stays."""

    label: _Label | None = None
    is_active: bool | None = None
    streams: _Streams | None = None
    actions: _Actions | None = None
    longest_seconds: _Longest | None = None


class ShownTrustedKey(ShownRules, rename="camel", kw_only=True):
    """A key that is trusted. Tokens name it by `kid` in their header."""

    id: int
    kid: str
    label: str
    is_active: bool
    algorithm: Algorithm
    public_key: dict[str, Any]
    streams: list[StreamName]
    actions: list[Action]
    longest_seconds: int
    added_on: str
    allowed_origins: list[str] | UnsetType = UNSET
    allowed_ip_addresses: list[str] | UnsetType = UNSET
    allowed_countries: list[str] | UnsetType = UNSET
    denied_countries: list[str] | UnsetType = UNSET


def trusted_key_operations(
    keys: TrustedKeys, children: Children, store: ChildStore, clock: Clock
) -> tuple[Operation, ...]:
    """Return the operations."""

    async def list_(call: Call) -> list[ShownTrustedKey]:
        return [_shown(key) for key in await keys.list(call.account)]

    async def create(call: Call) -> ShownTrustedKey:
        asked: NewTrustedKey = call.body
        terms = TokenTerms(label=asked.label, streams=(), longest_seconds=asked.longest_seconds)
        return _shown(await keys.add(call.account, changed_terms(terms, asked), asked.public_key))

    async def read(call: Call) -> ShownTrustedKey:
        return _shown(await keys.read(call.account, token_id(call)))

    async def change(call: Call) -> ShownTrustedKey:
        asked: ChangeTrustedKey = call.body
        return _shown(await keys.change(call.account, token_id(call), lambda terms: changed_terms(terms, asked)))

    async def delete(call: Call) -> bool:
        await keys.revoke(call.account, token_id(call))
        return True

    operation = partial(Operation, tag="Trusted keys")
    example = {
        "label": "our backend",
        "publicKey": '{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}',
        "streams": [{"streamName": "main"}],
        "actions": ["subscribe"],
        "longestSeconds": 3600,
    }
    return (
        operation(
            method="GET",
            path=_PATH,
            name="list_trusted_keys",
            scope="live:trusted_key:read",
            summary="List the keys that are trusted",
            handle=list_,
            answer=list[ShownTrustedKey],
            refusals=(),
        ),
        operation(
            method="POST",
            path=_PATH,
            name="create_trusted_key",
            scope="live:trusted_key:create",
            summary="Trust a public key to sign tokens within what is said here",
            status=201,
            handle=create,
            body=NewTrustedKey,
            answer=ShownTrustedKey,
            example=example,
            refusals=(400, 409),
        ),
        operation(
            method="GET",
            path=_ONE,
            name="read_trusted_key",
            scope="live:trusted_key:read",
            summary="Read a trusted key",
            handle=read,
            answer=ShownTrustedKey,
            refusals=(404,),
        ),
        operation(
            method="PATCH",
            path=_ONE,
            name="update_trusted_key",
            scope="live:trusted_key:update",
            summary="Change what a trusted key may sign, or switch it off and on",
            handle=change,
            body=ChangeTrustedKey,
            answer=ShownTrustedKey,
            example={"isActive": False},
            refusals=(400, 404),
            text="What it has signed is judged by this from now on.",
        ),
        operation(
            method="DELETE",
            path=_ONE,
            name="delete_trusted_key",
            scope="live:trusted_key:delete",
            summary="Trust a key no more",
            handle=delete,
            answer=bool,
            refusals=(404,),
            text="When this returns, nothing that it signed is let in.",
        ),
        *child_operations(children, store, clock, _PATH, "live:trusted_key", "trusted key"),
    )


def changed_terms(terms: TokenTerms, asked: NewTrustedKey | ChangeTrustedKey) -> TokenTerms:
    """Return terms as they are asked to be.

    Raises: InvalidInput for an instant that no clock has.
    """
    given: dict[str, Any] = rules_of(asked)
    lists = {
        "allowed_origins": asked.allowed_origins,
        "allowed_addresses": asked.allowed_ip_addresses,
        "allowed_countries": asked.allowed_countries,
        "denied_countries": asked.denied_countries,
        "actions": asked.actions,
    }
    given |= {name: tuple(dict.fromkeys(value)) for name, value in lists.items() if value is not None}
    if asked.streams is not None:
        given["streams"] = tuple(
            dict.fromkeys(StreamPattern(stream.stream_name, stream.is_regex) for stream in asked.streams)
        )
    for name in ("label", "longest_seconds"):
        if getattr(asked, name) is not None:
            given[name] = getattr(asked, name)
    if isinstance(asked, ChangeTrustedKey) and asked.is_active is not None:
        given["active"] = asked.is_active
    return replace(terms, **given)


def _shown(key: TrustedKey) -> ShownTrustedKey:
    record, terms = key.record, key.record.terms
    return ShownTrustedKey(
        id=record.id,
        kid=key.public.kid,
        label=terms.label,
        is_active=terms.active,
        algorithm=key.public.algorithm,
        public_key=dict(key.public.jwk),
        streams=[StreamName(pattern.text, pattern.is_regex) for pattern in terms.streams],
        actions=list(terms.actions),
        longest_seconds=terms.longest_seconds or 0,
        added_on=instant(record.added_on),
        allowed_origins=list(terms.allowed_origins) or UNSET,
        allowed_ip_addresses=list(terms.allowed_addresses) or UNSET,
        allowed_countries=list(terms.allowed_countries) or UNSET,
        denied_countries=list(terms.denied_countries) or UNSET,
        **shown_rules(terms),
    )
