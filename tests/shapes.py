"""Shapes of answers, restated by the tests: what a JSON value may be, and nothing else."""

from datetime import date, datetime
from typing import Any, Final

Shape = Any
"""A type; a tuple of shapes to choose from; a list of one shape; `{"*": shape}` for a map; else an object with these fields.

An object has no other fields. A field whose name ends with `?` may be left out. `INSTANT` and `DAY` are texts.
"""


class _Text:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


INSTANT: Final = _Text("instant")
DAY: Final = _Text("day")


def misfit(value: Any, shape: Shape, path: str = "$") -> str | None:
    """Return where and why a value has not the shape; None when it has."""
    if isinstance(shape, tuple):
        found = [misfit(value, each, path) for each in shape]
        return None if None in found else found[0]
    if shape is None or isinstance(shape, type | _Text):
        return None if _is(value, shape) else f"{path} is {value!r}, not {shape}"
    parts = _parts(value, shape)
    if isinstance(parts, str):
        return f"{path} {parts}"
    problems = (misfit(item, each, f"{path}.{name}") for name, item, each in parts)
    return next((problem for problem in problems if problem is not None), None)


def _parts(value: Any, shape: Shape) -> str | list[tuple[object, Any, Shape]]:
    """Return the parts of a value, each with its name and its shape; what is wrong, when it has not such parts."""
    if not isinstance(value, type(shape)):
        return f"is {value!r}, not a {type(shape).__name__}"
    if isinstance(shape, list):
        return [(number, item, shape[0]) for number, item in enumerate(value)]
    if "*" in shape:
        return [(name, item, shape["*"]) for name, item in value.items()]
    fields = {name.rstrip("?"): each for name, each in shape.items()}
    odd = set(value) - set(fields) or {name for name in shape if name[-1] != "?"} - set(value)
    return f"has, or lacks, {sorted(odd)}" if odd else [(name, item, fields[name]) for name, item in value.items()]


def _is(value: Any, shape: type | _Text | None) -> bool:
    if shape is None:
        return value is None
    if isinstance(shape, _Text):
        return _reads(value, shape)
    return isinstance(value, shape) and not (shape in (int, float) and isinstance(value, bool))


def _reads(value: Any, kind: _Text) -> bool:
    if not isinstance(value, str):
        return False
    try:
        if kind is DAY:
            return date.fromisoformat(value).isoformat() == value
        return value.endswith("Z") and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
