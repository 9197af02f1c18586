"""What the use cases of signed tokens need from outside, as protocols (see `ports`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from stagedoor.model.addresses import Network
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenRecord, TokenTerms


class Former(NamedTuple):
    """A value that a token had before it was rotated: good until `until` (seconds since the epoch)."""

    digest: bytes
    sealed: bytes
    until: int


class Parentage(NamedTuple):
    """What is known of the token, or the key, that others were signed with, and of those that were asked about.

    `record` is None when there is none. `kept`: the ids under which they are counted, by digest, and the networks that they are
    bound to, by id; `bound` are the parent's own. `revoked`: since when some are refused, by what they are named by
    (`ChildName`). `former`: values that the parent had before.
    """

    record: TokenRecord | None
    bound: Mapping[Network, float] = MappingProxyType({})
    kept: Mapping[bytes, tuple[TokenId, Mapping[Network, float]]] = MappingProxyType({})
    revoked: Mapping[str, int] = MappingProxyType({})
    former: tuple[Former, ...] = ()


MOST_FORMER: Final = 10
"""So many of the values that a parent had before are tried, those that are good the longest: a made-up token costs no more."""


class Asked(NamedTuple):
    """A signed token that was shown, as far as the store has to know: what it names, unverified.

    `parent`: the id of the token, or the digest of the key, that it says it is signed with; None where it cannot be read.
    `digests` find those of its levels that are counted, `names` those that are revoked. `unverified` is for who verifies it.
    """

    parent: TokenId | bytes | None
    digests: tuple[bytes, ...]
    names: tuple[str, ...]
    unverified: object


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChild:
    """A token that others signed, about to be counted under an id of its own."""

    account: AccountId
    parent: TokenId
    terms: TokenTerms
    digest: bytes
    seal: Callable[[TokenId], bytes]
    added_on: int


class ChildStore(Protocol):
    """Tokens that others signed with one of ours, or with a key that an account trusts."""

    async def keep_children(self, children: Sequence[NewChild]) -> None:
        """Give tokens ids of their own, under which they are counted. One that has one keeps it."""

    async def revoke_child(self, account: AccountId, parent: TokenId, child: str, at: int) -> None:
        """Refuse from now on what has that name (`child_names` of tokens/signed.py), whatever it was signed with.

        Raises: NotFound when the account has no such parent.
        """

    async def revoked_children(self, account: AccountId, parent: TokenId) -> Mapping[str, int]:
        """Return what is refused, and since when.

        Raises: NotFound.
        """

    async def forget_children(self, before: int, most: int) -> int:
        """Delete what is kept of up to `most` that were over before an instant, or their parent was revoked; return how many.

        One that has a session open is left.
        """
