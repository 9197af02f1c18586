"""Stream patterns: names as they are, regular expressions through RE2.

Expressions are the customers' own input, judged on every access; RE2 answers in time linear in the name whatever the
expression (no back-references, no look-around), and an expression whose program would be large is refused at creation.
"""

from functools import lru_cache
from typing import Final

import re2

from stagedoor.model.errors import InvalidInput
from stagedoor.model.grant import Matcher, StreamPattern
from stagedoor.model.ids import MAX_STREAM_NAME, is_stream_name

_MAX_PROGRAM_BYTES: Final = 256 * 1024


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


@lru_cache(maxsize=4096)
def compile_pattern(text: str) -> Matcher:
    """Compile a regular expression; equal texts share one compiled form.

    Raises: InvalidInput when RE2 does not take it, with RE2's own words.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_PROGRAM_BYTES
    options.never_capture = True
    try:
        matcher: Matcher = re2.compile(text, options)
    except re2.error as error:
        words = error.args[0] if error.args else "not accepted"
        detail = words.decode(errors="replace") if isinstance(words, bytes) else str(words)
        raise InvalidInput(f"the regular expression {text!r} is not valid: {detail}", field="streams") from None
    return matcher
