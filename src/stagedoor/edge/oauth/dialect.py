"""How the OAuth side words its answers: data as it is, errors in all the words that clients look for.

RFC 6749 section 5.2 has `error` and `error_description`; problem details (RFC 9457) have `type`, `title`, `status` and
`detail`; the vendor's clients before 5.0 read `error_code`, `error_reason` and `message`. Nothing here is ever cached.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from stagedoor.edge.asgi import Headers
from stagedoor.edge.operation import Answer, Bearer
from stagedoor.model.errors import (
    Conflict,
    InvalidClient,
    InvalidInput,
    InvalidScope,
    NotFound,
    NotPermitted,
    OutOfScope,
    StagedoorError,
    TooMany,
    Unavailable,
    UnsupportedGrant,
)

NO_STORE: Final[Headers] = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
"""Headers of whatever holds a token, or tells of one (RFC 6749 section 5.1)."""

_JSON: Final = "application/json"
_KINDS: Final[Mapping[type[StagedoorError], tuple[int, str]]] = {
    InvalidScope: (400, "invalid_scope"),
    UnsupportedGrant: (400, "unsupported_grant_type"),
    InvalidInput: (400, "invalid_request"),
    InvalidClient: (401, "invalid_client"),
    OutOfScope: (403, "insufficient_scope"),
    NotPermitted: (401, "invalid_token"),
    NotFound: (404, "not_found"),
    Conflict: (409, "conflict"),
    TooMany: (429, "temporarily_unavailable"),
    Unavailable: (503, "temporarily_unavailable"),
}
"""The status and the code of an error; a kind stands before those that it is one of."""

_SCHEMA: Final = {
    "type": "object",
    "description": "What went wrong, in the words of RFC 6749, of RFC 9457 and of older clients.",
    "required": ["type", "title", "status", "detail", "error", "error_code", "error_reason", "message"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "error": {"type": "string"},
        "error_code": {"type": "integer"},
        "error_reason": {"type": "string"},
        "error_description": {"type": "string"},
        "message": {"type": "string"},
    },
}


class OAuth(Bearer):
    """The dialect of what issues tokens."""

    def wrap(self, data: Any) -> Any:
        """Return what is sent as JSON for an operation's data."""
        return data

    def refuse(self, error: StagedoorError) -> Answer:
        """Answer one of our own errors."""
        status, code = next((found for kind, found in _KINDS.items() if isinstance(error, kind)), (500, "server_error"))
        headers = list(NO_STORE)
        match error:
            case InvalidClient():
                headers.append((b"www-authenticate", b'Basic realm="stagedoor", charset="UTF-8"'))
            case OutOfScope():
                headers.append((b"www-authenticate", f'Bearer error="{code}", scope="{error.scope}"'.encode()))
            case NotPermitted():
                headers.append((b"www-authenticate", b'Bearer error="invalid_token"'))
            case TooMany():
                headers.append((b"retry-after", str(error.retry_after_seconds).encode()))
        return _answer(status, code, error.message)._replace(headers=headers)

    def refuse_request(self, status: int, message: str) -> Answer:
        """Answer a request that is for no operation, or that cannot be read."""
        return _answer(status, "server_error" if status >= 500 else "invalid_request", message)

    def answer_schema(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the JSON schema of `wrap`, given the schema of the data."""
        return data

    def refusal_schema(self, status: int) -> tuple[str, Mapping[str, Any]]:
        """Return the type of the content of a refusal, and its JSON schema."""
        return _JSON, _SCHEMA


def _answer(status: int, code: str, message: str) -> Answer:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": message,
        "error": code,
        "error_code": status,
        "error_reason": code,
        "error_description": message,
        "message": message,
    }
    return Answer(status, _JSON.encode(), msgspec.json.encode(body), NO_STORE)
