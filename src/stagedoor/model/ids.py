"""Names of things: accounts, engines, tokens, streams.

A stream name is 1 to 128 characters of `A-Z a-z 0-9 _ . ~ + = @ : , -`, in parts separated by `/`; no part begins with a
dot, so no name can climb out of a directory that a media server makes of it. Names are compared as they are: case
sensitive, nothing normalised.
"""

import re
from typing import Final, NamedTuple, NewType

from stagedoor.model.errors import InvalidInput

AccountId = NewType("AccountId", str)
TokenId = NewType("TokenId", int)
EngineId = NewType("EngineId", str)

MAX_STREAM_NAME: Final = 128
"""Longest stream name or pattern, in characters (docs/contracts/token-api.md)."""

_ACCOUNT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Parts are looked at apart: with a repeated group the match takes about twice as long, and every decision makes one.
_NAME: Final = r"[A-Za-z0-9_~+=@:,-][A-Za-z0-9_.~+=@:,/-]{0,127}"
_STREAM_NAME: Final = re.compile(_NAME)
_PATH: Final = re.compile(rf"(?:([A-Za-z0-9_-]{{1,64}})/)?({_NAME})")


class StreamId(NamedTuple):
    """A stream anywhere in the system, written `account/name`.

    `account` is empty while it is not known, `name` when what was written could not be the name of a stream.
    """

    account: AccountId
    name: str

    def __str__(self) -> str:
        """Write it as `account/name`, with `?` for an account that is not known."""
        return f"{self.account or '?'}/{self.name}"


# A named tuple's own constructor is Python code that takes twice as long, and a decision makes six of them.
_new: Final = tuple.__new__
_NO_ACCOUNT: Final = AccountId("")
NOWHERE: Final = StreamId(_NO_ACCOUNT, "")
"""Stands for a path that names no stream."""


def is_account_id(text: str) -> bool:
    """Tell whether `text` has the form of an account id: 1 to 64 of `A-Z a-z 0-9 _ -`."""
    return _ACCOUNT_ID.fullmatch(text) is not None


def is_stream_name(text: str) -> bool:
    """Tell whether `text` can be the name of a stream."""
    return _STREAM_NAME.fullmatch(text) is not None and not ("/" in text and _has_bad_part(text))


def parse_path(path: str) -> StreamId:
    """Read a path as an untrusted peer wrote it: `account/name`, or `name` with an empty account.

    Security: the name is empty when it cannot be one; nothing else of such a path is kept.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return NOWHERE
    account, name = match[1], match[2]
    if "/" in name and _has_bad_part(name):
        return NOWHERE
    return _new(StreamId, (account or _NO_ACCOUNT, name))


def parse_stream_id(text: str) -> StreamId:
    """Read `account/name`.

    Raises: InvalidInput when either half is missing or has characters that no name may have.
    """
    account, slash, name = text.partition("/")
    if not slash or not is_account_id(account) or not is_stream_name(name):
        raise InvalidInput(f"{text[:200]!r} is not a stream id; write ACCOUNT/NAME", field="stream")
    return StreamId(AccountId(account), name)


def _has_bad_part(name: str) -> bool:
    """Tell whether a part after the first is empty or begins with a dot."""
    return "//" in name or "/." in name or name.endswith("/")
