"""Envelopes: `success` with data, `fail` for the caller's fault, `error` for ours.

Clients read `data.message` of every failure, so it is always there. An `error` is never sent with a 4xx.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stagedoor.edge.operation import Answer, Bearer
from stagedoor.edge.parse import InvalidQuery
from stagedoor.model.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    NotPermitted,
    Refused,
    StagedoorError,
    TooMany,
    Unavailable,
)

_JSON: Final = b"application/json"
_STATUS: Final[Mapping[type[StagedoorError], int]] = {
    InvalidInput: 400,
    NotFound: 400,
    Conflict: 400,
    NotPermitted: 403,
    Refused: 403,
    TooMany: 429,
    Unavailable: 503,
}
"""An unknown id is a 400 and a bad API secret a 403 in this dialect."""

_FAIL_SCHEMA: Final = {
    "type": "object",
    "description": "The caller's fault.",
    "required": ["status", "data"],
    "properties": {
        "status": {"const": "fail"},
        "data": {
            "type": "object",
            "description": "`message`, and the fields at fault, each with what is wrong with it.",
            "required": ["message"],
            "properties": {"message": {"type": "string"}},
            "additionalProperties": True,
        },
    },
}
_ERROR_SCHEMA: Final = {
    "type": "object",
    "description": "The server's fault: nothing was changed, or what was changed is found again by the same call.",
    "required": ["status", "message"],
    "properties": {
        "status": {"const": "error"},
        "message": {"type": "string"},
        "code": {"type": "integer"},
        "data": {},
    },
}


class Envelopes(Bearer):
    """The compatible dialect."""

    def wrap(self, data: Any) -> Any:
        """Return what is sent as JSON for an operation's data."""
        return {"status": "success", "data": data}

    def refuse(self, error: StagedoorError) -> Answer:
        """Answer one of our own errors."""
        status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
        if status >= 500:
            return self.refuse_request(status, error.message)
        if isinstance(error, TooMany):
            answer = self.refuse_request(status, error.message)
            return answer._replace(headers=((b"retry-after", str(error.retry_after_seconds).encode()),))
        if error.field is None:
            return _fail(status, error.message, {})
        if isinstance(error, InvalidQuery):
            return _fail(status, "Validation errors", {"errors": {error.field: [error.message]}})
        return _fail(status, error.message, {error.field: error.message})

    def refuse_request(self, status: int, message: str) -> Answer:
        """Answer a request that is for no operation, or that cannot be read, or a fault of ours."""
        if status < 500:
            return _fail(status, message, {})
        body = {"status": "error", "message": message, "code": status, "data": None}
        return Answer(status, _JSON, msgspec.json.encode(body))

    def answer_schema(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the JSON schema of `wrap`, given the schema of the data."""
        properties = {"status": {"const": "success"}, "data": data}
        return {"type": "object", "required": ["status", "data"], "properties": properties}

    def refusal_schema(self, status: int) -> tuple[str, Mapping[str, Any]]:
        """Return the type of the content of a refusal, and its JSON schema."""
        return "application/json", _FAIL_SCHEMA if status < 500 else _ERROR_SCHEMA


def _fail(status: int, message: str, fields: Mapping[str, object]) -> Answer:
    body = {"status": "fail", "data": dict(fields) | {"message": message}}
    return Answer(status, _JSON, msgspec.json.encode(body))
