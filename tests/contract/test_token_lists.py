# ruff: noqa: D103, S311
"""Lists of tokens, and tokens that are added together: memory, SQLite and PostgreSQL give the same."""

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from stagedoor.config import Settings
from stagedoor.model.access import Action
from stagedoor.model.access import Protocol as ProtocolOf
from stagedoor.model.errors import ConfigError, Conflict, NotFound, Unavailable
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import SessionStart
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms
from stagedoor.service.ports import (
    IDEMPOTENCY_SECONDS,
    ChangeKind,
    FilterBy,
    Idempotency,
    NewToken,
    Page,
    SortBy,
    TokenChange,
)
from stagedoor.store import schema, shelves
from stagedoor.store.sql_tokens import SqlTokens
from tests.contract.test_store import (
    ALICE,
    AT,
    BACKENDS,
    BOB,
    PUBLISH,
    SQL_BACKENDS,
    SUBSCRIBE,
    Bench,
    SqlBench,
    ids,
    new_token,
    opened,
    place_of,
    populated,
    relabelled,
    terms,
)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return place_of(backend, request, settings)


@pytest.fixture
async def bench(backend: str, place: Settings) -> AsyncIterator[Bench]:
    async with populated(backend, place) as bench:
        yield bench


@pytest.fixture(params=SQL_BACKENDS)
def sql_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sql_place(sql_backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return place_of(sql_backend, request, settings)


@pytest.fixture
async def sql(sql_backend: str, sql_place: Settings) -> AsyncIterator[SqlBench]:
    async with populated(sql_backend, sql_place) as bench:
        assert isinstance(bench, SqlBench)
        yield bench


def with_shelves_of(bench: SqlBench, most: int) -> SqlTokens:
    """Return the tokens of a store, on shelves that hold that many."""
    return SqlTokens(bench.store._database, shelf=most)


ORDERS = [(sort_by, descending) for sort_by in SortBy for descending in (False, True)]


# -- pages


class Plain:
    """What the store should hold of one account and kind, as a list."""

    def __init__(self) -> None:
        self.records: dict[TokenId, TokenRecord] = {}

    def sorted(self, sort_by: SortBy, *, descending: bool) -> list[TokenRecord]:
        def key(record: TokenRecord) -> tuple[Any, int]:
            return (record.terms.label if sort_by is SortBy.NAME else record.added_on, record.id)

        return sorted(self.records.values(), key=key, reverse=descending)


LABELS = ["", "a", "a", "a", "b", "B", "ab", "\u00e9", "\U0001f3ad", "~", "z" * 128, "\U0010ffff" * 128]
"""Few, so that many tokens have the same; the first and the last there can be among them."""


@pytest.mark.parametrize(("seed", "most"), [(1, 1), (2, 3), (3, 4), (4, 7)])
async def test_pages_are_those_of_a_plain_list_whatever_was_added_revoked_and_relabelled(
    sql: SqlBench, seed: int, most: int
) -> None:
    chance = random.Random(seed)
    tokens, plain, others = with_shelves_of(sql, most), Plain(), 0

    def new() -> NewToken:
        return new_token(terms(label=chance.choice(LABELS)), added_on=AT + chance.randrange(5))

    for step in range(60):
        what = chance.choice(["add", "add", "many", "revoke", "revoke", "relabel", "other"])
        if what in {"add", "many"}:
            news = [new() for _ in range(1 if what == "add" else chance.randrange(2, 20))]
            for record in await asyncio.gather(*(tokens.add_token(each) for each in news)):
                plain.records[record.id] = record
        elif what == "other":
            await tokens.add_token(replace(new(), account=BOB))
            others += 1
        elif plain.records:
            record = chance.choice(list(plain.records.values()))
            if what == "revoke":
                await tokens.revoke_token(ALICE, PUBLISH, record.id, AT)
                del plain.records[record.id]
            else:
                change = relabelled(chance.choice(LABELS))
                plain.records[record.id] = await tokens.change_token(ALICE, PUBLISH, record.id, change)
        if step % 6 == 5:
            await _are_the_same(tokens, plain, chance)
            await _is_in_step(sql, most)
    for record in list(plain.records.values()):
        await tokens.revoke_token(ALICE, PUBLISH, record.id, AT)
    assert list(await tokens.tokens(ALICE, PUBLISH, Page(1, 10))) == []
    assert await tokens.count_tokens(ALICE, PUBLISH) == 0
    await _is_in_step(sql, most)
    await tokens.add_token(new())
    assert len(await tokens.tokens(ALICE, PUBLISH, Page(1, 10))) == await tokens.count_tokens(ALICE, PUBLISH) == 1
    assert await tokens.count_tokens(BOB, PUBLISH) == others


async def _are_the_same(tokens: SqlTokens, plain: Plain, chance: random.Random) -> None:
    size = chance.choice([1, 2, 5, 7, 100])
    assert await tokens.count_tokens(ALICE, PUBLISH) == len(plain.records)
    for sort_by, descending in ORDERS:
        expected = plain.sorted(sort_by, descending=descending)
        last = -(-len(expected) // size)
        for number in {1, last, last + 1, chance.randrange(1, last + 2), chance.randrange(1, last + 2)} - {0}:
            found = await tokens.tokens(ALICE, PUBLISH, Page(number, size, sort_by, descending))
            assert list(found) == expected[(number - 1) * size :][:size]


async def _is_in_step(sql: SqlBench, most: int) -> None:
    """Hold every shelf to the tokens that stand on it, and to what it may hold."""
    t, s = schema.token.c, schema.token_shelf.c
    async with sql.reader.connect() as connection:
        standing = (await connection.execute(select(schema.token).where(t.revoked_at.is_(None)))).mappings().all()
        rows = (
            await connection.execute(
                select(schema.token_shelf).order_by(s.account_id, s.kind, s.sort, s.first_key, s.first_id)
            )
        ).all()
    listed: dict[tuple[str, str, str], list[tuple[tuple[str, int], int]]] = {}
    for account, kind, sort, key, token_id, held in rows:
        listed.setdefault((account, kind, sort), []).append(((key, token_id), held))
    for (account, kind, sort), found in listed.items():
        places = sorted(
            (row["label"] if sort == SortBy.NAME else f"{row['added_on']:020d}", row["id"])
            for row in standing
            if (row["account_id"], row["kind"]) == (account, kind)
        )
        assert found[0][0] in {("", 0), ("0" * 20, 0)}
        assert all(0 <= held <= most for _, held in found)
        assert all(held for _, held in found[1:])
        ends = [first for first, _ in found[1:]] + [("\U0010ffff" * 129, 0)]
        for (first, held), end in zip(found, ends, strict=True):
            assert held == sum(first <= place < end for place in places)


async def test_as_many_tokens_as_come_at_once_are_put_on_shelves(sql: SqlBench) -> None:
    """Also where one write adds many times what a shelf holds, all with the same label and the same instant."""
    tokens = with_shelves_of(sql, 3)
    added = await asyncio.gather(*(tokens.add_token(new_token()) for _ in range(250)))
    await _is_in_step(sql, 3)
    assert await tokens.count_tokens(ALICE, PUBLISH) == 250
    expected = sorted(ids(added))
    for sort_by, descending in ORDERS:
        found = await tokens.tokens(ALICE, PUBLISH, Page(25, 10, sort_by, descending))
        assert ids(found) == (expected[::-1] if descending else expected)[240:]


async def test_a_count_that_somebody_else_made_wrong_keeps_no_token_out(sql: SqlBench) -> None:
    tokens = with_shelves_of(sql, 3)
    await asyncio.gather(*(tokens.add_token(new_token()) for _ in range(3)))
    async with sql.writer.begin() as connection:
        await connection.execute(text("UPDATE token_shelf SET tokens = 50"))
    added = await tokens.add_token(new_token())
    assert await tokens.token(ALICE, PUBLISH, added.id) == added


async def test_a_page_is_of_one_moment(sql: SqlBench) -> None:
    """Whatever is written meanwhile: shelves of one moment and tokens of another would give too many or too few."""
    tokens = with_shelves_of(sql, 2)
    added = await asyncio.gather(*(tokens.add_token(new_token(terms(label=f"{n:02d}"))) for n in range(20)))
    done = False

    async def relabel() -> None:
        chance = random.Random(5)
        while not done:
            record = chance.choice(added)
            await tokens.change_token(ALICE, PUBLISH, record.id, relabelled(f"{chance.randrange(20):02d}"))

    writers = [asyncio.create_task(relabel()) for _ in range(2)]
    try:
        for _ in range(60):
            assert len(await tokens.tokens(ALICE, PUBLISH, Page(3, 6))) == 6
            assert len(await tokens.tokens(ALICE, PUBLISH, Page(4, 6, descending=True))) == 2
            assert await tokens.count_tokens(ALICE, PUBLISH) == 20
    finally:
        done = True
        await asyncio.gather(*writers)


async def test_tokens_are_counted_by_account_and_kind_without_revoked_ones(bench: Bench) -> None:
    assert await bench.store.count_tokens(ALICE, PUBLISH) == 0
    added = [await bench.store.add_token(new_token()) for _ in range(3)]
    await bench.store.add_token(new_token(kind=SUBSCRIBE))
    await bench.store.revoke_token(ALICE, PUBLISH, added[0].id, AT)
    await bench.store.change_token(ALICE, PUBLISH, added[1].id, relabelled("b"))
    assert await bench.store.count_tokens(ALICE, PUBLISH) == 2
    assert await bench.store.count_tokens(ALICE, SUBSCRIBE) == 1
    assert await bench.store.count_tokens(BOB, PUBLISH) == 0


async def _explained(connection: AsyncConnection, statement: Any, **parameters: Any) -> str:
    on_sqlite = connection.dialect.name == "sqlite"
    dialect: Any = sqlite if on_sqlite else postgresql
    written = statement.params(**parameters).compile(dialect=dialect.dialect(), compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN " if on_sqlite else "EXPLAIN "
    rows = (await connection.exec_driver_sql(explain + str(written).replace("%%", "%"))).all()
    return "\n".join(str(row[-1]) for row in rows)


async def _fill(sql: SqlBench, many: int) -> None:
    rows = [
        {
            "account_id": ALICE,
            "kind": PUBLISH,
            "label": "same",
            "terms": "{}",
            "digest": n.to_bytes(32),
            "sealed": b"",
            "added_on": AT,
        }
        for n in range(many)
    ]
    async with sql.writer.begin() as connection:
        await connection.execute(insert(schema.token), rows)
        await connection.exec_driver_sql("ANALYZE")


INDEX = {SortBy.NAME: "ix_token_by_label", SortBy.ADDED_ON: "ix_token_by_added_on"}


@pytest.mark.parametrize(("sort_by", "descending"), ORDERS)
async def test_a_page_is_read_from_a_bound_in_the_index_of_what_stands(
    sql: SqlBench, sort_by: SortBy, descending: bool
) -> None:
    """By key and id: among tokens with the same label a bound of the label alone would be none. Nothing is sorted."""
    await _fill(sql, 3000)
    parameters = {"account": ALICE, "kind": PUBLISH, "skip": 2000, "size": 10}
    on_sqlite = sql.reader.dialect.name == "sqlite"
    async with sql.reader.connect() as connection:
        plan = await _explained(connection, shelves.PAGES[on_sqlite, sort_by, descending], **parameters)
    key, index, sign = ("label" if sort_by is SortBy.NAME else "added_on"), INDEX[sort_by], "<" if descending else ">"
    if on_sqlite:
        assert f"SEARCH token USING INDEX {index} (account_id=? AND kind=? AND {key}=? AND id{sign}?)" in plan
        assert f"SEARCH token USING INDEX {index} (account_id=? AND kind=? AND {key}{sign}?)" in plan
        assert "SCAN token\n" not in plan + "\n"
    else:
        way = "Index Scan Backward" if descending else "Index Scan"
        assert f"{way} using {index} on token" in plan
        assert f"ROW({'(label)::text' if key == 'label' else key}, id) {sign}" in plan.replace(
            "(token.label)", "(label)"
        )
        assert "Seq Scan on token " not in plan


@pytest.mark.parametrize(("sort_by", "descending"), ORDERS)
async def test_a_search_reads_in_order_and_stops_when_it_has_enough(
    sql: SqlBench, sort_by: SortBy, descending: bool
) -> None:
    await _fill(sql, 3000)
    asked: list[Any] = []
    tokens = with_shelves_of(sql, 10)
    search = tokens._search

    async def note(query: Any) -> Sequence[TokenRecord]:
        asked.append(query)
        return await search(query)

    tokens._search = note  # type: ignore[method-assign]
    page = Page(1, 10, sort_by, descending)
    await tokens.tokens_by_name(ALICE, PUBLISH, "nobody", FilterBy.TOKEN_OR_STREAM_NAME, page)
    await tokens.tokens_by_cluster(ALICE, PUBLISH, "nowhere", "", page)
    async with sql.reader.connect() as connection:
        plans = [await _explained(connection, query) for query in asked]
    if sql.reader.dialect.name == "sqlite":
        for plan in plans:
            assert f"SEARCH token USING INDEX {INDEX[sort_by]} (account_id=? AND kind=?)" in plan
            assert "TEMP B-TREE" not in plan
    else:
        # It knows how many tokens name a cluster, and may sort those few.
        assert f"using {INDEX[sort_by]} on token" in plans[0]
        assert "Sort" not in plans[0]


# -- searches


async def _labelled(bench: Bench, *labels: str, kind: TokenKind = PUBLISH, account: AccountId = ALICE) -> list[int]:
    return [
        (await bench.store.add_token(new_token(terms("s", label=label), kind=kind, account=account))).id
        for label in labels
    ]


async def _by_name(bench: Bench, name: str, by: FilterBy | None = FilterBy.TOKEN_NAME) -> list[int]:
    return sorted(ids(await bench.store.tokens_by_name(ALICE, PUBLISH, name, by, Page(1, 100))))


async def test_a_label_is_found_by_any_part_of_it_in_upper_or_lower_case(bench: Bench) -> None:
    studio, other = await _labelled(bench, "Main Studio 1", "other")
    for part in ("Main Studio 1", "main studio 1", "STUDIO", "n s", "1", "M"):
        assert await _by_name(bench, part) == [studio]
    for part in ("Main  Studio", "studio 2", "1 ", "Main Studio 1x"):
        assert await _by_name(bench, part) == []
    assert await _by_name(bench, "") == [studio, other]
    assert await _by_name(bench, "o") == [studio, other]


async def test_only_letters_of_ascii_are_the_same_in_both_cases(bench: Bench) -> None:
    """On every database, whatever its language is."""
    upper, lower = await _labelled(bench, "B\u00dcHNE \u0130 \u212a", "b\u00fchne i k")
    assert await _by_name(bench, "b\u00dchne") == [upper]
    assert await _by_name(bench, "B\u00fcHNE") == [lower]
    assert await _by_name(bench, "\u0130") == await _by_name(bench, "\u212a") == [upper]
    assert await _by_name(bench, "K") == [lower]


@pytest.mark.parametrize("text_", ["%", "_", "\\", "/", "'", "[", "*", "?", "\\%", "/_", "a%b", "a_b"])
async def test_what_a_pattern_would_read_as_a_sign_is_searched_for_as_it_is(bench: Bench, text_: str) -> None:
    has, *_ = await _labelled(bench, f"x{text_}y", "plain", "axb", "abc")
    assert await _by_name(bench, text_) == [has]
    assert await _by_name(bench, f"x{text_}y") == [has]


@pytest.mark.parametrize("name", ["\0", "a\0", "\ud800", "a" * 129, "a" * 60_000, "\U0001f3ad" * 129])
@pytest.mark.parametrize("by", [FilterBy.TOKEN_NAME, FilterBy.TOKEN_OR_STREAM_NAME])
async def test_what_no_label_can_hold_is_found_nowhere(bench: Bench, name: str, by: FilterBy) -> None:
    await _labelled(bench, "a", "a" * 128)
    assert await _by_name(bench, name, by) == []


async def test_stream_names_are_searched_as_they_were_written(bench: Bench) -> None:
    async def add(*names: str, regex: tuple[str, ...] = (), label: str = "x") -> int:
        return (await bench.store.add_token(new_token(terms(*names, regex=regex, label=label)))).id

    studio = await add("Studio-1", "studio-2")
    cams = await add(regex=("cam-[0-9]+",))
    every, more = await add(regex=(".*",)), await add(regex=(".+",), label="studio")
    both = await add("studio-3", regex=(".*",))
    exact = await add(".*x")
    by = FilterBy.STREAM_NAME
    assert await _by_name(bench, "STUDIO", by) == [studio, both]
    assert await _by_name(bench, "studio-2", by) == [studio]
    assert await _by_name(bench, "cam-", by) == await _by_name(bench, "[0-9]", by) == [cams]
    assert await _by_name(bench, "cam-7", by) == []
    # Every name would match these two; in what was written they are found by nothing, not even by themselves.
    assert await _by_name(bench, ".*", by) == [both, exact]
    assert await _by_name(bench, "", by) == [studio, cams, both, exact]
    assert await _by_name(bench, "studio", FilterBy.TOKEN_OR_STREAM_NAME) == [studio, more, both]
    assert await _by_name(bench, "studio", FilterBy.TOKEN_NAME) == [more]
    assert await _by_name(bench, "studio", None) == [studio, cams, every, more, both, exact]
    assert await _by_name(bench, "studio", FilterBy.NONE) == [studio, cams, every, more, both, exact]


async def test_a_search_finds_what_a_token_is_now(bench: Bench) -> None:
    record = await bench.store.add_token(new_token(terms("old", label="old label")))

    async def found() -> list[bool]:
        return [
            bool(await _by_name(bench, name, by))
            for by in (FilterBy.TOKEN_NAME, FilterBy.STREAM_NAME)
            for name in ("old", "new")
        ]

    assert await found() == [True, False, True, False]
    change = TokenChange(at=AT, terms=lambda was: replace(was, streams=(StreamPattern("new"),)))
    await bench.store.change_token(ALICE, PUBLISH, record.id, change)
    assert await found() == [True, False, False, True]
    await bench.store.change_token(ALICE, PUBLISH, record.id, relabelled("new label"))
    assert await found() == [False, True, False, True]
    await bench.store.revoke_token(ALICE, PUBLISH, record.id, AT)
    assert await found() == [False] * 4


async def test_a_search_is_of_one_account_and_kind(bench: Bench) -> None:
    [hers] = await _labelled(bench, "x")
    await _labelled(bench, "x", account=BOB)
    await _labelled(bench, "x", kind=SUBSCRIBE)
    for by in (*FilterBy, None):
        assert await _by_name(bench, "s" if by is FilterBy.STREAM_NAME else "x", by) == [hers]


@pytest.mark.parametrize(("sort_by", "descending"), ORDERS)
async def test_searches_come_in_pages_in_the_same_order_as_lists(
    bench: Bench, sort_by: SortBy, descending: bool
) -> None:
    for label, at in (("xb", 3), ("a", 1), ("xa", 2), ("xb", 1), ("xc", 3), ("xA", 2), ("b", 1)):
        await bench.store.add_token(
            new_token(replace(terms(label=label), origin_cluster="x" if "x" in label else "y"), added_on=AT + at)
        )
    everything = await bench.store.tokens(ALICE, PUBLISH, Page(1, 100, sort_by, descending))
    expected = [record for record in everything if "x" in record.terms.label]
    assert len(expected) == 5
    for number in (1, 2, 3, 4):
        page = Page(number, 2, sort_by, descending)
        part = expected[(number - 1) * 2 :][:2]
        assert list(await bench.store.tokens_by_name(ALICE, PUBLISH, "X", FilterBy.TOKEN_NAME, page)) == part
        assert list(await bench.store.tokens_by_cluster(ALICE, PUBLISH, "x", "z", page)) == part
    assert list(await bench.store.tokens_by_name(ALICE, PUBLISH, "x", FilterBy.TOKEN_NAME, Page(2147483647, 100))) == []


async def test_a_cluster_has_the_tokens_that_name_it_and_by_default_those_that_name_none(bench: Bench) -> None:
    async def add(cluster: str, **where: Any) -> int:
        named = replace(terms(), origin_cluster=cluster)
        return (await bench.store.add_token(new_token(named, **where))).id

    async def of(cluster: str, default: str) -> list[int]:
        return ids(await bench.store.tokens_by_cluster(ALICE, PUBLISH, cluster, default, Page(1, 100)))

    east, none, west = await add("east"), await add(""), await add("west")
    await add("east", account=BOB)
    await add("east", kind=SUBSCRIBE)
    assert await of("east", "west") == [east]
    assert await of("west", "west") == [none, west]
    assert await of("east", "east") == [east, none]
    assert await of("EAST", "west") == []
    assert await of("e%", "west") == []
    assert await of("auto", "auto") == [none]
    change = TokenChange(at=AT, terms=lambda was: replace(was, origin_cluster="west"))
    await bench.store.change_token(ALICE, PUBLISH, TokenId(east), change)
    assert await of("east", "auto") == []
    assert await of("west", "auto") == [east, west]


async def test_what_is_searched_by_stands_beside_the_terms(sql: SqlBench) -> None:
    """Also after a change; what is revoked is not searched."""
    c, s = schema.token.c, schema.token_stream.c

    async def beside(token_id: TokenId) -> tuple[Any, ...]:
        async with sql.reader.connect() as connection:
            row = (await connection.execute(select(c.expires_at, c.cluster_id).where(c.id == token_id))).one()
            names = await connection.execute(select(s.name).where(s.token_id == token_id).order_by(s.name))
            return (*row, [name for (name,) in names])

    record = await sql.store.add_token(
        new_token(replace(terms("b", "a", "b", regex=("a", "c+")), expires_at=AT + 9, origin_cluster="east"))
    )
    assert await beside(record.id) == (AT + 9, "east", ["a", "b", "c+"])
    change = TokenChange(at=AT, terms=lambda _: terms(regex=(".*",)))
    await sql.store.change_token(ALICE, PUBLISH, record.id, change)
    assert await beside(record.id) == (None, "", [])
    change = TokenChange(at=AT, terms=lambda _: replace(terms("d"), expires_at=0, origin_cluster="x" * 70))
    await sql.store.change_token(ALICE, PUBLISH, record.id, change)
    assert await beside(record.id) == (0, "x" * 64, ["d"])
    await sql.store.revoke_token(ALICE, PUBLISH, record.id, AT)
    assert (await beside(record.id))[2] == []


# -- what is being published with


def _broadcast(record: TokenRecord, session: str, stream: str, action: Action = Action.PUBLISH) -> SessionStart:
    return SessionStart(
        record.account, record.id, "", EngineId("e"), session, stream, action, ProtocolOf.RTMP, "192.0.2.1", float(AT)
    )


async def test_active_tokens_are_those_that_something_is_being_published_with(bench: Bench) -> None:
    first, second, third, viewer, his = [
        await bench.store.add_token(new_token(kind=kind, account=account))
        for kind, account in ((PUBLISH, ALICE), (PUBLISH, ALICE), (PUBLISH, ALICE), (SUBSCRIBE, ALICE), (PUBLISH, BOB))
    ]
    sessions = bench.store.sessions
    assert list(await sessions.active_tokens(ALICE, None)) == []
    await sessions.begin_sessions(
        [
            _broadcast(third, "5", "studio"),
            _broadcast(first, "1", "studio"),
            _broadcast(first, "2", "stage"),
            _broadcast(second, "3", "stage"),
            _broadcast(viewer, "4", "studio", Action.SUBSCRIBE),
            _broadcast(his, "6", "studio"),
        ]
    )
    assert list(await sessions.active_tokens(ALICE, None)) == [first.id, second.id, third.id]
    assert list(await sessions.active_tokens(ALICE, "studio")) == [first.id, third.id]
    assert list(await sessions.active_tokens(ALICE, "STUDIO")) == list(await sessions.active_tokens(ALICE, "")) == []
    assert list(await sessions.active_tokens(BOB, None)) == [his.id]
    await sessions.end_session(EngineId("e"), "1", AT + 1)
    assert list(await sessions.active_tokens(ALICE, "studio")) == [third.id]
    # What runs with the value that a token had before is nobody's.
    await bench.store.change_token(ALICE, PUBLISH, second.id, TokenChange(at=AT, digest=b"new", sealed=b"x"))
    assert list(await sessions.active_tokens(ALICE, None)) == [first.id, third.id]


# -- many at once


@contextmanager
def _statements(sql: SqlBench) -> Iterator[list[str]]:
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        found.append(statement)

    for either in (sql.reader, sql.writer):
        event.listen(either.sync_engine, "before_cursor_execute", note)
    yield found
    for either in (sql.reader, sql.writer):
        event.remove(either.sync_engine, "before_cursor_execute", note)


async def test_a_token_is_read_by_one_statement_and_many_at_once_by_few(sql: SqlBench) -> None:
    added = await asyncio.gather(*(sql.store.add_token(new_token()) for _ in range(30)))
    with _statements(sql) as statements:
        assert await sql.store.token(ALICE, PUBLISH, added[3].id) == added[3]
        assert len(statements) == 1
        asked = [sql.store.token(ALICE, PUBLISH, record.id) for record in (*added, *added)]
        found = await asyncio.gather(*asked, sql.store.token(BOB, PUBLISH, added[0].id), return_exceptions=True)
        assert found[:-1] == [*added, *added]
        assert isinstance(found[-1], NotFound)
        assert len(statements) <= 3


async def test_a_read_sees_every_write_that_was_done_before_it_was_asked_for(bench: Bench) -> None:
    record = await bench.store.add_token(new_token())

    async def reading() -> None:
        for _ in range(40):
            await bench.store.token(ALICE, PUBLISH, record.id)

    readers = [asyncio.create_task(reading()) for _ in range(4)]
    for n in range(20):
        await bench.store.change_token(ALICE, PUBLISH, record.id, relabelled(str(n)))
        assert (await bench.store.token(ALICE, PUBLISH, record.id)).terms.label == str(n)
    await asyncio.gather(*readers)


async def test_what_is_added_while_a_write_is_under_way_shares_the_next(sql: SqlBench) -> None:
    first = asyncio.create_task(sql.store.add_token(new_token()))
    await asyncio.sleep(0)
    with _statements(sql) as statements:
        await asyncio.gather(first, *(sql.store.add_token(new_token()) for _ in range(150)))
    assert await sql.store.revision() <= sql.start + 2
    assert len(sql.heard.revisions) <= 2
    assert len(statements) < 40


def _broken(_token_id: TokenId) -> bytes:
    raise ConfigError("the keyring is gone")


async def test_one_that_cannot_be_added_does_not_keep_the_others_out(bench: Bench) -> None:
    """Whatever is wrong with it: its caller is told, and the others have their tokens."""
    bad = replace(new_token(), seal=_broken)
    unknown = replace(new_token(), terms=replace(terms(), not_understood=("moon",)))
    wanted = [new_token() for _ in range(6)]
    asked = [wanted[0], bad, wanted[1], wanted[2], *([unknown] if isinstance(bench, SqlBench) else []), *wanted[3:]]
    results = await asyncio.gather(*(bench.store.add_token(each) for each in asked), return_exceptions=True)
    added = [result for result in results if isinstance(result, TokenRecord)]
    assert [record.digest for record in added] == [each.digest for each in wanted]
    assert isinstance(results[1], ConfigError)
    assert len(await bench.store.tokens(ALICE, PUBLISH, Page(1, 100))) == 6
    assert await bench.store.count_tokens(ALICE, PUBLISH) == 6


async def test_one_that_the_database_refuses_does_not_keep_the_others_out(sql: SqlBench) -> None:
    """Each is then tried alone: an account that is not there, a digest that is taken, a number that is none."""
    taken = await sql.store.add_token(new_token(digest=b"taken"))
    wanted = [new_token() for _ in range(6)]
    refused = [
        new_token(account=AccountId("carol")),
        new_token(digest=b"taken"),
        new_token(replace(terms(), expires_at=2**70)),
    ]
    asked = [wanted[0], refused[0], wanted[1], wanted[2], refused[1], *wanted[3:], refused[2]]
    results = await asyncio.gather(*(sql.store.add_token(each) for each in asked), return_exceptions=True)
    for each, result in zip(asked, results, strict=True):
        assert isinstance(result, TokenRecord) is (each in wanted)
    assert isinstance(results[1], Unavailable)
    listed = await sql.store.tokens(ALICE, PUBLISH, Page(1, 100))
    assert sorted(record.digest for record in listed) == sorted([taken.digest, *(each.digest for each in wanted)])
    assert await sql.store.count_tokens(ALICE, PUBLISH) == 7
    newest, changes = await sql.store.changes_after(sql.start)
    touched = [change.key for change in changes or () if change.kind is ChangeKind.TOKEN]
    assert sorted(touched) == sorted(record.digest for record in listed)
    assert [revision for revision, _ in sql.heard.revisions] == list(range(sql.start + 1, newest + 1))
    await _is_in_step(sql, shelves.MOST)


async def test_callers_that_go_away_leave_a_token_whole_or_none(sql: SqlBench) -> None:
    asked = [asyncio.create_task(sql.store.add_token(new_token())) for _ in range(40)]
    await asyncio.sleep(0.002)
    for each in asked[::2]:
        each.cancel()
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(result, TokenRecord) for result in results[1::2])
    await sql.store._tokens.rest()
    listed = await sql.store.tokens(ALICE, PUBLISH, Page(1, 100))
    assert {record.id for record in results if isinstance(record, TokenRecord)} <= {record.id for record in listed}
    assert await sql.store.count_tokens(ALICE, PUBLISH) == len(listed)
    assert all(record.sealed == f"sealed for {record.id}".encode() for record in listed)
    await _is_in_step(sql, shelves.MOST)


async def test_closing_the_store_waits_for_a_token_whose_caller_went_away(
    sql_backend: str, sql_place: Settings
) -> None:
    async with populated(sql_backend, sql_place) as bench:
        assert isinstance(bench, SqlBench)
        asked = asyncio.create_task(bench.store.add_token(new_token()))
        while bench.store._tokens._add._worker is None or bench.store._tokens._add._waiting:
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait((asked,))
        assert bench.store._tokens._add._worker is not None
        await bench.store.close()
        assert bench.store._tokens._add._worker is None
    async with opened(sql_backend, sql_place) as bench:
        [kept] = await bench.store.tokens(ALICE, PUBLISH, Page(1, 100))
        assert await bench.store.count_tokens(ALICE, PUBLISH) == 1
        assert kept.sealed == f"sealed for {kept.id}".encode()


async def test_two_processes_add_and_relabel_at_once_and_lists_are_right(sql_backend: str, sql_place: Settings) -> None:
    """Two stores on one database stand for two workers: their connections have nothing else in common."""
    async with populated(sql_backend, sql_place) as one, opened(sql_backend, sql_place) as two:
        assert isinstance(one, SqlBench)
        assert isinstance(two, SqlBench)
        both = [with_shelves_of(bench, 4) for bench in (one, two)]

        async def work(tokens: SqlTokens, seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(8):
                record = await tokens.add_token(new_token(terms(label=chance.choice("abc"))))
                await tokens.change_token(ALICE, PUBLISH, record.id, relabelled(chance.choice("abc")))
                if chance.random() < 0.3:
                    await tokens.revoke_token(ALICE, PUBLISH, record.id, AT)

        await asyncio.gather(*(work(tokens, n) for n in range(4) for tokens in both))
        await _is_in_step(one, 4)
        listed = await both[0].tokens(ALICE, PUBLISH, Page(1, 1000))
        assert len(listed) == await both[1].count_tokens(ALICE, PUBLISH)
        assert sorted((record.terms.label, record.id) for record in listed) == [
            (record.terms.label, record.id) for record in listed
        ]


# -- requests that are sent again


def keyed(key: str = "k", fingerprint: bytes = b"f" * 32, **more: Any) -> NewToken:
    return replace(new_token(**more), idempotency=Idempotency(key, fingerprint))


async def test_a_request_that_is_sent_again_gets_the_token_it_made(bench: Bench) -> None:
    """As it is now, and nothing is written."""
    first = await bench.store.add_token(keyed())
    revision = await bench.store.revision()
    assert await bench.store.add_token(keyed(added_on=AT + 5)) == first
    assert await bench.store.revision() == revision
    changed = await bench.store.change_token(ALICE, PUBLISH, first.id, relabelled("now"))
    assert await bench.store.add_token(keyed()) == changed
    assert list(await bench.store.tokens(ALICE, PUBLISH, Page(1, 10))) == [changed]


async def test_a_key_is_its_accounts_own_and_one_of_many(bench: Bench) -> None:
    first = await bench.store.add_token(keyed())
    others = [await bench.store.add_token(new) for new in (keyed("K"), keyed("k "), keyed("l" * 255), new_token())]
    his = await bench.store.add_token(keyed(account=BOB))
    assert len({first.id, his.id, *(record.id for record in others)}) == 6
    assert await bench.store.add_token(keyed(account=BOB)) == his
    assert await bench.store.add_token(keyed("l" * 255)) == others[2]


async def test_a_key_that_came_with_another_request_is_a_conflict(bench: Bench) -> None:
    first = await bench.store.add_token(keyed())
    with pytest.raises(Conflict, match="came with another request") as refused:
        await bench.store.add_token(keyed(fingerprint=b"g" * 32))
    assert refused.value.field == "Idempotency-Key"
    assert list(await bench.store.tokens(ALICE, PUBLISH, Page(1, 10))) == [first]


async def test_a_request_whose_token_has_been_revoked_does_not_make_it_again(bench: Bench) -> None:
    first = await bench.store.add_token(keyed())
    await bench.store.revoke_token(ALICE, PUBLISH, first.id, AT)
    with pytest.raises(Conflict, match="not there any more") as refused:
        await bench.store.add_token(keyed())
    assert refused.value.field == "Idempotency-Key"
    assert await bench.store.count_tokens(ALICE, PUBLISH) == 0


@pytest.mark.parametrize(
    ("later", "same"),
    [(IDEMPOTENCY_SECONDS - 1, True), (IDEMPOTENCY_SECONDS, False), (IDEMPOTENCY_SECONDS + 1, False)],
)
async def test_a_key_stands_for_a_request_for_24_hours(bench: Bench, later: int, same: bool) -> None:
    """-1, 0, +1 around the last second; then it stands for the next request, whatever that is."""
    first = await bench.store.add_token(keyed())
    if same:
        assert await bench.store.add_token(keyed(added_on=AT + later)) == first
        return
    second = await bench.store.add_token(keyed(fingerprint=b"g" * 32, added_on=AT + later))
    assert second.id != first.id
    assert await bench.store.add_token(keyed(fingerprint=b"g" * 32, added_on=AT + later)) == second
    with pytest.raises(Conflict):
        await bench.store.add_token(keyed(added_on=AT + later))


async def test_a_key_that_is_too_old_stands_for_nothing_though_it_is_still_kept(bench: Bench) -> None:
    """As where another process, whose clock is behind, keeps it."""
    first = await bench.store.add_token(keyed())
    other, second = await asyncio.gather(
        bench.store.add_token(keyed("other")),
        bench.store.add_token(keyed(fingerprint=b"g" * 32, added_on=AT + IDEMPOTENCY_SECONDS)),
    )
    assert len({first.id, other.id, second.id}) == 3


async def test_keys_that_are_too_old_are_forgotten(sql: SqlBench) -> None:
    for n in range(5):
        await sql.store.add_token(keyed(f"old {n}", added_on=AT + n))
    await sql.store.add_token(keyed("new", added_on=AT + IDEMPOTENCY_SECONDS + 2))
    async with sql.reader.connect() as connection:
        kept = (await connection.execute(select(schema.idempotency.c.key).order_by(schema.idempotency.c.key))).scalars()
        assert list(kept) == ["new", "old 3", "old 4"]


async def test_of_requests_with_one_key_at_once_one_makes_a_token(bench: Bench) -> None:
    """Also when they share a write, and with others among them."""
    asked = [keyed() for _ in range(15)] + [keyed(fingerprint=b"g" * 32) for _ in range(5)] + [new_token()]
    random.Random(1).shuffle(asked)
    results = await asyncio.gather(*(bench.store.add_token(each) for each in asked), return_exceptions=True)
    made = {
        (each.idempotency, result.id)
        for each, result in zip(asked, results, strict=True)
        if isinstance(result, TokenRecord)
    }
    assert len(made) == 2
    assert sum(isinstance(result, Conflict) for result in results) in {5, 15}
    assert await bench.store.count_tokens(ALICE, PUBLISH) == 2


async def test_a_key_whose_token_could_not_be_added_stands_for_nothing(bench: Bench) -> None:
    with pytest.raises(ConfigError):
        await bench.store.add_token(replace(keyed(), seal=_broken))
    results = await asyncio.gather(
        *(bench.store.add_token(each) for each in (replace(keyed(), seal=_broken), keyed(fingerprint=b"g" * 32))),
        return_exceptions=True,
    )
    assert isinstance(results[0], ConfigError)
    assert isinstance(results[1], TokenRecord)


_ADD = """
import asyncio, json, os, sys
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId
from stagedoor.model.token import TokenKind, TokenTerms
from stagedoor.service.ports import Idempotency, NewToken
from stagedoor.store.sql import SqlStore
if sys.argv[1] == "sqlite":
    from pathlib import Path
    from stagedoor.store.sqlite import sqlite_engines
    engines = sqlite_engines(Path(sys.argv[2]))
else:
    from stagedoor.store.postgres import postgres_engines
    engines = postgres_engines(sys.argv[2])

async def announce(_revision):
    pass

async def main():
    store = SqlStore(reader=engines[0], writer=engines[1], announce=announce)
    def new(key):
        return NewToken(
            account=AccountId("alice"), kind=TokenKind.PUBLISH, terms=TokenTerms(label=key, streams=(StreamPattern("s"),)),
            digest=os.urandom(32), seal=lambda _: b"x", added_on=1_700_000_000, idempotency=Idempotency(key, b"f" * 32),
        )
    await store.revision()
    print("ready", flush=True)
    sys.stdin.readline()
    made = await asyncio.gather(*(store.add_token(new(f"key {n % 10}")) for n in range(50)))
    print(json.dumps(sorted({(record.terms.label, record.id) for record in made})))
    await store.close()

asyncio.run(main())
"""


async def test_of_requests_with_one_key_in_two_processes_one_makes_a_token(
    sql_backend: str, sql_place: Settings
) -> None:
    async with populated(sql_backend, sql_place) as bench:
        where = str(sql_place.database_file) if sql_backend == "sqlite" else sql_place.database
        command = [sys.executable, "-c", _ADD, sql_backend, where]
        both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        for process in both:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in both:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [json.loads(process.communicate(timeout=60)[0]) for process in both]
        assert said[0] == said[1]
        assert len(said[0]) == 10
        assert await bench.store.count_tokens(ALICE, PUBLISH) == 10


# -- what is told


async def _told(sql: SqlBench) -> list[tuple[str, float, Any]]:
    async with sql.reader.connect() as connection:
        rows = await connection.execute(select(schema.event).order_by(schema.event.c.id))
        return [(row["type"], row["at"], json.loads(row["data"]).get("tokenId")) for row in rows.mappings()]


async def test_who_has_a_webhook_is_told_of_what_happens_to_tokens(sql: SqlBench) -> None:
    """Of each once, with when it was; a request that is sent again and a change of nothing are no news."""
    webhook = insert(schema.webhook).values(account_id=ALICE, terms="{}", sealed=b"", failures=0, added_on=AT)
    async with sql.writer.begin() as connection:
        await connection.execute(webhook)
    added = await asyncio.gather(*(sql.store.add_token(keyed(f"k{n}", added_on=AT + n)) for n in range(3)))
    assert await _told(sql) == [("token.created", AT + n, record.id) for n, record in enumerate(added)]
    await sql.store.add_token(keyed("k0"))
    await sql.store.add_token(new_token(account=BOB))
    await sql.store.change_token(ALICE, PUBLISH, added[0].id, TokenChange(at=AT + 0.5))
    assert len(await _told(sql)) == 3
    await sql.store.change_token(ALICE, PUBLISH, added[0].id, replace(relabelled("b"), at=AT + 0.5))
    await sql.store.revoke_token(ALICE, PUBLISH, added[1].id, AT + 9)
    assert (await _told(sql))[3:] == [
        ("token.changed", AT + 0.5, added[0].id),
        ("token.revoked", AT + 9, added[1].id),
    ]


async def test_the_shelves_are_not_in_the_way_of_tokens_that_are_no_ones(sql: SqlBench) -> None:
    """A row that no list shows is on no shelf."""
    row = {"account_id": ALICE, "kind": "internal", "label": "x", "terms": "{}", "digest": b"x", "sealed": b""}
    async with sql.writer.begin() as connection:
        await connection.execute(insert(schema.token).values(row | {"added_on": AT}))
        assert (await connection.execute(select(func.count()).select_from(schema.token_shelf))).scalar_one() == 0
        await connection.execute(text("SELECT 1"))
    first = await sql.store.add_token(new_token(TokenTerms(label="x", streams=(StreamPattern("s"),))))
    assert list(await sql.store.tokens(ALICE, PUBLISH, Page(1, 10))) == [first]
