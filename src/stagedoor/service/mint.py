"""Mint credentials for verifiers: media servers and CDNs that ask nobody.

Security: what is minted cannot be revoked and is judged by rules that are not ours. So first the access is decided as a real
one would be; then every condition of the token has to be carried by the form, or to end what is minted, or it is refused.
"""

from dataclasses import dataclass
from typing import Final

from stagedoor.model.access import Access, Action
from stagedoor.model.addresses import Address, parse_address
from stagedoor.model.caveats import Protocols
from stagedoor.model.decision import Decision, Reason, Standing
from stagedoor.model.errors import InvalidInput, Refused, Unavailable
from stagedoor.model.ids import AccountId, StreamId, TokenId, is_stream_name
from stagedoor.model.reasons import EXPLANATIONS
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind, TokenState, VerifiedToken
from stagedoor.model.verifier import VerifierKind
from stagedoor.policy import decide
from stagedoor.service.authorize import Attempt
from stagedoor.service.explain import Explainer
from stagedoor.service.key_ports import Signer
from stagedoor.service.mint_forms import MAKERS, Job, Made, sign_mediamtx
from stagedoor.service.mint_rules import check_carried, check_ever_carried, conditions_of, end_of, opened_by
from stagedoor.service.ports import Clock
from stagedoor.service.token_admin import TokenAdmin
from stagedoor.service.verifiers import Verifiers
from stagedoor.tokens.carriers import Carrier, carriers, check_fits
from stagedoor.tokens.mint import livekit

ENDS_TOO_SOON: Final = "ends_too_soon"
"""The reason of a refusal: what would be minted would have ended already."""

MAX_IDENTITY: Final = 128

_LONGEST_TEXT: Final = 16_384
_SESSION_HORIZON: Final = 24 * 3600


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
        opened = opened_by(verifier, request.action)
        access = Access(request.action, stream, opened[0], request.client_ip)
        now = self._clock()
        token, standing = await self._allowed(access, text, now, verifier.kind)
        conditions = tuple(conditions_of(token, standing, access))
        check_carried(conditions, token, standing, verifier, request.action, opened, address)
        begins = int(now)
        end = await self._end(
            access, text, begins, end_of(token, conditions, standing.account, begins, begins + ttl_seconds)
        )
        if verifier.kind is VerifierKind.LIVEKIT:
            # It takes a token for a while after its end; that may be after the token of ours has ended.
            hard = end_of(token, conditions, standing.account, begins, end + livekit.LEEWAY_SECONDS)
            end = min(end, await self._end(access, text, begins, hard) - livekit.LEEWAY_SECONDS)
        if end <= now:
            raise Refused("what would be minted has ended already", reason=ENDS_TOO_SOON)
        session_end = None
        if not token.outlived:
            session_end = end_of(token, conditions, standing.account, begins, begins + _SESSION_HORIZON)
        job = Job(verifier, request.action, request.identity, stream, token.id, address, begins, end, session_end)
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
                for condition in conditions_of(token, standing, access):
                    check_ever_carried(condition, kind)
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

    async def _make(self, job: Job) -> Made:
        if job.verifier.kind is VerifierKind.MEDIAMTX:
            if self._signer is None:
                raise Unavailable("there is no key to sign with")
            return await sign_mediamtx(job, self._signer)
        return MAKERS[job.verifier.kind](job, self._verifiers.secret(job.verifier))


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
