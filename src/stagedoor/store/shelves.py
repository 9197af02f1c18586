"""Counts of tokens by ranges of their order, so that a page far down a list costs what the first one does.

For each account, kind and sort the shelves part the order without a gap: one begins at (`first_key`, `first_id`), holds
`tokens` standing tokens, and ends where the next begins. The lowest begins before every token and always stays. Whatever
adds, revokes or relabels a token counts here in the same transaction, after it took the lock on the revision.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    RowMapping,
    String,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord
from stagedoor.service.ports import Page, SortBy
from stagedoor.store import schema
from stagedoor.store.together import Step

MOST: Final = 2000
"""How many tokens a shelf holds before it is split."""

_DIGITS: Final = 20
_LOWEST: Final = {SortBy.NAME: "", SortBy.ADDED_ON: "0" * _DIGITS}
_LARGEST: Final = 2**63 - 1
_BEYOND: Final = "\U0010ffff" * 129
"""A text that comes after every label, which has up to 128 characters."""


class Place(NamedTuple):
    """Where a token stands in one of the orders."""

    account: AccountId
    kind: TokenKind
    sort: SortBy
    key: str
    token_id: TokenId


def place_of(record: TokenRecord, sort: SortBy) -> Place:
    """Return where a token stands in an order."""
    value = record.terms.label if sort is SortBy.NAME else record.added_on
    return Place(record.account, record.kind, sort, _key(value), record.id)


def places_of(records: Iterable[TokenRecord]) -> list[Place]:
    """Return where tokens stand in both orders."""
    return [place_of(record, sort) for record in records for sort in SortBy]


def count_in(places: Sequence[Place], most: int, *, on_sqlite: bool) -> list[Step]:
    """Return the steps that count tokens which are new at these places; they find the shelves to `split` after that."""
    lists = sorted({place[:3] for place in places})
    lowest = [_shelf(Place(account, kind, sort, _LOWEST[sort], TokenId(0))) for account, kind, sort in lists]
    return [
        Step(_ADD_LOWEST[on_sqlite], [shelf | {"tokens": 0} for shelf in lowest]),
        _counting(places, 1),
        Step(
            _CROWDED,
            [{"account": account, "kind": kind, "sort": sort, "most": most} for account, kind, sort in lists],
            finds=True,
        ),
    ]


def count_out(places: Sequence[Place]) -> list[Step]:
    """Return the steps that count tokens which left these places, and take away the shelves that are empty by that."""
    lists = sorted({place[:3] for place in places})
    emptied = [{"account": account, "kind": kind, "sort": sort} for account, kind, sort in lists]
    return [_counting(places, -1), Step(_TAKE_EMPTY, emptied)]


async def split(connection: AsyncConnection, crowded: Iterable[Sequence[Any]], most: int) -> None:
    """Split shelves until each has `most` tokens at most."""
    waiting = [(Place(row[0], row[1], SortBy(row[2]), row[3], row[4]), row[5]) for row in crowded]
    while waiting:
        first, tokens = waiting.pop()
        half = tokens // 2
        second = await _split(connection, first, half, tokens - half)
        if second is None:
            # Somebody else wrote to the table; a count that is wrong is no reason to refuse a token.
            continue
        waiting += [(place, held) for place, held in ((first, half), (second, tokens - half)) if held > most]


def _counting(places: Iterable[Place], by: int) -> Step:
    rows = [
        {"account": account, "kind_": kind, "sort_": sort, "key": key, "token": token_id, "by": by}
        for account, kind, sort, key, token_id in places
    ]
    return Step(_COUNT, rows)


async def _split(connection: AsyncConnection, first: Place, lower: int, upper: int) -> Place | None:
    """Leave `lower` of its tokens on a shelf and put the `upper` ones on a new one; return where that begins.

    None: it does not have that many.
    """
    middle = _MIDDLE[_is_sqlite(connection), first.sort]
    bound = {"key": _value(first), "token": first.token_id}
    listed = {"account": first.account, "kind": first.kind, "skip": lower}
    found = (await connection.execute(middle, bound | listed)).one_or_none()
    if found is None:
        return None
    second = Place(first.account, first.kind, first.sort, _key(found[0]), found[1])
    await connection.execute(insert(_s).values(_shelf(second) | {"tokens": upper}))
    await connection.execute(update(_s).filter_by(**_shelf(first)).values(tokens=lower))
    return second


async def read_page(
    connection: AsyncConnection, account: AccountId, kind: TokenKind, page: Page
) -> Sequence[RowMapping]:
    """Return the rows of `token` on a page. One statement reads shelves and tokens, so they are of the same moment."""
    statement = PAGES[_is_sqlite(connection), page.sort_by, page.descending]
    parameters = {"account": account, "kind": kind, "skip": (page.number - 1) * page.size, "size": page.size}
    return (await connection.execute(statement, parameters)).mappings().all()


async def read_count(connection: AsyncConnection, account: AccountId, kind: TokenKind) -> int:
    """Return how many tokens an account has."""
    count: int = (await connection.execute(_TOTAL, {"account": account, "kind": kind})).scalar_one()
    return count


def _is_sqlite(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "sqlite"


def _key(value: str | int) -> str:
    """Write a label, or an instant so that the order of texts is that of numbers."""
    return value if isinstance(value, str) else f"{value:0{_DIGITS}d}"


def _value(place: Place) -> str | int:
    """Return what the token's own column has."""
    return place.key if place.sort is SortBy.NAME else int(place.key)


def _shelf(first: Place) -> dict[str, Any]:
    return {
        "account_id": first.account,
        "kind": first.kind,
        "sort": first.sort,
        "first_key": first.key,
        "first_id": first.token_id,
    }


_s, _t = schema.token_shelf, schema.token

_SIZE: Final = bindparam("size", type_=BigInteger)
_SKIP: Final = bindparam("skip", type_=BigInteger)


def _column(sort: SortBy) -> ColumnElement[Any]:
    return _t.c.label if sort is SortBy.NAME else _t.c.added_on


def _bounded(
    columns: Sequence[ColumnElement[Any]],
    sort: SortBy,
    key: ColumnElement[Any],
    token_id: ColumnElement[Any],
    *,
    on_sqlite: bool,
    descending: bool,
) -> Any:
    """Select standing tokens from a bound upwards, or below it downwards."""
    column = _column(sort)
    rows = select(*columns).where(
        _t.c.account_id == bindparam("account"), _t.c.kind == bindparam("kind"), _t.c.revoked_at.is_(None)
    )
    if not on_sqlite:
        place, bound = tuple_(column, _t.c.id), tuple_(key, token_id)
        if descending:
            return rows.where(place < bound).order_by(column.desc(), _t.c.id.desc())
        return rows.where(place >= bound).order_by(column, _t.c.id)
    # SQLite finds no bound of two columns in an index when the second is the row's number; it merges these two.
    same, others = (
        (rows.where(column == key, _t.c.id < token_id), rows.where(column < key))
        if descending
        else (rows.where(column == key, _t.c.id >= token_id), rows.where(column > key))
    )
    both = union_all(same, others)
    order = list(both.selected_columns)
    return both.order_by(*(each.desc() for each in order)) if descending else both.order_by(*order)


def _page(*, on_sqlite: bool, sort: SortBy, descending: bool) -> Any:
    """Build the statement of a page: find its shelf, and read from there."""
    is_label = sort is SortBy.NAME
    key: ColumnElement[Any] = _s.c.first_key if is_label else cast(_s.c.first_key, BigInteger)
    order = [_s.c.first_key.desc(), _s.c.first_id.desc()] if descending else [_s.c.first_key, _s.c.first_id]
    before = cast(func.sum(_s.c.tokens).over(order_by=order, rows=(None, 0)), BigInteger) - _s.c.tokens
    bound_id: ColumnElement[Any] = _s.c.first_id
    if descending:
        # The bound of a shelf to those that come down to it is where the next higher one begins.
        beyond = bindparam("beyond", _BEYOND, String) if is_label else bindparam("beyond", _LARGEST, BigInteger)
        key = func.coalesce(func.lag(key).over(order_by=order), beyond)
        bound_id = func.coalesce(func.lag(bound_id).over(order_by=order), bindparam("last", _LARGEST, BigInteger))
    shelves = (
        select(key.label("key"), bound_id.label("token"), before.label("before"), _s.c.tokens)
        .where(_s.c.account_id == bindparam("account"), _s.c.kind == bindparam("kind"), _s.c.sort == sort)
        .subquery("shelves")
    )
    shelf = (
        select(shelves.c.key, shelves.c.token, shelves.c.before)
        .where(shelves.c.before <= _SKIP, shelves.c.before + shelves.c.tokens > _SKIP)
        .cte("shelf")
    )
    bound, token, skipped = (select(shelf.c[name]).scalar_subquery() for name in ("key", "token", "before"))
    columns = [_column(sort), _t.c.id] if on_sqlite else list(_t.c)
    rows = _bounded(columns, sort, bound, token, on_sqlite=on_sqlite, descending=descending)
    rows = rows.limit(_SIZE).offset(func.coalesce(_SKIP - skipped, 0))
    if not on_sqlite:
        return rows
    # Rows that are skipped are not read, only their entries in the index.
    found = select(_t).where(_t.c.id.in_(select(rows.subquery("page").c.id)))
    wanted = [_column(sort), _t.c.id]
    return found.order_by(*(each.desc() for each in wanted) if descending else wanted)


def _middle(*, on_sqlite: bool, sort: SortBy) -> Any:
    key = bindparam("key", type_=String if sort is SortBy.NAME else BigInteger)
    token = bindparam("token", type_=BigInteger)
    rows = _bounded([_column(sort), _t.c.id], sort, key, token, on_sqlite=on_sqlite, descending=False)
    return rows.limit(1).offset(_SKIP)


def _count_statement() -> Any:
    """Build what adds to the shelf that a place is on: the last that begins at or before it."""
    lower = _s.alias("lower")
    # With an underscore, as an update would take a parameter with the name of a column for a new value.
    listed: dict[str, Any] = {
        "account_id": bindparam("account"),
        "kind": bindparam("kind_"),
        "sort": bindparam("sort_"),
    }
    place = tuple_(bindparam("key", type_=String), bindparam("token", type_=BigInteger))
    found = (
        select(lower.c.first_key, lower.c.first_id)
        .filter_by(**listed)
        .where(tuple_(lower.c.first_key, lower.c.first_id) <= place)
        .order_by(lower.c.first_key.desc(), lower.c.first_id.desc())
        .limit(1)
    )
    return (
        update(_s)
        .filter_by(**listed)
        .where(tuple_(_s.c.first_key, _s.c.first_id) == found.scalar_subquery())
        .values(tokens=_s.c.tokens + bindparam("by", type_=BigInteger))
    )


_EITHER: Final = (True, False)
_COUNT: Final = _count_statement()
_MIDDLE: Final = {(lite, sort): _middle(on_sqlite=lite, sort=sort) for lite in _EITHER for sort in SortBy}
PAGES: Final = {
    (lite, sort, descending): _page(on_sqlite=lite, sort=sort, descending=descending)
    for lite in _EITHER
    for sort in SortBy
    for descending in _EITHER
}
"""The statements of pages: on SQLite or not, by their sort, descending or not."""

_ADD_LOWEST: Final = {
    True: sqlite.insert(_s).on_conflict_do_nothing(),
    False: postgresql.insert(_s).on_conflict_do_nothing(),
}
_LIST: Final = (
    _s.c.account_id == bindparam("account"),
    _s.c.kind == bindparam("kind"),
    _s.c.sort == bindparam("sort"),
)
_CROWDED: Final = select(_s).where(*_LIST, _s.c.tokens > bindparam("most"))
_TAKE_EMPTY: Final = delete(_s).where(*_LIST, _s.c.tokens == 0, _s.c.first_id > 0)
_TOTAL: Final = select(cast(func.coalesce(func.sum(_s.c.tokens), 0), BigInteger)).where(
    _s.c.account_id == bindparam("account"), _s.c.kind == bindparam("kind"), _s.c.sort == SortBy.NAME
)
