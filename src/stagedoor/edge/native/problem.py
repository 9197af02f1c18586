"""Problem details (RFC 9457): how our own API words what went wrong."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from stagedoor.edge.operation import Answer, Bearer
from stagedoor.model.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    NotPermitted,
    OutOfScope,
    Refused,
    StagedoorError,
    TooMany,
    Unavailable,
)

CONTENT_TYPE: Final = "application/problem+json"

_STATUS: Final[Mapping[type[StagedoorError], int]] = {
    InvalidInput: 400,
    OutOfScope: 403,
    NotPermitted: 401,
    Refused: 403,
    NotFound: 404,
    Conflict: 409,
    TooMany: 429,
    Unavailable: 503,
}

_SCHEMA: Final = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "field": {"type": "string"},
        "reason": {"type": "string"},
    },
}


class Problems(Bearer):
    """The dialect of our own API: data as it is, errors as problem details."""

    def wrap(self, data: Any) -> Any:
        """Return what is sent as JSON for an operation's data."""
        return data

    def refuse(self, error: StagedoorError) -> Answer:
        """Answer one of our own errors."""
        status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
        more = {"code": error.code} | ({} if error.field is None else {"field": error.field})
        if isinstance(error, Refused):
            more["reason"] = error.reason
        headers: list[tuple[bytes, bytes]] = []
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if isinstance(error, OutOfScope):
            headers.append((b"www-authenticate", f'Bearer error="{error.code}", scope="{error.scope}"'.encode()))
        if isinstance(error, TooMany):
            headers.append((b"retry-after", str(error.retry_after_seconds).encode()))
        return _problem(status, error.message, more)._replace(headers=headers)

    def refuse_request(self, status: int, message: str) -> Answer:
        """Answer a request that is for no operation, or that cannot be read."""
        return _problem(status, message, {})

    def answer_schema(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the JSON schema of `wrap`, given the schema of the data."""
        return data

    def refusal_schema(self, status: int) -> tuple[str, Mapping[str, Any]]:
        """Return the type of the content of a refusal, and its JSON schema."""
        return CONTENT_TYPE, _SCHEMA


def _problem(status: int, detail: str, more: Mapping[str, Any]) -> Answer:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return Answer(status, CONTENT_TYPE.encode(), msgspec.json.encode(body))
