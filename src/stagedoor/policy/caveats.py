"""One judge for each type of caveat. A type without a judge refuses."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from stagedoor.model.access import Access
from stagedoor.model.addresses import parse_address
from stagedoor.model.caveats import ClientAddresses, ExpiresAt, NotBefore
from stagedoor.model.decision import Reason


def judge(caveat: object, access: Access, now: float) -> Reason | None:
    """Return the reason why `caveat` refuses `access` at `now` (seconds since the epoch), None when it does not."""
    by_type = _JUDGES.get(type(caveat))
    # Security: what nobody here understands never passes.
    return Reason.CAVEAT_NOT_JUDGED if by_type is None else by_type(caveat, access, now)


def _not_before(caveat: NotBefore, _access: Access, now: float) -> Reason | None:
    return None if caveat.at <= now else Reason.TOKEN_NOT_YET_VALID


def _expires_at(caveat: ExpiresAt, _access: Access, now: float) -> Reason | None:
    return None if now < caveat.at else Reason.TOKEN_EXPIRED


def _client_addresses(caveat: ClientAddresses, access: Access, _now: float) -> Reason | None:
    address = parse_address(access.client_ip)
    if address is None:
        return Reason.ADDRESS_UNKNOWN
    return None if any(network.holds(address) for network in caveat.networks) else Reason.ADDRESS_NOT_ALLOWED


_JUDGES: Final[Mapping[type, Callable[[Any, Access, float], Reason | None]]] = MappingProxyType(
    {NotBefore: _not_before, ExpiresAt: _expires_at, ClientAddresses: _client_addresses}
)
