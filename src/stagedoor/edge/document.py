"""The OpenAPI document, made of the table of operations.

Every operation has a curl command that runs as it stands, with the secret from the environment.
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from stagedoor.edge.operation import Call, Mount, Operation, Page
from stagedoor.edge.page import page

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_NUMBERS: Final = frozenset({"tokenId", "webhookId", "deliveryId", "apiSecretId", "applicationId", "secretId"})
_ALWAYS: Final = (403, 413, 429, 500, 503)
_ALWAYS_NATIVE: Final = (401, 403, 413, 429, 500, 503)
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_SECRET: Final = "API_Secret"
_APPLICATION: Final = "Application"

_ABOUT: Final = """\
Set `API_SECRET` in your shell and paste any command: it is shown as `Authorization: Bearer`. An API secret \
may do everything; the token of an application, which it gets for its key and secret (`APP_KEY`, `APP_SECRET`), may do what its \
scopes say, and stands in the same place.

Below `/api` is the compatible API: success is `{"status": "success", "data": ...}`, what a caller did wrong is \
`"status": "fail"` with a `message` in `data`, and what went wrong here is `"status": "error"` with a `message`. Below `/v1` is what \
that API has no words for: data as it is, and errors as problem details (RFC 9457)."""

_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Of the caller's own making, new for each token that is wanted.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def document_operations(mounts: Sequence[Mount], url: str) -> tuple[Operation, ...]:
    """Return the operations that show the others; `url` is where they are reached."""

    @lru_cache(maxsize=1)
    def made() -> Mapping[str, Any]:
        return document(mounts, url)

    async def as_json(_call: Call) -> Page:
        return Page("application/json", msgspec.json.encode(made()))

    async def as_page(_call: Call) -> Page:
        return Page("text/html; charset=utf-8", page(made()).encode())

    return (
        Operation(
            method="GET",
            path="/openapi.json",
            name="openapi",
            tag="About",
            summary="This description as OpenAPI 3.1",
            handle=as_json,
            answer=dict[str, Any],
            public=True,
            refusals=(),
        ),
        Operation(
            method="GET",
            path="/openapi",
            name="openapi_page",
            tag="About",
            summary="This description as a page",
            handle=as_page,
            answer=str,
            sends=("text/html",),
            public=True,
            refusals=(),
        ),
    )


def document(mounts: Sequence[Mount], url: str) -> dict[str, Any]:
    """Return the OpenAPI document of all operations."""
    operations = [(mount, operation) for mount in mounts for operation in mount.operations]
    types = [
        t for _, operation in operations for t in (operation.body, operation.query, operation.answer) if t is not None
    ]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = {id(t): schema for t, schema in zip(types, schemas, strict=True)}
    for _, operation in operations:
        if operation.body is not None and operation.names:
            _show_other_names(components[_name_of(schema_of[id(operation.body)])], operation.names)
    paths: dict[str, dict[str, Any]] = {}
    for mount, operation in operations:
        shown = _operation(mount, operation, schema_of, components, url)
        paths.setdefault(operation.path, {})[operation.method.lower()] = shown
    for _, operation in operations:
        if operation.query is not None:
            # Its parameters are shown, one by one.
            components.pop(_name_of(schema_of[id(operation.query)]), None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stagedoor", "version": version("stagedoor"), "description": _ABOUT},
        "servers": [{"url": url}],
        "security": [{_SECRET: []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                _SECRET: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API secret, which may do everything, or an application's token, with its scopes.",
                },
                _APPLICATION: {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The key and a secret of an application.",
                },
            },
        },
    }


def curl(operation: Operation, url: str) -> str:
    """Return a command that carries out an operation; its secret is in `$API_SECRET`."""
    path = _PARAMETER.sub(lambda match: _sample(operation, match[1]), operation.path)
    query = f"?{operation.example_query}" if operation.example_query else ""
    lines = [f"curl -sS -X {operation.method} {shlex.quote(url + path + query)}"]
    if not operation.public:
        lines.append('-H "Authorization: Bearer $API_SECRET"')
    if operation.by_application:
        lines.append('-u "$APP_KEY:$APP_SECRET"')
    if operation.form:
        lines.append(f"-d {shlex.quote(urlencode(operation.example))}")
    elif operation.example is not None:
        lines.append("-H 'Content-Type: application/json'")
        lines.append(f"-d {shlex.quote(json.dumps(operation.example))}")
    return " \\\n  ".join(lines)


def _done(mount: Mount, operation: Operation, schema_of: Mapping[int, Any]) -> dict[str, Any]:
    """Return what is answered when all went well."""
    done: dict[str, Any] = {"description": "Done"}
    if operation.answer is not None:
        data = schema_of[id(operation.answer)]
        answer = mount.dialect.answer_schema(data)
        text = {"type": "string"} | ({"x-lines-of": data["items"]} if "items" in data else {})
        done["content"] = {kind: {"schema": answer if kind == _JSON else text} for kind in operation.sends}
    return done


def _operation(
    mount: Mount, operation: Operation, schema_of: Mapping[int, Any], components: Mapping[str, Any], url: str
) -> dict[str, Any]:
    responses: dict[str, Any] = {str(operation.status): _done(mount, operation, schema_of)}
    always = _ALWAYS if mount.prefix == "/api" else _ALWAYS_NATIVE
    for status in (*operation.refusals, *always):
        content_type, schema = mount.dialect.refusal_schema(status)
        responses[str(status)] = {
            "description": "Refused" if status < 500 else "Failed",
            "content": {content_type: {"schema": schema}},
        }
    shown: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": responses,
        "x-codeSamples": [{"lang": "curl", "source": curl(operation, url)}],
    }
    if operation.text:
        shown["description"] = operation.text
    if operation.deprecated:
        shown["deprecated"] = True
    if operation.by_application:
        shown["security"] = [{_APPLICATION: []}]
    elif operation.public:
        shown["security"] = []
    else:
        # The roles of OpenAPI 3.1, for schemes that are not OAuth's own: the scopes that are needed.
        shown["security"] = [{_SECRET: [operation.scope]}]
    parameters = _path_parameters(operation) + _query_parameters(operation, schema_of, components)
    if operation.keyed:
        parameters.append(_IDEMPOTENCY_KEY)
    if parameters:
        shown["parameters"] = parameters
    if operation.body is not None:
        content = {"schema": schema_of[id(operation.body)]}
        if operation.example is not None:
            content["example"] = operation.example
        shown["requestBody"] = {"required": True, "content": {_FORM if operation.form else _JSON: content}}
    return shown


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _path_schema(operation, name),
        }
        for name in _PARAMETER.findall(operation.path)
    ]


def _path_schema(operation: Operation, name: str) -> dict[str, Any]:
    if name in operation.choices:
        return {"enum": list(operation.choices[name])}
    return {"type": "integer", "minimum": 1} if name in _NUMBERS else {"type": "string", "minLength": 1}


def _sample(operation: Operation, name: str) -> str:
    """Return what stands for a parameter of the path in a command."""
    if name in operation.choices:
        return operation.choices[name][0]
    return "1" if name in _NUMBERS else name


def _query_parameters(
    operation: Operation, schema_of: Mapping[int, Any], components: Mapping[str, Any]
) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    struct = components[_name_of(schema_of[id(operation.query)])]
    required = struct.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in struct["properties"].items()
    ]


def _show_other_names(struct: dict[str, Any], names: Mapping[str, str]) -> None:
    """Add the other names that fields may come under."""
    properties = struct["properties"]
    for written, name in names.items():
        if name not in properties:
            continue
        properties[written] = {**properties[name], "description": f"Another name of `{name}`."}


def _name_of(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]
