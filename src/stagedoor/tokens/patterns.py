"""Stream patterns: names as they are, regular expressions through RE2.

Expressions are the customers' own input, judged on every access; RE2 answers in time linear in the name whatever the
expression (no back-references, no look-around), and an expression whose program would be large is refused at creation.
"""

from functools import lru_cache
from typing import Any, Final

import re2

from stagedoor.model.errors import InvalidInput
from stagedoor.model.grant import Matcher, StreamPattern
from stagedoor.model.ids import MAX_STREAM_NAME, is_stream_name

MAX_WILDCARD: Final = 256
"""Longest wildcard text, in characters."""

MAX_STARS: Final = 10

MAX_MATCHED: Final = 2048
"""Longest text that a wildcard is compared with, in characters; what is longer matches nothing."""

MAX_PROGRAM: Final = 1000
"""Largest program of a regular expression, in steps: each could be tried at each character of a name."""

_MEMORY_BYTES: Final = 1024 * 1024
"""What RE2 may keep of a program's states; short of it, it goes back to trying each step at each character."""

_REMEMBERED: Final = 256


def check_pattern(pattern: StreamPattern) -> None:
    """Refuse a pattern that could never be used.

    Raises: InvalidInput for an empty or long text, an exact name with characters no name has, an expression that RE2
        does not take.
    """
    text = pattern.text
    if not 1 <= len(text) <= MAX_STREAM_NAME:
        raise InvalidInput(
            f"a stream name has 1 to {MAX_STREAM_NAME} characters, this one {len(text)}", field="streams"
        )
    if pattern.is_regex:
        compile_pattern(text)
    elif not is_stream_name(text):
        raise InvalidInput(
            f"{text!r} is not a stream name: use A-Z a-z 0-9 _ . ~ + = @ : , - and / between parts, no part beginning"
            " with a dot; for a regular expression set isRegex",
            field="streams",
        )


@lru_cache(maxsize=512)
def compile_pattern(text: str) -> Matcher:
    """Compile a regular expression; equal texts share one compiled form.

    Raises: InvalidInput when RE2 does not take it, with RE2's own words.
    """
    try:
        compiled = re2.compile(text.encode(), _options())
    except UnicodeEncodeError:
        raise InvalidInput("the regular expression holds half a character", field="streams") from None
    except re2.error as error:
        words = error.args[0] if error.args else "not accepted"
        detail = words.decode(errors="replace") if isinstance(words, bytes) else str(words)
        raise InvalidInput(f"the regular expression {text!r} is not valid: {detail}", field="streams") from None
    if compiled.programsize > MAX_PROGRAM:
        raise InvalidInput(
            f"the regular expression {text!r} is not valid: too large, its counted repetitions make much of little",
            field="streams",
        )
    return _Remembering(compiled)


class _Remembering:
    """A regular expression that remembers the names it was asked about last: the same streams are asked for again and again."""

    __slots__ = ("fullmatch",)

    def __init__(self, compiled: Any) -> None:
        self.fullmatch = lru_cache(maxsize=_REMEMBERED)(lambda name: compiled.fullmatch(name.encode(errors="replace")))


@lru_cache(maxsize=4096)
def compile_wildcard(text: str) -> Matcher:
    """Compile a text in which `*` stands for anything; upper and lower case are the same.

    Raises: InvalidInput when it is empty, longer than 256 characters, or has too many asterisks.
    """
    if not 1 <= len(text) <= MAX_WILDCARD:
        raise InvalidInput(f"a pattern has 1 to {MAX_WILDCARD} characters, this one {len(text)}", field="patterns")
    if text.count("*") > MAX_STARS:
        raise InvalidInput(f"a pattern has at most {MAX_STARS} asterisks", field="patterns")
    return _Wildcard(text)


class _Wildcard:
    """A text with `*` for anything: its pieces have to come in their order, the first at the start, the last at the end."""

    __slots__ = ("_first", "_last", "_least", "_middle")

    def __init__(self, text: str) -> None:
        first, *others = text.lower().split("*")
        self._first = first
        self._last = others[-1] if others else None
        self._middle = tuple(piece for piece in others[:-1] if piece)
        self._least = sum(len(piece) for piece in (first, *others))

    def fullmatch(self, text: str, /) -> object | None:
        """Return something when the whole `text` matches, in time linear in it for each piece."""
        if len(text) > MAX_MATCHED:
            return None
        lower = text.lower()
        if self._last is None:
            return True if lower == self._first else None
        if len(lower) < self._least or not lower.startswith(self._first) or not lower.endswith(self._last):
            return None
        at, end = len(self._first), len(lower) - len(self._last)
        for piece in self._middle:
            at = lower.find(piece, at, end)
            if at < 0:
                return None
            at += len(piece)
        return True


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    # Names are ASCII: a dot is one step of the program, and not the nine that all of Unicode takes.
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    return options
