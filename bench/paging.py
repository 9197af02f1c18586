"""What a page of a list costs, at its beginning and at its end."""

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stagedoor.app import create_data
from stagedoor.config import Settings
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId
from stagedoor.model.token import TokenKind, TokenTerms
from stagedoor.service.ports import Page, SortBy
from stagedoor.store.codec import write_terms
from stagedoor.store.sql import SqlStore
from stagedoor.store.sqlite import sqlite_engines

TOKENS = 1_000_000
SIZE = 100
ROUNDS = 41
GOAL = 2.0

ACCOUNT = AccountId("bench")
_PRIME = 15_485_863
"""Labels are in an order of their own: it divides no number of tokens that anybody would ask for."""

_SHELVES = """
INSERT INTO token_shelf (account_id, kind, sort, first_key, first_id, tokens)
SELECT account_id, kind, '{sort}', CASE n WHEN 0 THEN '{lowest}' ELSE {key} END, CASE n WHEN 0 THEN 0 ELSE id END,
  min({most}, (SELECT count(*) FROM token) - n)
FROM (SELECT *, row_number() OVER (ORDER BY {column}, id) - 1 AS n FROM token) WHERE n % {most} = 0
"""


def main() -> None:
    """Measure with as many tokens as the command line says."""
    print_paging_figures(int(sys.argv[1]) if len(sys.argv) > 1 else TOKENS)


def print_paging_figures(tokens: int = TOKENS) -> None:
    """Print the medians of page 1 and of the last page, and the median of their ratios, for each order."""
    print(f"\na page of {SIZE} of {tokens:,} tokens on SQLite (milliseconds, median of {ROUNDS})")
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder) / "data")
        create_data(settings)
        started = time.monotonic()
        fill(settings.database_file, tokens)
        print(f"{'':<22}{'page 1':>10}{'last page':>12}{'ratio':>8}   (filled in {time.monotonic() - started:.0f} s)")
        asyncio.run(_measure(settings.database_file, tokens))


def fill(database: Path, tokens: int) -> None:
    """Put tokens straight into the tables, with their shelves: a million calls would measure the disk."""
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-200000")
        connection.execute("INSERT INTO account (id, enabled, added_on) VALUES (?, 1, 0)", (ACCOUNT,))
        indexes = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'token' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        connection.executemany(
            "INSERT INTO token (id, account_id, kind, label, terms, digest, sealed, added_on)"
            " VALUES (?, ?, 'publish', ?, ?, ?, x'00', ?)",
            _rows(tokens),
        )
        for _, made_so in indexes:
            connection.execute(made_so)
        # A quarter less than a shelf may hold: as full as they are when tokens came one by one.
        for sort, lowest, column, key in (
            ("Name", "", "label", "label"),
            ("AddedOn", "0" * 20, "added_on", "printf('%020d', added_on)"),
        ):
            connection.execute(_SHELVES.format(sort=sort, lowest=lowest, column=column, key=key, most=1500))


def _rows(tokens: int) -> Iterator[tuple[object, ...]]:
    terms = write_terms(TokenTerms(label="LABEL", streams=(StreamPattern("cam-1"),), expires_at=4_102_444_800))
    for n in range(tokens):
        label = f"camera {n * _PRIME % tokens:07d}"
        yield n + 1, ACCOUNT, label, terms.replace("LABEL", label), n.to_bytes(32), 1_700_000_000 + n // 20


async def _measure(database: Path, tokens: int) -> None:
    reader, writer = sqlite_engines(database)
    store = SqlStore(reader=reader, writer=writer, announce=_nobody)
    try:
        for sort_by in SortBy:
            for descending in (False, True):
                await _compare(store, tokens, sort_by, descending=descending)
    finally:
        await store.close()


async def _compare(store: SqlStore, tokens: int, sort_by: SortBy, *, descending: bool) -> None:
    last_number = -(-tokens // SIZE)
    first, last = (Page(number, SIZE, sort_by, descending) for number in (1, last_number))
    firsts, lasts = [], []
    for _ in range(ROUNDS):
        firsts.append(await _milliseconds(store, first, min(SIZE, tokens)))
        lasts.append(await _milliseconds(store, last, tokens - SIZE * (last_number - 1)))
    ratio = statistics.median(b / a for a, b in zip(firsts, lasts, strict=True))
    name = f"by {sort_by}, {'descending' if descending else 'ascending'}"
    print(
        f"{name:<22}{statistics.median(firsts):>10.2f}{statistics.median(lasts):>12.2f}{ratio:>8.2f}"
        f"   (goal <= {GOAL:g})"
    )


async def _milliseconds(store: SqlStore, page: Page, size: int) -> float:
    started = time.perf_counter()
    found = await store.tokens(ACCOUNT, TokenKind.PUBLISH, page)
    took = time.perf_counter() - started
    assert len(found) == size
    return took * 1000


async def _nobody(_revision: int) -> None:
    """Nobody has to learn of what is written here."""


if __name__ == "__main__":
    main()
