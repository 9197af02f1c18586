"""How the secure playback API words its answers: `success`, and the vendor's own error codes."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stagedoor.edge.asgi import Headers
from stagedoor.edge.operation import Answer, Bearer
from stagedoor.model.decision import Reason
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

PARAMETER: Final = 1000
NOT_PERMITTED: Final = 1001
NOT_VALID: Final = 1002
MALFORMED: Final = 2004
OTHER_ORGANISATION: Final = 2012
FAULT: Final = 1
"""The vendor names no code for a fault of the server's, nor for callers that are too quick; this one is ours."""

EXPIRED: Final = "jwt expired"

_HEADERS: Final = (b"x-bintu-token", b"x-bintu-apikey")
_JSON: Final = b"application/json"
_KINDS: Final[Mapping[type[StagedoorError], tuple[int, int]]] = {
    InvalidInput: (400, PARAMETER),
    Conflict: (400, PARAMETER),
    NotFound: (400, PARAMETER),
    OutOfScope: (403, NOT_PERMITTED),
    NotPermitted: (403, NOT_PERMITTED),
    TooMany: (429, FAULT),
    Unavailable: (503, FAULT),
}
"""The status and the code of an error; a kind stands before those that it is one of."""

_PARAMETERS: Final[Mapping[str, str]] = {
    "groupId": "groupid",
    "expiresOn": "exp",
    "notBefore": "nbf",
    "allowedIpAddresses": "ip",
    "allowedOrigins": "domain",
    "trackingId": "tag",
    "label": "tag",
    "subject": "user",
}
"""What this dialect calls the fields that it has other names for."""

_SCHEMA: Final = {
    "type": "object",
    "description": "What went wrong. `reason` is ours: the reason code of a token that is not valid.",
    "required": ["success", "errorCode", "message"],
    "properties": {
        "success": {"const": False},
        "errorCode": {"type": "integer"},
        "message": {"type": "string"},
        "reason": {"type": "string"},
    },
}


class Malformed(InvalidInput):
    """What is shown as a token is none."""


class OtherOrganisation(NotPermitted):
    """The token is another account's."""


class NotValid(Refused):
    """The token lets nobody in now; `reason` says why."""


class Splay(Bearer):
    """The dialect. Its callers show an API secret as `X-BINTU-APIKEY`, or an API token as `X-BINTU-TOKEN`."""

    def credential(self, headers: Headers) -> str:
        """Return what a caller shows.

        Raises: NotPermitted when it shows nothing.
        """
        for wanted in _HEADERS:
            for name, value in headers:
                if name == wanted:
                    return value.decode("latin-1").strip()
        return super().credential(headers)

    def wrap(self, data: Any) -> Any:
        """Return what is sent as JSON for an operation's data."""
        return {"success": True, "data": data}

    def refuse(self, error: StagedoorError) -> Answer:
        """Answer one of our own errors."""
        status, code = next((found for kind, found in _KINDS.items() if isinstance(error, kind)), (500, FAULT))
        message, more = error.message, {}
        match error:
            case NotValid(reason=reason):
                status, code, more = 403, NOT_VALID, {"reason": reason}
                message = EXPIRED if reason == Reason.TOKEN_EXPIRED else message
            case Malformed():
                status, code, message = 403, MALFORMED, "Malformed JWT"
            case OtherOrganisation():
                status, code = 403, OTHER_ORGANISATION
            case OutOfScope():
                pass
            case NotPermitted():
                message = "Provided APIKey is not valid"
            case TooMany():
                headers = ((b"retry-after", str(error.retry_after_seconds).encode()),)
                return _answer(status, code, message, {})._replace(headers=headers)
        if code == PARAMETER and error.field is not None and not message.startswith("Parameter"):
            message = (
                f"Parameter {_PARAMETERS.get(error.field, error.field)}: {message.removeprefix(f'{error.field}: ')}"
            )
        return _answer(status, code, message, more)

    def refuse_request(self, status: int, message: str) -> Answer:
        """Answer a request that is for no operation, or that cannot be read, or a fault of ours."""
        return _answer(status, PARAMETER if status < 500 else FAULT, message, {})

    def answer_schema(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the JSON schema of `wrap`, given the schema of the data."""
        properties = {"success": {"const": True}, "data": data}
        return {"type": "object", "required": ["success", "data"], "properties": properties}

    def refusal_schema(self, status: int) -> tuple[str, Mapping[str, Any]]:
        """Return the type of the content of a refusal, and its JSON schema."""
        return "application/json", _SCHEMA


def _answer(status: int, code: int, message: str, more: Mapping[str, Any]) -> Answer:
    body = {"success": False, "errorCode": code, "message": message, **more}
    return Answer(status, _JSON, msgspec.json.encode(body))
