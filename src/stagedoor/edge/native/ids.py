"""Ids in paths."""

import re
from typing import Final

from stagedoor.edge.operation import Call
from stagedoor.model.errors import NotFound
from stagedoor.model.ids import TokenId

_ID: Final = re.compile(r"[0-9]{1,18}")


def token_id(call: Call, name: str = "tokenId") -> TokenId:
    """Read the id of a token in a path.

    Raises: NotFound for what no id looks like.
    """
    text = call.path[name]
    if not _ID.fullmatch(text):
        raise NotFound("there is no such token", field=name)
    return TokenId(int(text))
