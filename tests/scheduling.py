"""Which process runs which file, where the suite runs in several."""

import re
from functools import cache
from pathlib import Path
from typing import Final

from xdist.scheduler import LoadFileScheduling

_TESTS: Final = Path(__file__).parent


class OneStack(LoadFileScheduling):  # type: ignore[misc]
    """A file stays in one process, as do all that share the stack of `e2e`: the last of them sees what the others left."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "the stack" if _shares_the_stack(file) else file


@cache
def _shares_the_stack(file: str) -> bool:
    """Tell whether a test of `file`, a path from the project's root, asks for the fixture `stack`."""
    return re.search(r"[(\s]stack: ", (_TESTS.parent / file).read_text()) is not None
