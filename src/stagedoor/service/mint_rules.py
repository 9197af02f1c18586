"""What a credential has to carry of the token that it is minted from, form by form.

Security: what has no place in a form, and is not over in time by itself, is refused.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import AccountPolicy
from stagedoor.model.addresses import Address
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
from stagedoor.model.decision import Standing
from stagedoor.model.errors import InvalidInput, Refused
from stagedoor.model.hours import within
from stagedoor.model.token import VerifiedToken
from stagedoor.model.verifier import Verifier, VerifierKind
from stagedoor.service.verifiers import SPEAKS

NOT_CARRIED: Final = "not_carried"
"""The reason of a refusal: a condition of the token has no place in the form."""

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


def conditions_of(token: VerifiedToken, standing: Standing, access: Access) -> Iterator[Condition]:
    """Yield all that limits the access, what is only tried out too."""
    watching = access.action is Action.SUBSCRIBE
    asked = [caveat for each in (token, *token.above) for caveat in each.caveats]
    for caveat in (*asked, *(standing.viewer_caveats if watching else ())):
        yield caveat.condition if isinstance(caveat, Tried) else caveat
    countries = standing.account.countries
    if countries is not None and access.action in countries.applies_to:
        yield countries


def check_carried(
    conditions: tuple[Condition, ...],
    token: VerifiedToken,
    standing: Standing,
    verifier: Verifier,
    action: Action,
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
    if kind is VerifierKind.JANUS and set(verifier.settings.opens) != {action}:
        raise Refused(
            f"who is let into a room of this verifier can {' and '.join(sorted(verifier.settings.opens))}; guard the rooms"
            f" otherwise, and set opens to {action}",
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
        check_ever_carried(condition, verifier.kind)


def check_ever_carried(condition: Condition, kind: VerifierKind) -> None:
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


def opened_by(verifier: Verifier, action: Action) -> tuple[Protocol, ...]:
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


def end_of(
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
