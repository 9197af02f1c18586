"""Read bodies and queries by their schemas; an error names the field at fault as the caller wrote it."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from msgspec.inspect import ListType, StructType, UnionType, type_info

from stagedoor.edge.asgi import Headers
from stagedoor.model.errors import InvalidInput

_NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})
_MOST_PARAMETERS: Final = 200
_PLACE: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_MISSING: Final = re.compile(r"missing required field `(?P<name>\w+)`")


class InvalidQuery(InvalidInput):
    """A parameter of a query is wrong: a dialect may tell it in a form of its own."""


def parse_body(body: bytes, schema: Any, names: Mapping[str, str] = _NO_NAMES) -> Any:
    """Read a JSON body as `schema`, after renaming its top-level fields by `names`.

    Raises: InvalidInput that names the field at fault as the caller wrote it.
    """
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the body is not JSON: {error}", field="body") from None
    written: dict[str, str] = {}
    if names and isinstance(content, dict):
        written = {names[key]: key for key in content if key in names}
        content = {names.get(key, key): value for key, value in content.items()}
    try:
        return msgspec.convert(content, schema)
    except (msgspec.ValidationError, RecursionError) as error:
        message, name = _problem(str(error), written)
        raise InvalidInput(message, field=name) from None


def parse_query(query: bytes, schema: Any, names: Mapping[str, str] = _NO_NAMES) -> Any:
    """Read the parameters of a query as `schema`; of several with one name, the last, unless the schema takes a list.

    Raises: InvalidQuery that names the parameter at fault.
    """
    try:
        found = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise InvalidQuery(f"the query has more than {_MOST_PARAMETERS} parameters", field="query") from None
    lists = _lists(schema)
    content: dict[str, str | Sequence[str]] = {}
    for written, values in found.items():
        name = names.get(written, written)
        content[name] = values if name in lists else values[-1]
    try:
        return msgspec.convert(content, schema, strict=False)
    except msgspec.ValidationError as error:
        message, name = _problem(str(error), {})
        raise InvalidQuery(message, field=name) from None


def parse_form(body: bytes, schema: Any, headers: Headers) -> Any:
    """Read a form (application/x-www-form-urlencoded) as `schema`.

    Parameters without a value are as if they were left out, and none may come twice (RFC 6749 section 3.2).

    Raises: InvalidInput that names the parameter at fault.
    """
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    if kind.partition(b";")[0].strip().lower() != b"application/x-www-form-urlencoded":
        raise InvalidInput("send the body as application/x-www-form-urlencoded", field="body")
    try:
        found = parse_qs(body.decode(), max_num_fields=_MOST_PARAMETERS, errors="strict")
    except ValueError:
        raise InvalidInput("the body is not a form of UTF-8 text", field="body") from None
    twice = next((name for name, values in found.items() if len(values) > 1), None)
    if twice is not None:
        raise InvalidInput(f"{twice[:64]} is given more than once", field=twice[:64])
    try:
        return msgspec.convert({name: values[0] for name, values in found.items()}, schema, strict=False)
    except msgspec.ValidationError as error:
        message, name = _problem(str(error), {})
        raise InvalidInput(message, field=name) from None


@lru_cache(maxsize=256)
def _lists(schema: Any) -> frozenset[str]:
    """Return the names of parameters that may be given several times."""
    info = type_info(schema)
    assert isinstance(info, StructType)  # noqa: S101  queries are structs
    found = set()
    for field in info.fields:
        kinds = field.type.types if isinstance(field.type, UnionType) else (field.type,)
        if any(isinstance(kind, ListType) for kind in kinds):
            found.add(field.encode_name)
    return frozenset(found)


def _problem(problem: str, written: Mapping[str, str]) -> tuple[str, str]:
    """Return the text and the field of what msgspec said."""
    place, missing = _PLACE.search(problem), _MISSING.search(problem)
    path = place["path"] if place else ""
    if missing:
        path = f"{path}.{missing['name']}" if path else missing["name"]
    name = re.split(r"[.\[]", path)[0] or "body"
    name = written.get(name, name)
    return f"{name}: {_PLACE.sub('', problem)}", name
