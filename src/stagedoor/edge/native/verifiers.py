"""The operations on verifiers, and on what is minted for them."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from stagedoor.edge.operation import Call, Operation
from stagedoor.model.access import Action, Protocol
from stagedoor.model.errors import InvalidInput
from stagedoor.model.ids import TokenId
from stagedoor.model.instants import instant
from stagedoor.model.secret import Secret
from stagedoor.model.verifier import AddressClaim, CatAlgorithm, Verifier, VerifierKind, VerifierSettings
from stagedoor.service.mint import Minted, Minter, MintRequest
from stagedoor.service.verifiers import MAX_NAME, MAX_SECRET, Verifiers
from stagedoor.tokens.carriers import Carrier

_PATH: Final = "/v1/verifiers"
_LARGEST_ID: Final = 2**63 - 1

_Text = Annotated[str, Meta(max_length=512)]


class SetVerifier(Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """How a verifier is set up; which settings a kind has: docs/contracts/engine-tokens.md. What is left out stays as it is."""

    key_name: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    secret: Annotated[str, Meta(min_length=1, max_length=MAX_SECRET)] | UnsetType = UNSET
    url: _Text | UnsetType = UNSET
    file: _Text | UnsetType = UNSET
    protocols: list[Protocol] | UnsetType = UNSET
    issuer: _Text | UnsetType = UNSET
    audience: _Text | UnsetType = UNSET
    policy_query: _Text | UnsetType = UNSET
    signature_query: _Text | UnsetType = UNSET
    address_claim: AddressClaim | UnsetType = UNSET
    bind_address: bool | UnsetType = UNSET
    opens: list[Action] | UnsetType = UNSET
    algorithm: CatAlgorithm | UnsetType = UNSET


class NewVerifier(SetVerifier, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """A verifier to be kept."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    kind: VerifierKind


class ShownVerifier(Struct, rename="camel", kw_only=True):
    """A verifier. Its secret is never shown; what its kind does not have is left out."""

    name: str
    kind: VerifierKind
    added_on: str
    key_name: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    file: str | UnsetType = UNSET
    protocols: list[Protocol] | UnsetType = UNSET
    issuer: str | UnsetType = UNSET
    audience: str | UnsetType = UNSET
    policy_query: str | UnsetType = UNSET
    signature_query: str | UnsetType = UNSET
    address_claim: AddressClaim | UnsetType = UNSET
    bind_address: bool | UnsetType = UNSET
    opens: list[Action] | UnsetType = UNSET
    algorithm: CatAlgorithm | UnsetType = UNSET


class NewEngineToken(Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """A credential to be minted, from a token given by its text or by its id.

    `clientIp`: who will use it, where that is known. `identity`: what LiveKit is to call the participant.
    """

    verifier: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    stream: Annotated[str, Meta(min_length=1, max_length=128)]
    action: Action
    token: Annotated[str, Meta(min_length=1, max_length=16384)] | None = None
    token_id: Annotated[int, Meta(ge=1, le=_LARGEST_ID)] | None = None
    client_ip: Annotated[str, Meta(max_length=64)] = ""
    ttl_seconds: Annotated[int, Meta(ge=1, le=3600)] | None = None
    identity: Annotated[str, Meta(max_length=128)] = ""


class EngineToken(Struct, rename="camel", kw_only=True):
    """A credential, good before `expiresOn`. `carriers` are those that have room for its `length`, with the stream's name."""

    token: str
    form: VerifierKind
    expires_on: str
    length: int
    carriers: list[Carrier]
    url: str | UnsetType = UNSET


def verifier_operations(verifiers: Verifiers, minter: Minter) -> tuple[Operation, ...]:
    """Return the operations."""

    async def list_(call: Call) -> list[ShownVerifier]:
        return [shown_verifier(verifier) for verifier in await verifiers.list(call.account)]

    async def create(call: Call) -> ShownVerifier:
        asked: NewVerifier = call.body
        added = await verifiers.add(
            call.account,
            asked.name,
            asked.kind,
            key_name=_given(asked.key_name) or "",
            secret=_secret(asked),
            settings=_changed(asked, VerifierSettings()),
        )
        return shown_verifier(added)

    async def read(call: Call) -> ShownVerifier:
        return shown_verifier(await verifiers.read(call.account, call.path["name"]))

    async def update(call: Call) -> ShownVerifier:
        asked: SetVerifier = call.body
        if all(getattr(asked, name) is UNSET for name in asked.__struct_fields__):
            raise InvalidInput("say what to change", field="body")
        changed = await verifiers.change(
            call.account,
            call.path["name"],
            partial(_changed, asked),
            key_name=_given(asked.key_name),
            secret=_secret(asked),
        )
        return shown_verifier(changed)

    async def delete(call: Call) -> bool:
        await verifiers.remove(call.account, call.path["name"])
        return True

    async def mint(call: Call) -> EngineToken:
        asked: NewEngineToken = call.body
        request = MintRequest(
            verifier=asked.verifier,
            stream=asked.stream,
            action=asked.action,
            token=None if asked.token is None else Secret(asked.token),
            token_id=None if asked.token_id is None else TokenId(asked.token_id),
            client_ip=asked.client_ip,
            ttl_seconds=asked.ttl_seconds,
            identity=asked.identity,
        )
        return shown_minted(await minter.mint(call.account, request))

    operation = partial(Operation, tag="Engine tokens")
    return (
        operation(
            method="GET",
            path=_PATH,
            name="list_verifiers",
            scope="live:verifier:read",
            summary="List the verifiers, without their secrets",
            handle=list_,
            answer=list[ShownVerifier],
            refusals=(),
        ),
        operation(
            method="POST",
            path=_PATH,
            name="create_verifier",
            scope="live:verifier:create",
            summary="Add a media server or CDN that checks credentials itself",
            status=201,
            handle=create,
            body=NewVerifier,
            answer=ShownVerifier,
            example={
                "name": "meetings",
                "kind": "livekit",
                "keyName": "APIexample",
                "secret": "the secret that LiveKit knows by that name",
                "url": "wss://livekit.example.com",
            },
            refusals=(400, 409),
            text="Its secret is sealed, and in no answer.",
        ),
        operation(
            method="GET",
            path=f"{_PATH}/{{name}}",
            name="read_verifier",
            scope="live:verifier:read",
            summary="Read a verifier",
            handle=read,
            answer=ShownVerifier,
            refusals=(404,),
        ),
        operation(
            method="PATCH",
            path=f"{_PATH}/{{name}}",
            name="update_verifier",
            scope="live:verifier:update",
            summary="Change a verifier, or give it another secret",
            handle=update,
            body=SetVerifier,
            answer=ShownVerifier,
            example={"url": "wss://livekit2.example.com"},
            refusals=(400, 404),
        ),
        operation(
            method="DELETE",
            path=f"{_PATH}/{{name}}",
            name="delete_verifier",
            scope="live:verifier:delete",
            summary="Delete a verifier and its secret",
            handle=delete,
            answer=bool,
            refusals=(404,),
            text="What was minted for it is good until its end.",
        ),
        operation(
            method="POST",
            path="/v1/engine_tokens",
            name="create_engine_token",
            scope="live:engine_token:create",
            summary="Mint a credential for a verifier",
            status=201,
            handle=mint,
            body=NewEngineToken,
            answer=EngineToken,
            example={
                "verifier": "meetings",
                "stream": "main",
                "action": "subscribe",
                "token": "d2e166fdda89824a6c493d8a2af7a0754199eff9e38c579cba8783767a44039c",
                "ttlSeconds": 60,
            },
            refusals=(400, 403, 404),
            text="It allows no more than the token does, and no longer. It cannot be revoked, so it is short.",
        ),
    )


def shown_verifier(verifier: Verifier) -> ShownVerifier:
    """Return a verifier as answers show it."""
    shown = ShownVerifier(name=verifier.name, kind=verifier.kind, added_on=instant(verifier.added_on))
    if verifier.key_name:
        shown.key_name = verifier.key_name
    unset = VerifierSettings()
    for name in VerifierSettings.__dataclass_fields__:
        value: Any = getattr(verifier.settings, name)
        if value != getattr(unset, name):
            setattr(shown, name, list(value) if isinstance(value, tuple) else value)
    return shown


def shown_minted(minted: Minted) -> EngineToken:
    """Return a credential as answers show it."""
    shown = EngineToken(
        token=minted.token.reveal(),
        form=minted.form,
        expires_on=instant(minted.expires_at),
        length=minted.length,
        carriers=list(minted.carriers),
    )
    if minted.url is not None:
        shown.url = minted.url.reveal()
    return shown


def _changed(asked: SetVerifier, settings: VerifierSettings) -> VerifierSettings:
    given: dict[str, Any] = {}
    for name in VerifierSettings.__dataclass_fields__:
        value = getattr(asked, name)
        if value is not UNSET:
            given[name] = tuple(value) if isinstance(value, list) else value
    return replace(settings, **given)


def _given(value: str | UnsetType) -> str | None:
    return None if isinstance(value, UnsetType) else value


def _secret(asked: SetVerifier) -> Secret | None:
    return None if isinstance(asked.secret, UnsetType) else Secret(asked.secret)
