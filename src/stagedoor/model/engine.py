"""Media servers that ask us."""

from dataclasses import dataclass
from enum import StrEnum

from stagedoor.model.ids import AccountId, EngineId


class EngineKind(StrEnum):
    """A media server whose hooks we speak."""

    NGINX_RTMP = "nginx-rtmp"
    MEDIAMTX = "mediamtx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A media server of the operator's. `account` owns streams whose path names none; empty leaves it to the token.

    `secret_digest` finds the engine by the secret in its hook URL; the secret itself is not kept.
    """

    id: EngineId
    kind: EngineKind
    name: str
    account: AccountId
    secret_digest: bytes
    added_on: int
