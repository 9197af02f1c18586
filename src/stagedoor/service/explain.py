"""Answer "what would be decided, and why": the same facts and rules as a real access, read fresh from the store."""

from dataclasses import dataclass

from stagedoor.model.access import Access
from stagedoor.model.decision import Decision
from stagedoor.model.ids import TokenId
from stagedoor.model.token import TokenState
from stagedoor.policy import Finding, explain
from stagedoor.service.ports import FactSource, TokenFacts
from stagedoor.service.standing import publishers_of, standing, token_facts
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.opaque import parse_opaque


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision, every rule that was looked at, and the token it was about if one was known."""

    decision: Decision
    findings: tuple[Finding, ...]
    token_id: TokenId | None


async def explain_access(
    source: FactSource, keyring: Keyring, access: Access, unverified_token: str, at: float
) -> Explained:
    """Explain `access` with the token text (may be empty) at `at`, in seconds since the epoch. Nothing is recorded.

    Raises: Unavailable when the store does not answer.
    """
    value = parse_opaque(unverified_token) if unverified_token else None
    digest = keyring.digest(value) if value is not None else None
    read = await source.facts(digest, access.stream.account, access.stream.name, with_publishers=True)
    if digest is not None:
        facts = token_facts(read.record)
    else:
        facts = TokenFacts(None, TokenState.MALFORMED if unverified_token else TokenState.ABSENT)
    stands = standing(
        facts,
        publishers_of(read.publishers, access.stream.name),
        account_enabled=access.stream.account not in await source.disabled_accounts(),
        revision=read.revision,
        now=at,
    )
    decision, findings = explain(facts.token, access, stands, at)
    return Explained(decision, findings, facts.token.id if facts.token is not None else None)
