"""Mint credentials for verifiers: media servers and CDNs that ask nobody.

Security: what is minted cannot be revoked and is judged by rules that are not ours. So first the access is decided as a real
one would be; then every condition of the token has to be carried by the form, or to end what is minted, or it is refused.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import AccountPolicy
from stagedoor.model.addresses import Address, format_network, network_of, parse_address
from stagedoor.model.caveats import (
    BoundAddresses,
    Budgets,
    ClientAddresses,
    Condition,
    Countries,
    ExpiresAt,
    NotBefore,
    Origins,
    Protocols,
    Referrers,
    SessionLimit,
    SingleUse,
    Tried,
    Unjudged,
    UserAgents,
    WithinHours,
)
from stagedoor.model.decision import Decision, Reason, Standing
from stagedoor.model.errors import InvalidInput, Refused, Unavailable
from stagedoor.model.hours import within
from stagedoor.model.ids import AccountId, StreamId, TokenId, is_stream_name
from stagedoor.model.key import Algorithm
from stagedoor.model.reasons import EXPLANATIONS
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind, TokenState, VerifiedToken
from stagedoor.model.verifier import Verifier, VerifierKind
from stagedoor.policy import decide
from stagedoor.service.authorize import Attempt
from stagedoor.service.explain import Explainer
from stagedoor.service.key_ports import Signer
from stagedoor.service.ports import Clock
from stagedoor.service.token_admin import TokenAdmin
from stagedoor.service.verifiers import SPEAKS, Verifiers
from stagedoor.tokens.carriers import Carrier, carriers, check_fits
from stagedoor.tokens.mint import cat, janus, livekit, mediamtx, ovenmediaengine, secure_link

NOT_CARRIED: Final = "not_carried"
"""The reason of a refusal: a condition of the token has no place in the form."""

ENDS_TOO_SOON: Final = "ends_too_soon"
"""The reason of a refusal: what would be minted would have ended already."""

MAX_IDENTITY: Final = 128

_LONGEST_TEXT: Final = 16_384
_SESSION_HORIZON: Final = 24 * 3600
_HLS_FILE: Final = ".m3u8"

_SETTINGS: Final[Mapping[type, str]] = MappingProxyType(
    {
        ClientAddresses: "allowedIpAddresses",
        Countries: "allowedCountries",
        BoundAddresses: "bindIpsOnUsage",
        Origins: "allowedOrigins",
        UserAgents: "allowedUserAgents",
        Referrers: "allowedReferrers",
        SessionLimit: "sessionLimit",
        SingleUse: "singleUse",
        Budgets: "budgets",
    }
)
_IN_TIME: Final = (NotBefore, ExpiresAt, WithinHours)
_BY_ADDRESS: Final = (ClientAddresses, Countries)
_ENDS_SESSIONS: Final = frozenset({VerifierKind.OVENMEDIAENGINE, VerifierKind.SECURE_LINK, VerifierKind.CAT})
"""The kinds that end what runs: by an instant of its own, or since each request is checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MintRequest:
    """What is asked for: a credential of the form of `verifier` for one action on one stream, from a token.

    The token is given by its text or by its id. `client_ip`: who will use it, where that is known. `identity`: what LiveKit
    is to call the participant.
    """

    verifier: str
    stream: str
    action: Action
    token: Secret | None = None
    token_id: TokenId | None = None
    client_ip: str = ""
    ttl_seconds: int | None = None
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A credential, good before `expires_at` (seconds since the epoch); `url` is where it is used, where that is known."""

    token: Secret
    form: VerifierKind
    expires_at: int
    carriers: tuple[Carrier, ...]
    url: Secret | None = None

    @property
    def length(self) -> int:
        """How many characters the credential has."""
        return len(self.token.reveal())


class _Job(NamedTuple):
    """A credential that may be made: for what, by whom, until when, and from which address alone.

    `session_end`: when what runs has to end; None when it may go on.
    """

    verifier: Verifier
    request: MintRequest
    stream: StreamId
    token_id: TokenId
    address: Address | None
    now: int
    expires_at: int
    session_end: int | None


class _Made(NamedTuple):
    token: Secret
    url: str = ""


class Minter:
    """Mints. Every call is for one account and sees no other."""

    def __init__(
        self,
        *,
        explainer: Explainer,
        tokens: TokenAdmin,
        verifiers: Verifiers,
        clock: Clock,
        longest_seconds: int,
        signer: Signer | None = None,
    ) -> None:
        """Take the collaborators. `longest_seconds`: how long anything minted is good for at most.

        `signer`: our own keys; left out, nothing that they sign is minted.
        """
        self._explainer = explainer
        self._tokens = tokens
        self._verifiers = verifiers
        self._clock = clock
        self._longest_seconds = longest_seconds
        self._signer = signer

    async def mint(self, account: AccountId, request: MintRequest) -> Minted:
        """Make a credential that allows no more than the token does.

        Raises: Refused, with the reason; InvalidInput; NotFound when there is no such verifier or token; Unavailable.
        """
        stream, address = _stream(account, request.stream), _address(request.client_ip)
        ttl_seconds = self._ttl(request.ttl_seconds)
        if len(request.identity) > MAX_IDENTITY or not request.identity.isprintable():
            raise InvalidInput(f"identity has at most {MAX_IDENTITY} characters that can be printed", field="identity")
        verifier = await self._verifiers.read(account, request.verifier)
        text = await self._text(account, request)
        opened = _opened(verifier, request.action)
        access = Access(request.action, stream, opened[0], request.client_ip)
        now = self._clock()
        token, standing = await self._allowed(access, text, now, verifier.kind)
        conditions = tuple(_conditions(token, standing, access))
        _check_carried(conditions, token, standing, verifier, request, opened, address)
        begins = int(now)
        end = await self._end(
            access, text, begins, _end_of(token, conditions, standing.account, begins, begins + ttl_seconds)
        )
        if verifier.kind is VerifierKind.LIVEKIT:
            # It takes a token for a while after its end; that may be after the token of ours has ended.
            hard = _end_of(token, conditions, standing.account, begins, end + livekit.LEEWAY_SECONDS)
            end = min(end, await self._end(access, text, begins, hard) - livekit.LEEWAY_SECONDS)
        if end <= now:
            raise Refused("what would be minted has ended already", reason=ENDS_TOO_SOON)
        session_end = None
        if not token.outlived:
            session_end = _end_of(token, conditions, standing.account, begins, begins + _SESSION_HORIZON)
        job = _Job(verifier, request, stream, token.id, address, begins, end, session_end)
        made = await self._make(job)
        length, named = len(made.token.reveal()), _name_length(verifier.kind, stream)
        if verifier.settings.protocols or any(isinstance(each, Protocols) for each in conditions):
            check_fits(opened, length, named)
        url = Secret(made.url) if made.url else None
        return Minted(token=made.token, form=verifier.kind, expires_at=end, carriers=carriers(length, named), url=url)

    def _ttl(self, asked: int | None) -> int:
        if asked is None:
            return self._longest_seconds
        if not 1 <= asked <= self._longest_seconds:
            raise InvalidInput(f"ttlSeconds goes from 1 to {self._longest_seconds} here", field="ttlSeconds")
        return asked

    async def _text(self, account: AccountId, request: MintRequest) -> str:
        if (request.token is None) is (request.token_id is None):
            raise InvalidInput("give token (its text) or tokenId, one of them", field="token")
        if request.token is not None:
            text = request.token.reveal()
            if not 1 <= len(text) <= _LONGEST_TEXT:
                raise InvalidInput(f"token has 1 to {_LONGEST_TEXT} characters", field="token")
            return text
        assert request.token_id is not None  # noqa: S101  one of them is given
        kind = TokenKind.PUBLISH if request.action is Action.PUBLISH else TokenKind.SUBSCRIBE
        return (await self._tokens.read(account, kind, request.token_id)).secret.reveal()

    async def _decide(self, access: Access, text: str, at: float) -> tuple[Decision, VerifiedToken | None, Standing]:
        """Decide as a real access would be, but that an open stream asks for the token nevertheless."""
        explained = await self._explainer.explain(Attempt(access, text), at)
        standing = explained.standing._replace(secured=True)
        return decide(explained.token, access, standing, at), explained.token, standing

    async def _allowed(
        self, access: Access, text: str, now: float, kind: VerifierKind
    ) -> tuple[VerifiedToken, Standing]:
        """Return the token that allows it, and how things stand.

        Raises: Refused.
        """
        decision, token, standing = await self._decide(access, text, now)
        if token is None or token.internal or token.account != access.stream.account:
            # Security: another account's token is as unknown here as one that does not exist.
            reason = Reason.TOKEN_UNKNOWN if token is not None else decision.reason
        elif decision.allowed and decision.shadowed is None:
            return token, standing
        else:
            # What is tried out refuses nobody yet; what is minted in the meantime would outlast the trial.
            reason = decision.reason if decision.shadowed is None else decision.shadowed
            granted = access.action in token.grant.actions and token.grant.covers(access.stream.name)
            if granted and standing.token is TokenState.ACTIVE:
                # A browser's origin is missing here by nature: what helps is another way in, not an origin.
                for condition in _conditions(token, standing, access):
                    _check_ever_carried(condition, kind)
        raise Refused(f"{reason}: {EXPLANATIONS[reason].hint}", reason=reason.value)

    async def _end(self, access: Access, text: str, now: int, end: int) -> int:
        """Return `end`, or before it the first second at which the access is no longer allowed.

        Whatever else ends a token, like the secret it was rotated from, is known to who decides.
        """
        if end <= now or await self._is_good(access, text, end - 1):
            return end
        good, bad = now, end - 1
        while bad - good > 1:
            middle = (good + bad) // 2
            if await self._is_good(access, text, middle):
                good = middle
            else:
                bad = middle
        return bad

    async def _is_good(self, access: Access, text: str, at: int) -> bool:
        decision, _, _ = await self._decide(access, text, at)
        return decision.allowed and decision.shadowed is None

    async def _make(self, job: _Job) -> _Made:
        if job.verifier.kind is VerifierKind.MEDIAMTX:
            return await self._mediamtx(job)
        return _MAKERS[job.verifier.kind](job, self._verifiers.secret(job.verifier))

    async def _mediamtx(self, job: _Job) -> _Made:
        if self._signer is None:
            raise Unavailable("there is no key to sign with")
        settings = job.verifier.settings
        claims = mediamtx.claims(
            action=job.request.action,
            stream=job.stream,
            subject=str(job.token_id),
            now=job.now,
            expires_at=job.expires_at,
            issuer=settings.issuer,
            audience=settings.audience,
        )
        token = (await self._signer.sign(claims, algorithm=Algorithm.ES256)).text
        if not settings.url:
            return _Made(token)
        url = f"{settings.url}/{job.stream}"
        # Only these two read a token in a query; the others show it in a header.
        carried = urlsplit(settings.url).scheme in ("rtsp", "rtsps", "rtmp", "rtmps")
        return _Made(token, f"{url}?token={token.reveal()}" if carried else url)


# -- what has to be carried


def _conditions(token: VerifiedToken, standing: Standing, access: Access) -> Iterator[Condition]:
    """Yield all that limits the access, what is only tried out too."""
    watching = access.action is Action.SUBSCRIBE
    asked = [caveat for each in (token, *token.above) for caveat in each.caveats]
    for caveat in (*asked, *(standing.viewer_caveats if watching else ())):
        yield caveat.condition if isinstance(caveat, Tried) else caveat
    countries = standing.account.countries
    if countries is not None and access.action in countries.applies_to:
        yield countries


def _check_carried(
    conditions: tuple[Condition, ...],
    token: VerifiedToken,
    standing: Standing,
    verifier: Verifier,
    request: MintRequest,
    opened: tuple[Protocol, ...],
    address: Address | None,
) -> None:
    """Refuse when the form would allow more than the token.

    Raises: Refused, naming the setting; InvalidInput when the address is missing.
    """
    kind = verifier.kind
    ends = standing.account.longest_lifetime_seconds is not None or any(
        isinstance(condition, ExpiresAt | WithinHours) for condition in conditions
    )
    if ends and not token.outlived and kind not in _ENDS_SESSIONS:
        raise _not_carried(kind, "endSessionsAtExpiry")
    for condition in conditions:
        _check_condition(condition, verifier, opened, address)
    if kind is VerifierKind.SECURE_LINK and verifier.settings.bind_address and address is None:
        raise InvalidInput("links of this verifier are bound to an address: say the client's", field="clientIp")
    if kind is VerifierKind.JANUS and set(verifier.settings.opens) != {request.action}:
        raise Refused(
            f"who is let into a room of this verifier can {' and '.join(sorted(verifier.settings.opens))}; guard the rooms"
            f" otherwise, and set opens to {request.action}",
            reason=NOT_CARRIED,
            field="action",
        )


def _check_condition(
    condition: Condition, verifier: Verifier, opened: tuple[Protocol, ...], address: Address | None
) -> None:
    """Refuse when the form would not hold one condition.

    Raises: Refused, naming the setting; InvalidInput when the address is missing.
    """
    if isinstance(condition, Protocols):
        wider = sorted(set(opened) - set(condition.protocols))
        if wider:
            raise Refused(
                f"allowedProtocols leaves out {' '.join(wider)}, which a credential for this verifier lets through;"
                " narrow the verifier, or let the server ask by its hook",
                reason=NOT_CARRIED,
                field="allowedProtocols",
            )
    elif isinstance(condition, _BY_ADDRESS):
        if not _binds(verifier, address):
            raise _not_carried(verifier.kind, _SETTINGS[type(condition)])
        if address is None:
            raise InvalidInput("the token has rules about addresses: say the client's", field="clientIp")
    else:
        _check_ever_carried(condition, verifier.kind)


def _check_ever_carried(condition: Condition, kind: VerifierKind) -> None:
    """Refuse a condition that no form has a place for.

    Raises: Refused, naming the setting.
    """
    if not isinstance(condition, (*_IN_TIME, *_BY_ADDRESS, Protocols)):
        # Security: a condition that is added and forgotten here is not carried either.
        name = condition.setting if isinstance(condition, Unjudged) else _SETTINGS.get(type(condition), "token")
        raise _not_carried(kind, name)


def _not_carried(kind: VerifierKind, name: str) -> Refused:
    return Refused(
        f"a credential for {kind} cannot carry {name} of the token; let the server ask by its hook instead",
        reason=NOT_CARRIED,
        field=name,
    )


def _binds(verifier: Verifier, address: Address | None) -> bool:
    """Tell whether what is minted is good from `address` alone; with None, from one that is still to be said."""
    if verifier.kind is VerifierKind.SECURE_LINK:
        return verifier.settings.bind_address
    if verifier.kind is VerifierKind.OVENMEDIAENGINE:
        return address is None or address.version == 4
    return verifier.kind is VerifierKind.CAT


def _opened(verifier: Verifier, action: Action) -> tuple[Protocol, ...]:
    """Return over what a credential lets media through.

    Raises: InvalidInput when the verifier is not for that action.
    """
    settings, kind = verifier.settings, verifier.kind
    if kind in (VerifierKind.SECURE_LINK, VerifierKind.CAT) and action is not Action.SUBSCRIBE:
        raise InvalidInput(f"{kind} is for watching", field="action")
    if kind is not VerifierKind.OVENMEDIAENGINE:
        return settings.protocols or SPEAKS[kind]
    scheme = urlsplit(settings.url).scheme
    if scheme == "rtmp" and action is not Action.PUBLISH:
        raise InvalidInput("OvenMediaEngine takes streams by RTMP and gives none", field="action")
    if scheme in ("rtmp", "srt"):
        return (Protocol(scheme),)
    plays_file = scheme in ("http", "https") and settings.file.endswith(_HLS_FILE) and action is Action.SUBSCRIBE
    return (Protocol.HLS if plays_file else Protocol.WEBRTC,)


def _end_of(
    token: VerifiedToken, conditions: tuple[Condition, ...], policy: AccountPolicy, now: int, latest: int
) -> int:
    """Return when the token's own time ends, or `latest`, all in seconds since the epoch."""
    end = latest
    if policy.longest_lifetime_seconds is not None:
        end = min(end, token.added_on + policy.longest_lifetime_seconds)
    for condition in conditions:
        if isinstance(condition, ExpiresAt):
            end = min(end, condition.at)
        elif isinstance(condition, WithinHours):
            # The clock on the wall turns to another minute when that of the epoch does.
            turns = range(now - now % 60 + 60, end, 60)
            end = next((at for at in turns if not within(condition.windows, condition.zone, at)), end)
    return end


def _stream(account: AccountId, name: str) -> StreamId:
    if not is_stream_name(name):
        raise InvalidInput("stream is the exact name of one stream", field="stream")
    return StreamId(account, name)


def _address(text: str) -> Address | None:
    if not text:
        return None
    address = parse_address(text)
    if address is None:
        raise InvalidInput("clientIp is an IPv4 or IPv6 address", field="clientIp")
    return address


def _name_length(kind: VerifierKind, stream: StreamId) -> int:
    return len(stream.name if kind is VerifierKind.OVENMEDIAENGINE else str(stream))


# -- the forms


def _livekit(job: _Job, secret: Secret) -> _Made:
    # Two of one identity put each other out, so each has its own unless the caller says otherwise.
    identity = job.request.identity or f"{job.token_id}-{secrets.token_hex(8)}"
    token = livekit.access_token(
        key=job.verifier.key_name,
        secret=secret,
        action=job.request.action,
        room=str(job.stream),
        identity=identity,
        now=job.now,
        expires_at=job.expires_at,
    )
    return _Made(token, job.verifier.settings.url)


def _janus(job: _Job, secret: Secret) -> _Made:
    room = f"room={job.stream}"
    return _Made(
        janus.signed_token(last_second=job.expires_at - 1, realm=janus.VIDEOROOM, descriptors=(room,), secret=secret)
    )


def _secure_link(job: _Job, secret: Secret) -> _Made:
    settings = job.verifier.settings
    address = _written(job.address) if settings.bind_address and job.address is not None else ""
    link = secure_link.link(path=str(job.stream), last_second=job.expires_at - 1, secret=secret, address=address)
    return _Made(Secret(link), f"{settings.url}/{link}/{job.stream}/{settings.file}")


def _ovenmediaengine(job: _Job, secret: Secret) -> _Made:
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
    if scheme in ("http", "https") and settings.file and job.request.action is Action.SUBSCRIBE:
        parts.append(settings.file)
    elif scheme in ("http", "https"):
        query = "?direction=whip" if job.request.action is Action.PUBLISH else "?direction=whep"
    elif scheme in ("ws", "wss") and job.request.action is Action.PUBLISH:
        query = "?direction=send"
    url = ovenmediaengine.signed_policy(
        f"{'/'.join(parts)}{query}",
        policy,
        secret,
        policy_query=settings.policy_query,
        signature_query=settings.signature_query,
    )
    return _Made(Secret(url.partition("?")[2]), url)


def _cat(job: _Job, secret: Secret) -> _Made:
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
    return _Made(token, f"{settings.url}/{job.stream}/")


_MAKERS: Final[Mapping[VerifierKind, Callable[[_Job, Secret], _Made]]] = MappingProxyType(
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
