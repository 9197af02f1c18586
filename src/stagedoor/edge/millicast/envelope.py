"""Envelopes: `success` with data, `fail` for the caller's fault, `error` for ours.

Clients read `data.message` of every failure, so it is always there. An `error` is never sent with a 4xx.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException

from stagedoor.edge.millicast.schemas import InvalidQuery
from stagedoor.model.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    NotPermitted,
    StagedoorError,
    Unavailable,
)

_log = logging.getLogger(__name__)

_STATUS: Final[Mapping[type[StagedoorError], int]] = {
    InvalidInput: 400,
    NotFound: 400,
    Conflict: 400,
    NotPermitted: 403,
    Unavailable: 503,
}
"""An unknown id is a 400 and a bad API secret a 403 in this dialect."""


def success(data: object) -> dict[str, object]:
    """Wrap the data of an answer."""
    return {"status": "success", "data": data}


def on_stagedoor_error(_request: Request[Any, Any, Any], error: StagedoorError) -> Response[Any]:
    """Answer one of our own errors."""
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    if status >= 500:
        return _error(status, error.message)
    if error.field is None:
        return _fail(status, error.message, {})
    if isinstance(error, InvalidQuery):
        return _fail(status, "Validation errors", {"errors": {error.field: [error.message]}})
    return _fail(status, error.message, {error.field: error.message})


def on_http_error(_request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer what the framework refuses: an unknown path or method, a body that is too long."""
    if error.status_code >= 500:
        return on_unexpected(_request, error)
    return _fail(error.status_code, error.detail.splitlines()[0] if error.detail else "Bad request", {})


def on_unexpected(_request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer a fault of ours: the log has the details, the caller does not."""
    _log.error("unexpected %s", type(error).__name__, exc_info=error)
    return _error(500, "Internal error; the server's log says more")


def _fail(status: int, message: str, fields: Mapping[str, object]) -> Response[Any]:
    body = {"status": "fail", "data": dict(fields) | {"message": message}}
    return Response(body, status_code=status, media_type=MediaType.JSON)


def _error(status: int, message: str) -> Response[Any]:
    body = {"status": "error", "message": message, "code": status, "data": None}
    return Response(body, status_code=status, media_type=MediaType.JSON)
