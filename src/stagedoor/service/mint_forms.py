"""The forms of what is minted, one for each kind of verifier."""

import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from stagedoor.model.access import Action
from stagedoor.model.addresses import Address, format_network, network_of
from stagedoor.model.errors import InvalidInput
from stagedoor.model.ids import StreamId, TokenId
from stagedoor.model.key import Algorithm
from stagedoor.model.secret import Secret
from stagedoor.model.verifier import Verifier, VerifierKind
from stagedoor.service.key_ports import Signer
from stagedoor.tokens.mint import cat, janus, livekit, mediamtx, ovenmediaengine, secure_link


class Job(NamedTuple):
    """A credential that may be made: for what, by whom, until when, and from which address alone.

    `identity`: what LiveKit is to call the participant. `session_end`: when what runs has to end; None when it may go on.
    """

    verifier: Verifier
    action: Action
    identity: str
    stream: StreamId
    token_id: TokenId
    address: Address | None
    now: int
    expires_at: int
    session_end: int | None


class Made(NamedTuple):
    """What was made, and where it is used, where that is known."""

    token: Secret
    url: str = ""


def _livekit(job: Job, secret: Secret) -> Made:
    # Two of one identity put each other out, so each has its own unless the caller says otherwise.
    identity = job.identity or f"{job.token_id}-{secrets.token_hex(8)}"
    token = livekit.access_token(
        key=job.verifier.key_name,
        secret=secret,
        action=job.action,
        room=str(job.stream),
        identity=identity,
        now=job.now,
        expires_at=job.expires_at,
    )
    return Made(token, job.verifier.settings.url)


def _janus(job: Job, secret: Secret) -> Made:
    room = f"room={job.stream}"
    return Made(
        janus.signed_token(last_second=job.expires_at - 1, realm=janus.VIDEOROOM, descriptors=(room,), secret=secret)
    )


def _secure_link(job: Job, secret: Secret) -> Made:
    settings = job.verifier.settings
    address = _written(job.address) if settings.bind_address and job.address is not None else ""
    link = secure_link.link(path=str(job.stream), last_second=job.expires_at - 1, secret=secret, address=address)
    return Made(Secret(link), f"{settings.url}/{link}/{job.stream}/{settings.file}")


def _ovenmediaengine(job: Job, secret: Secret) -> Made:
    settings = job.verifier.settings
    if "/" in job.stream.name:
        raise InvalidInput("OvenMediaEngine has no streams with a slash in their names", field="stream")
    if job.address is not None and job.address.version != 4:
        raise InvalidInput("OvenMediaEngine binds a policy to IPv4 addresses alone", field="clientIp")
    policy = ovenmediaengine.Policy(url_expire=job.expires_at * 1000 - 1)
    if job.session_end is not None:
        policy.stream_expire = job.session_end * 1000 - 1
    if job.address is not None:
        setattr(policy, settings.address_claim.value, f"{_written(job.address)}/32")
    parts = [settings.url, job.stream.name]
    scheme = urlsplit(settings.url).scheme
    query = ""
    if scheme in ("http", "https") and settings.file and job.action is Action.SUBSCRIBE:
        parts.append(settings.file)
    elif scheme in ("http", "https"):
        query = "?direction=whip" if job.action is Action.PUBLISH else "?direction=whep"
    elif scheme in ("ws", "wss") and job.action is Action.PUBLISH:
        query = "?direction=send"
    url = ovenmediaengine.signed_policy(
        f"{'/'.join(parts)}{query}",
        policy,
        secret,
        policy_query=settings.policy_query,
        signature_query=settings.signature_query,
    )
    return Made(Secret(url.partition("?")[2]), url)


def _cat(job: Job, secret: Secret) -> Made:
    settings = job.verifier.settings
    base = urlsplit(settings.url)
    bits = 0 if job.address is None else 32 if job.address.version == 4 else 128
    claims = cat.CatClaims(
        expires_at=job.expires_at,
        not_before=job.now,
        issued_at=job.now,
        id=secrets.token_bytes(16),
        issuer=settings.issuer,
        subject=str(job.token_id),
        audience=settings.audience,
        networks=() if job.address is None else (network_of(job.address, bits),),
        scheme=base.scheme,
        host=base.hostname or "",
        path_prefix=f"{base.path}/{job.stream}/",
        methods=("GET", "HEAD"),
    )
    token = cat.mint(claims, cat.key_of(settings.algorithm, secret), key_id=job.verifier.key_name.encode())
    return Made(token, f"{settings.url}/{job.stream}/")


MAKERS: Final[Mapping[VerifierKind, Callable[[Job, Secret], Made]]] = MappingProxyType(
    {
        VerifierKind.LIVEKIT: _livekit,
        VerifierKind.JANUS: _janus,
        VerifierKind.SECURE_LINK: _secure_link,
        VerifierKind.OVENMEDIAENGINE: _ovenmediaengine,
        VerifierKind.CAT: _cat,
    }
)


def _written(address: Address) -> str:
    """Write an address as servers do."""
    return format_network(network_of(address, 32 if address.version == 4 else 128))


async def sign_mediamtx(job: Job, signer: Signer) -> Made:
    """Make the JWT that MediaMTX checks by our public keys.

    Raises: Unavailable.
    """
    settings = job.verifier.settings
    claims = mediamtx.claims(
        action=job.action,
        stream=job.stream,
        subject=str(job.token_id),
        now=job.now,
        expires_at=job.expires_at,
        issuer=settings.issuer,
        audience=settings.audience,
    )
    token = (await signer.sign(claims, algorithm=Algorithm.ES256)).text
    if not settings.url:
        return Made(token)
    url = f"{settings.url}/{job.stream}"
    # Only these two read a token in a query; the others show it in a header.
    carried = urlsplit(settings.url).scheme in ("rtsp", "rtsps", "rtmp", "rtmps")
    return Made(token, f"{url}?token={token.reveal()}" if carried else url)
