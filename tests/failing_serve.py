"""`stagedoor`, on a store that does not answer some of its calls: a program for tests of what clients do then.

The label of a token says so: with `x: before after` the first call to keep it fails before anything is kept, the second after
the commit, and then none; `broken` fails after the commit too, in a way that nobody thought of. What became of every call is a line in the file that `FAILURES` in the environment names.
"""

import os
from pathlib import Path
from typing import Any

from stagedoor import app, cli
from stagedoor.model.errors import Unavailable
from stagedoor.model.token import TokenRecord
from stagedoor.service.ports import NewToken
from stagedoor.store.sql import SqlStore


class FailingStore(SqlStore):
    """The real store; what is taken away is its answer."""

    def __init__(self, **collaborators: Any) -> None:
        """Open the real store, and stand in its way."""
        super().__init__(**collaborators)
        self._fails: dict[str, list[str]] = {}
        self._really_add = self.add_token
        self.add_token = self._add_or_fail

    async def _add_or_fail(self, new: NewToken) -> TokenRecord:
        label = new.terms.label
        left = self._fails.setdefault(label, label.partition(": ")[2].split())
        fails = left.pop(0) if left else ""
        record = None if fails == "before" else await self._really_add(new)
        with Path(os.environ["FAILURES"]).open("a") as notes:
            notes.write(f"{label} - {fails or 'answered'}\n")
        if fails == "broken":
            raise RuntimeError("a fault of ours, after the commit")
        if fails:
            raise Unavailable("the database does not answer; try again")
        assert record is not None
        return record


if __name__ == "__main__":
    app.SqlStore = FailingStore  # type: ignore[attr-defined]
    cli.main()
