"""Ids in paths."""

import re
from typing import Final

from stagedoor.edge.operation import Call
from stagedoor.model.errors import NotFound
from stagedoor.model.ids import TokenId

_ID: Final = re.compile(r"[0-9]{1,18}")


def number(call: Call, name: str, what: str) -> int:
    """Read a number in a path that names a `what`.

    Raises: NotFound for what no id looks like.
    """
    text = call.path[name]
    if not _ID.fullmatch(text):
        raise NotFound(f"No {what} with id: {text[:40]}", field=name)
    return int(text)


def token_id(call: Call, name: str = "tokenId") -> TokenId:
    """Read the id of a token in a path.

    Raises: NotFound for what no id looks like.
    """
    return TokenId(number(call, name, "token"))
