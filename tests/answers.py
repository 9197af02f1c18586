"""Every answer of the APIs, held to the OpenAPI document that they show of themselves.

The document is made of the same table that requests are answered from. An answer has a status, a type of content and a body
as declared, and no field that is not.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from inspect import signature
from typing import Any, Final

import httpx
import jsonschema_rs

from stagedoor.edge.api import Api
from stagedoor.edge.apis import api_app
from stagedoor.edge.document import document

Json = dict[str, Any]

NO_OPERATION: Final = (404, 405)
"""What there is for paths, and methods of paths, that stand for no operation."""

_PARAMETER: Final = re.compile(r"\{\w+\}")
_DATA: Final = ("const", "default", "enum", "example", "examples")
"""Parts of a schema that hold values, and no schemas."""

_UNSHOWN: Final = ("/openapi", "/openapi.json", "/healthz", "/readyz", "/hooks/")
"""Paths, or how they begin, of what is no operation of the APIs."""


class WrongAnswer(AssertionError):
    """An answer that is not what was declared."""


class Answers:
    """An OpenAPI document, and what it declares of an answer."""

    def __init__(self, shown: Mapping[str, Any]) -> None:
        """Take the document."""
        self._components = _closed(dict(shown["components"]))
        self._paths = sorted(
            ((_segments(path), operations) for path, operations in shown["paths"].items()),
            key=lambda each: [segment == "" for segment in each[0]],
        )
        self._validators: dict[tuple[str, ...], jsonschema_rs.Draft202012Validator] = {}

    def operation(self, method: str, path: str) -> Json | None:
        """Return what is declared of a call; None when it is for no operation."""
        asked = path.strip("/").split("/")
        for segments, operations in self._paths:
            # A name goes before a parameter: of several paths the first, as they are sorted, and no other.
            if len(segments) == len(asked) and all(s in ("", a) for s, a in zip(segments, asked, strict=True)):
                found: Json | None = operations.get("get" if method == "HEAD" else method.lower())
                return found
        return None

    def check(self, method: str, path: str, status: int, content_type: str, body: bytes) -> None:
        """Hold an answer to what is declared.

        Raises: WrongAnswer.
        """
        if path.startswith(_UNSHOWN):
            return
        said = f"{method} {path[:100]} answered {status}"
        operation = self.operation(method, path)
        if operation is None:
            # Nothing is declared of it, and the dialect's words are those of other refusals.
            if status not in NO_OPERATION:
                raise WrongAnswer(f"{said}, and there is no such operation")
            return
        declared = operation["responses"].get(str(status))
        if declared is None:
            raise WrongAnswer(f"{said}, and only {', '.join(operation['responses'])} are declared")
        if "content" not in declared:
            if body:
                raise WrongAnswer(f"{said} with a body, and none is declared")
            return
        content = declared["content"].get(content_type.partition(";")[0])
        if content is None:
            raise WrongAnswer(f"{said} with {content_type!r}, and only {', '.join(declared['content'])} is declared")
        if method == "HEAD":
            return
        validator = self._validator(operation["operationId"], str(status), content["schema"])
        is_json = content_type.partition(";")[0].endswith(("/json", "+json"))
        problem = next(iter(validator.iter_errors(json.loads(body) if is_json else body.decode())), None)
        if problem is not None:
            place = "/".join(str(step) for step in problem.instance_path)
            raise WrongAnswer(f"{said}: at {place or 'its root'}: {problem.message}")

    def _validator(self, name: str, status: str, schema: Json) -> jsonschema_rs.Draft202012Validator:
        found = self._validators.get((name, status))
        if found is None:
            whole = _closed(schema) | {"components": self._components}
            found = self._validators[name, status] = jsonschema_rs.Draft202012Validator(whole)
        return found


class Checked(httpx.AsyncBaseTransport):
    """A way to an application on which every answer is held to the document."""

    def __init__(self, way: httpx.AsyncBaseTransport) -> None:
        """Take the way itself."""
        self._way = way

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and check its answer."""
        answer = await self._way.handle_async_request(request)
        await answer.aread()
        check(request, answer)
        return answer


def check(request: httpx.Request, answer: httpx.Response) -> None:
    """Hold an answer to the document.

    Raises: WrongAnswer.
    """
    content_type = answer.headers.get("content-type", "")
    of_whole_system().check(request.method, request.url.path, answer.status_code, content_type, answer.content)


def checked(answer: httpx.Response) -> None:
    """Hold an answer to the document: a hook for clients that are not asynchronous (`event_hooks`).

    Raises: WrongAnswer.
    """
    answer.read()
    check(answer.request, answer)


@cache
def of_whole_system() -> Answers:
    """Return the answers of all operations that there are."""
    return Answers(whole_document())


@cache
def whole_document() -> Json:
    """Return the document of all operations; it is made of tables, and asks none of what serves them."""
    names = [name for name in signature(api_app).parameters if name != "url"]
    nobody: dict[str, Any] = dict.fromkeys(names, _Nobody())
    made = api_app(**nobody, url="https://authority.test")
    assert isinstance(made, Api)
    return document([mount for mount in made._mounts if mount.prefix != "/openapi"], "https://authority.test")


class _Nobody:
    """In the place of use cases, none of which is asked for anything."""

    def __getattr__(self, name: str) -> Any:
        return None


def _segments(path: str) -> list[str]:
    """Return the segments of a path, with nothing in the place of its parameters."""
    return [_PARAMETER.sub("", segment) for segment in path.strip("/").split("/")]


def _closed(schema: Any) -> Any:
    """Return a schema in which an object has no other properties than those it names, unless it says what others are."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: value if name in _DATA else _closed(value) for name, value in schema.items()}
    if "properties" in schema:
        closed["properties"] = {name: _closed(value) for name, value in schema["properties"].items()}
        closed.setdefault("additionalProperties", False)
    return closed
